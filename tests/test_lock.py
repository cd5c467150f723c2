"""The image's lock files: they fit pyproject.toml, and every file that they let in is known by its hash."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
LOCKS = ("requirements.lock", "build.lock")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASKED = {
    "requirements.lock": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["simulate"],
    "build.lock": PROJECT["build-system"]["requires"],
}


def locked(name: str) -> Iterator[tuple[Requirement, str]]:
    """Each pin of a lock file, with the lines about it: hashes, and for whom it is there."""
    pin: str | None = None
    about: list[str] = []
    for line in [*(DEPLOY / name).read_text(encoding="utf-8").splitlines(), "end"]:
        if line.startswith("    "):
            about.append(line.strip(" \\"))
        elif not line.startswith("#"):
            if pin:
                yield Requirement(pin), "\n".join(about)
            pin, about = line.rstrip(" \\"), []


def misfits(name: str, asked: list[str]) -> list[str]:
    """Where a lock file and what pyproject.toml asks for no longer agree."""
    pins = {canonicalize_name(pin.name): (pin, about) for pin, about in locked(name)}
    found, wanted = [], set()
    for one in map(Requirement, asked):
        key = canonicalize_name(one.name)
        wanted.add(key)
        if key not in pins:
            found.append(f"{one} is not in it")
        elif not one.specifier.contains(str(pins[key][0].specifier).removeprefix("==")):
            found.append(f"it has {pins[key][0]}, asked for is {one}")
    for key, (pin, about) in pins.items():
        if key not in wanted and ("(pyproject.toml)" in about or "via" not in about):
            found.append(f"it has {pin}, which nobody asks for")
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_lock_fits_pyproject(name: str) -> None:
    assert misfits(name, ASKED[name]) == [], "write it again: deploy/lock.sh"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_that_no_longer_fits_is_told(name: str) -> None:
    first, *others = map(Requirement, ASKED[name])
    (pin,) = [pin for pin, _ in locked(name) if canonicalize_name(pin.name) == canonicalize_name(first.name)]
    kept = [str(one) for one in others]
    assert misfits(name, kept) == [f"it has {pin}, which nobody asks for"]
    assert misfits(name, [f"{first.name}>=9999", *kept]) == [f"it has {pin}, asked for is {first.name}>=9999"]
    assert misfits(name, [*ASKED[name], "no-such-thing>=1"]) == ["no-such-thing>=1 is not in it"]


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_every_package_by_hash_and_names_no_index(name: str) -> None:
    pins = list(locked(name))
    assert pins
    for pin, about in pins:
        assert re.fullmatch(r"==[\w.!+]+", str(pin.specifier)), pin
        assert re.search(r"^--hash=sha256:[0-9a-f]{64}$", about, re.MULTILINE), pin
    assert not re.findall(
        r"://|^-.*|--(?:extra-)?index.*|--find.*", (DEPLOY / name).read_text(encoding="utf-8"), re.MULTILINE
    )


@pytest.mark.slow  # asks the package index
@pytest.mark.skipif(not shutil.which("uv"), reason="uv is not here")
def test_lock_written_again_is_the_lock(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    subprocess.run([tmp_path / "deploy" / "lock.sh"], check=True)
    for name in LOCKS:
        assert (tmp_path / "deploy" / name).read_text(encoding="utf-8") == (DEPLOY / name).read_text(encoding="utf-8")


@pytest.mark.slow  # fetches every library
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_lock_has_a_wheel_for_each_processor(machine: str, tmp_path: Path) -> None:
    platforms = [f"--platform={tag}_{machine}" for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
    tags = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
    lock = DEPLOY / "requirements.lock"
    command = ["download", "--quiet", "--no-deps", "--only-binary=:all:", *tags, *platforms, "--require-hashes"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command, "--requirement", lock, "--dest", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.whl"))) > len(ASKED["requirements.lock"])
