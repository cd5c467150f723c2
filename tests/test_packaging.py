"""`pip install .` into an empty environment gives the same program, with its nodes, schemas and flows inside."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("nodes", "schemas", "flows")


def run(*command: str | Path, cwd: Path) -> str:
    """What ``command`` prints, run as a stranger would: nothing of this checkout in the environment."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "VIRTUAL_ENV"} and not name.startswith(("FLOWRUNNER_", "BESS_"))
    }
    done = subprocess.run([*command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(kind: str, source: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder, cwd=source)
    (built,) = folder.iterdir()
    return built


def shipped_files() -> set[str]:
    """The files of the checkout that have to be in the wheel, as they are called inside it."""
    return {
        f"flowrunner/{path.relative_to(ROOT).as_posix()}"
        for folder in SHIPPED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", ".flowrunner"} & set(path.parts)
    } | {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "flowrunner").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment that holds the wheel and nothing else.

    The libraries that flowrunner depends on come from the environment of this test run: its folder is on the
    path, but its .pth files (the editable checkout among them) are not read.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        wheel,
        cwd=folder,
    )
    site_packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "libraries.pth").write_text("\n".join(sorted(libraries)), encoding="utf-8")
    return folder / "bin"


def node_types(listing: str) -> set[str]:
    """The types that `flowrunner nodes` prints: the first word of each line."""
    return {line.split()[0] for line in listing.splitlines() if line.strip()}


def test_wheel_holds_the_program_and_nothing_beside_it(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == shipped_files()
    assert {name.split("/")[0] for name in packed} == {"flowrunner"}  # no stray top-level `nodes`
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_sdist_holds_what_it_takes_to_work_on_it(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "x", ".ci/run", "Dockerfile", "docker-compose.yml"}
    wanted |= {"tests/conftest.py", "tests/debian-packages.txt", "deploy/mosquitto.conf", "flowrunner/errors.py"}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "nodes").glob("*.py")}
    assert wanted <= names
    assert not [name for name in names if ".venv" in name or ".flowrunner/" in name or name.endswith(".pyc")]


def test_wheel_of_the_sdist_is_the_wheel_of_the_checkout(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    run("tar", "-xzf", sdist, cwd=tmp_path / "unpacked")  # tarfile's safe filter is younger than Debian's Python
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build("wheel", unpacked, tmp_path / "wheel")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_installed_program_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import flowrunner; print(flowrunner.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(installed.parent)
    stray = "import importlib.util as u; print([n for n in ('nodes', 'schemas', 'flows', 'tests') if u.find_spec(n)])"
    assert run(installed / "python", "-c", stray, cwd=tmp_path).strip() == "[]"


def test_installed_program_has_the_node_types_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    here = run(sys.executable, "-m", "flowrunner", "nodes", cwd=ROOT)
    there = run(installed / "flowrunner", "nodes", cwd=tmp_path)
    assert there == here
    files = {path.stem.replace("_", "-") for path in (ROOT / "nodes").glob("[a-z]*.py")}
    assert files
    assert files <= node_types(there)


@pytest.mark.parametrize("flow", sorted(path.name for path in (ROOT / "flows").glob("*.yaml")))
def test_installed_program_validates_the_flows_it_ships(installed: Path, tmp_path: Path, flow: str) -> None:
    shipped = "from pathlib import Path; import flowrunner; print(Path(flowrunner.__file__).parent / 'flows')"
    folder = Path(run(installed / "python", "-c", shipped, cwd=tmp_path).strip())
    assert folder.is_relative_to(installed.parent)
    run(installed / "flowrunner", "validate", folder / flow, cwd=tmp_path)


def test_installed_program_runs_as_a_module_and_writes_the_same_schema(installed: Path, tmp_path: Path) -> None:
    assert "validate" in run(installed / "python", "-m", "flowrunner", "--help", cwd=tmp_path)
    here = run(sys.executable, "-m", "flowrunner", "schema", cwd=ROOT)
    assert run(installed / "python", "-m", "flowrunner", "schema", cwd=tmp_path) == here


@pytest.mark.slow
def test_pip_install_with_its_libraries_from_the_index(tmp_path: Path) -> None:
    """The same by the command that a person types, with everything fetched: the list of dependencies is complete."""
    venv.create(tmp_path / "venv", with_pip=True)
    tools = tmp_path / "venv" / "bin"
    run(tools / "pip", "install", "--quiet", ROOT, cwd=tmp_path)
    assert run(tools / "flowrunner", "nodes", cwd=tmp_path) == run(
        sys.executable, "-m", "flowrunner", "nodes", cwd=ROOT
    )
    for flow in sorted((ROOT / "flows").glob("*.yaml")):
        run(tools / "flowrunner", "validate", flow, cwd=tmp_path)
