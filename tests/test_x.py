"""`./x` on a tree of its own: a stand-in project that builds without an index, so nothing is fetched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "flowrunner"
version = "0"
"""

BACKEND = '''
"""Builds an editable wheel of one module whose program prints what it was started with; notes every build."""
import zipfile
from pathlib import Path

def build_editable(folder, config_settings=None, metadata_directory=None):
    with open("builds.txt", "a") as builds:
        builds.write("built\\n")
    info = "flowrunner-0.dist-info"
    extras = "Provides-Extra: dev\\nProvides-Extra: simulate\\n"
    files = {
        "flowrunner.py": "import sys\\ndef main():\\n    print(*sys.argv[1:], sep='\\\\n')\\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: flowrunner\\nVersion: 0\\n" + extras,
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: backend\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": "[console_scripts]\\nflowrunner = flowrunner:main\\n",
    }
    record = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    name = "flowrunner-0-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return name
'''

TOOLS = ("readlink", "dirname", "id", "cksum", "cat", "rm", "grep", "sudo")
"""The programs beside Python that x itself calls."""

PACKAGES = ("debian-packages.txt", "debian-packages-all.txt", "debian-packages-bench.txt")
"""What is needed of Debian: by all tests, by those that only --all runs, by the bench."""


@dataclass(frozen=True)
class Tree:
    """A checkout as x sees it, with a folder of programs that is the whole PATH."""

    root: Path
    programs: Path

    def x(self, *words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": str(self.programs), "HOME": str(self.root), "PIP_NO_INDEX": "1"} | env
        return subprocess.run(
            ["/bin/sh", self.root / "x", *words],
            cwd=cwd or self.root,
            env=given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def builds(self) -> int:
        notes = self.root / "builds.txt"
        return len(notes.read_text().splitlines()) if notes.exists() else 0

    def link(self, name: str, program: str | None) -> None:
        if program:
            (self.programs / name).symlink_to(program)


def plant(root: Path, programs: Path) -> Tree:
    tree = Tree(root, programs)
    programs.mkdir()
    (root / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "x", root / "x")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "backend.py").write_text(BACKEND)
    for name in PACKAGES:
        (root / "tests" / name).write_text("# none\n\n")
    for name in TOOLS:
        tree.link(name, shutil.which(name))
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Fresh: no .venv, and no Python on PATH yet."""
    return plant(tmp_path / "my checkout", tmp_path / "programs")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Set up once by `x run`, shared by the tests that only read it or put it back."""
    folder = tmp_path_factory.mktemp("planted")
    tree = plant(folder / "my checkout", folder / "programs")
    tree.link("python3", sys.executable)
    done = tree.x("run")
    assert done.returncode == 0, done.stderr
    assert tree.builds == 1
    return tree


# ---- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)])
def test_every_shell_can_read_it(shell: str) -> None:
    command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
    subprocess.run([*command, ROOT / "x"], check=True)


def test_it_can_be_started() -> None:
    assert os.access(ROOT / "x", os.X_OK)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_alone_it_lists_its_verbs(tree: Tree) -> None:
    for words in ([], ["help"], ["--help"]):
        done = tree.x(*words)
        assert done.returncode == 0
        verbs = set(re.findall(r"^  (\w+) ", done.stdout, re.MULTILINE))
        assert verbs == {"run", "test", "lint", "bench", "try", "validate"}


def test_an_unknown_verb_is_named(tree: Tree) -> None:
    done = tree.x("tset")
    assert done.returncode == 2
    assert "no verb 'tset'" in done.stderr
    assert not (tree.root / ".venv").exists()


def test_ci_types_nothing_that_the_readme_does_not_name() -> None:
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and line[0] != "#"]
    assert commands[0].startswith("set ")
    assert commands[1].startswith("cd ")
    assert commands[2:] == ["exec ./x test"]


# ---- run ----------------------------------------------------------------------------------------------


def test_run_takes_the_shipped_flow_unless_told(planted: Tree, tmp_path: Path) -> None:
    shipped = str(planted.root / "flows" / "bess.yaml")
    assert planted.x("run").stdout.split("\n")[:-1] == ["run", "flows/bess.yaml", "--simulate"]
    assert planted.x("run", cwd=tmp_path).stdout.split("\n")[:-1] == ["run", shipped, "--simulate"]
    done = planted.x("run", "--env-file", "my file", cwd=tmp_path)
    assert done.stdout.split("\n")[:-1] == ["run", shipped, "--simulate", "--env-file", "my file"]


def test_run_leaves_a_given_path_as_it_was_typed(planted: Tree, tmp_path: Path) -> None:
    done = planted.x("run", "mine.yaml", "--port", "9001", cwd=tmp_path)
    assert done.stdout.split("\n")[:-1] == ["run", "mine.yaml", "--port", "9001"]


def test_it_is_found_through_a_link(planted: Tree, tmp_path: Path) -> None:
    (tmp_path / "flow").symlink_to(planted.root / "x")
    done = subprocess.run(
        ["/bin/sh", tmp_path / "flow", "run"], env={"PATH": str(planted.programs)}, capture_output=True, text=True
    )
    assert str(planted.root / "flows" / "bess.yaml") in done.stdout


# ---- setting up ---------------------------------------------------------------------------------------


def test_a_second_time_nothing_is_installed_and_nothing_said(planted: Tree) -> None:
    before = planted.builds
    assert planted.x("run").stderr == ""
    assert planted.builds == before


def test_a_changed_pyproject_is_installed_again(planted: Tree) -> None:
    before = planted.builds
    with (planted.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert "installing" in planted.x("run").stderr
    assert planted.builds == before + 1
    assert planted.x("run").stderr == ""


def test_an_installation_that_breaks_off_is_tried_again(planted: Tree) -> None:
    good = (planted.root / "backend.py").read_text()
    (planted.root / "backend.py").write_text("raise SystemExit('no network')")
    with (planted.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    done = planted.x("run")
    assert done.returncode == 1
    assert "broke off" in done.stderr
    (planted.root / "backend.py").write_text(good)
    again = planted.x("run")
    assert again.returncode == 0
    assert "installing" in again.stderr


@pytest.mark.parametrize(
    "damage", ["interpreter", *(pytest.param(damage, marks=pytest.mark.slow) for damage in ("half made", "moved"))]
)
def test_a_broken_environment_is_made_anew(planted: Tree, damage: str) -> None:
    environment = planted.root / ".venv"
    if damage == "interpreter":  # the system's Python was replaced
        (environment / "bin" / "python").unlink()
        (environment / "bin" / "python").symlink_to("/nonexistent/python3")
    elif damage == "half made":  # somebody pressed Ctrl-C
        shutil.rmtree(environment)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    else:  # the folder was copied from elsewhere: programs point there
        pip = environment / "bin" / "pip"
        pip.write_text(pip.read_text().replace(str(environment), "/nonexistent/.venv"))
    done = planted.x("run")
    assert "setting up .venv" in done.stderr
    assert done.stdout.split("\n")[0] == "run"
    assert planted.x("run").stderr == ""


def test_without_python_it_says_so(tree: Tree) -> None:
    (tree.programs / "python3").write_text("#!/bin/sh\nexit 1\n")  # one that is too old says no
    (tree.programs / "python3").chmod(0o755)
    done = tree.x("run")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


@pytest.mark.parametrize("name", ["python3", "python3.12"])
def test_without_python3_venv_it_prints_the_line_that_helps(tree: Tree, tmp_path: Path, name: str) -> None:
    """Debian keeps ensurepip in a package of its own: there the module is simply not found."""
    tree.link(name, sys.executable)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ensurepip.py").write_text("raise ModuleNotFoundError(\"No module named 'ensurepip'\")\n")
    done = tree.x("run", PYTHONPATH=str(hidden))
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(rf"(sudo )?apt-get install {name}-venv\n", done.stderr)
    assert not (tree.root / ".venv").exists()


# ---- Debian packages ----------------------------------------------------------------------------------


@pytest.fixture
def open_tree() -> Iterator[Tree]:
    """A fresh tree that everybody may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield plant(Path(folder) / "tree", Path(folder) / "programs")


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="not a Debian system")
def test_missing_packages_are_one_line_to_type(open_tree: Tree) -> None:
    (open_tree.root / "tests" / "debian-packages.txt").write_text(
        "# what the tests talk to\n\ndpkg  is everywhere\nno-such-broker  a peer\nno-such-bus\n"
    )
    open_tree.link("dpkg-query", shutil.which("dpkg-query"))
    done = subprocess.run(
        ["/bin/sh", open_tree.root / "x", "test"],
        env={"PATH": str(open_tree.programs)},
        capture_output=True,
        text=True,
        check=False,
        user=65534 if os.geteuid() == 0 else None,  # not as root: root would have them installed
    )
    assert done.returncode == 1
    assert done.stderr == "sudo apt-get install -y no-such-broker no-such-bus\n"
    assert not (open_tree.root / ".venv").exists()


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="not a Debian system")
@pytest.mark.skipif(os.geteuid() != 0, reason="who is asked for what is seen with two users")
@pytest.mark.parametrize(
    ("user", "words", "asked"),
    [
        (0, ["test", "--all"], "no-such-broker no-such-builder"),
        (0, ["test"], "no-such-broker"),
        (65534, ["test", "--all"], "no-such-broker"),
        (65534, ["test"], "no-such-broker"),
    ],
)
def test_what_builds_an_image_is_installed_by_root_for_all_tests(
    open_tree: Tree, user: int, words: list[str], asked: str
) -> None:
    """Nobody else can build one, so nobody else is kept from testing for the lack of it."""
    for name, package in zip(PACKAGES, ("no-such-broker", "no-such-builder", "no-such-load"), strict=True):
        (open_tree.root / "tests" / name).write_text(f"{package}  why\n")
    open_tree.link("dpkg-query", shutil.which("dpkg-query"))
    (open_tree.programs / "apt-get").write_text("#!/bin/sh\necho said: $*\ncase $* in *update) ;; *) exit 1 ;; esac\n")
    (open_tree.programs / "apt-get").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", open_tree.root / "x", *words],
        env={"PATH": str(open_tree.programs)},
        capture_output=True,
        text=True,
        check=False,
        user=user,
    )
    assert done.returncode == 1
    assert set(re.findall(r"^(?:x: installing|sudo apt-get install -y) (.*)$", done.stderr, re.MULTILINE)) == {asked}
    assert ("said: -qq install" in done.stderr) == (user == 0)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packages_of_this_project_are_read(name: str) -> None:
    lines = (ROOT / "tests" / name).read_text().splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert names
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in names)


# ---- the real thing -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_fresh_copy_runs_after_one_command(tmp_path: Path, installer: str) -> None:
    """What a newcomer does, everything fetched: `./x run`. Lint and test tools are not fetched for it."""
    if installer == "uv" and not shutil.which("uv"):
        pytest.skip("uv is not here")
    folders = os.environ["PATH"].split(os.pathsep)
    path = [folder for folder in folders if installer == "uv" or not (Path(folder) / "uv").exists()]
    copy = tmp_path / "flowrunner"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".flowrunner", ".*_cache", "__pycache__")
    )
    done = subprocess.run(
        [copy / "x", "run", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--port" in done.stdout
    assert not (copy / ".venv" / "bin" / "pytest").exists()
