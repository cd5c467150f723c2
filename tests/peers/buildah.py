"""Images and containers without a container engine: Debian's buildah, on a slim base that debootstrap makes."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers.program import PATIENCE_S, ROOT, Program

BASE = "localhost/base"
IMAGE = "localhost/flowrunner"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Whom this machine trusts; an index behind an authority of the house is reached only with it."""
HANDED_ON = re.compile(r"^[\w:]+\.(index-url|extra-index-url|trusted-host|proxy|timeout|default-timeout)='(.*)'$")

NEEDED = ("buildah", "debootstrap")


def missing() -> str:
    """Why no image can be built here; empty when one can."""
    if os.geteuid() != 0:
        return "an image is built as root only"
    gone = [name for name in NEEDED if not shutil.which(name)]
    return f"{' and '.join(gone)}: not here; as root './x test --all' installs what is missing" if gone else ""


def said(*words: str | Path) -> str:
    """What a program prints, to its end."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def suite() -> str:
    """The Debian that the Dockerfile's base is made of."""
    found = re.search(r"^ARG BASE=\S+-slim-(\w+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "the base in the Dockerfile names no Debian"
    return found[1]


def debian(cache: Path) -> Path:
    """A slim Debian with Python as a tar file, as its public image is; made once and kept in ``cache``."""
    tar = cache / f"{suite()}-{platform.machine()}.tar"
    if tar.exists():
        return tar
    # Where this machine gets its own packages from.
    sources = said("apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT) $(LABEL)", "Identifier: Packages")
    mirror = next(line.split()[0] for line in sources.splitlines() if line.endswith(" main Debian"))
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        root, packed = Path(folder) / "root", Path(folder) / tar.name
        packages = "python3,python3-venv,ca-certificates"
        said("debootstrap", "--variant=minbase", f"--include={packages}", suite(), root, mirror)
        left_out = ("./proc/*", "./sys/*", "./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*")
        said("tar", "-C", root, "-cf", packed, *(f"--exclude={path}" for path in left_out), ".")
        packed.rename(tar)
    return tar


def pip_configuration(file: Path) -> Path:
    """How pip reaches its index on this machine, as a file to hand to a build; folders of this machine stay out."""
    lines = ["[global]", "disable-pip-version-check = true"]
    for setting in said(sys.executable, "-m", "pip", "config", "list").splitlines():
        if found := HANDED_ON.match(setting):
            values = [value for value in found[2].split() if not value.startswith(("file:", "/"))]
            lines += [f"{found[1].removeprefix('default-')} = {' '.join(values)}"] if values else []
    if AUTHORITIES.exists():
        lines.append(f"cert = {AUTHORITIES}")
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


class Buildah:
    """A store of images in a folder of its own, removed with it."""

    def __init__(self, folder: Path) -> None:
        self._words = ["buildah", "--storage-driver=vfs", "--root", str(folder / "store")]
        self._words += ["--runroot", str(folder / "run")]

    def do(self, *words: str | Path) -> str:
        return said(*self._words, *words).strip()

    def take_base(self, tar: Path) -> None:
        container = self.do("from", "scratch")
        self.do("add", "--quiet", container, tar, "/")
        if AUTHORITIES.exists():
            self.do("copy", "--quiet", container, AUTHORITIES, AUTHORITIES)
        self.do("commit", "--quiet", "--rm", container, BASE)

    def build(self, context: Path, pip: Path) -> str:
        """What `docker build --build-arg BASE=… --secret id=pip,src=… .` does; what it printed."""
        # The format of Docker: the other one knows no health check.
        words = ["bud", "--format=docker", "--isolation=chroot", "--network=host"]
        return self.do(*words, f"--build-arg=BASE={BASE}", f"--secret=id=pip,src={pip}", f"--tag={IMAGE}", context)

    def image(self) -> dict[str, Any]:
        """What the image says of itself, as Docker reads it."""
        described: dict[str, Any] = json.loads(self.do("inspect", "--type=image", IMAGE))
        return described

    def container(self) -> str:
        return self.do("from", IMAGE)

    def within(
        self, container: str, *words: str, place: Path | None = None, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command that runs ``words`` in a container as Compose does, nothing inherited: ``place`` holds the
        folders ``flows`` and ``data`` to mount."""
        settings = [f"--env={name}={value}" for name, value in (env or {}).items()]
        mounts = [f"--volume={place}/flows:/flows:ro", f"--volume={place}/data:/data"] if place else []
        return [
            *self._words,
            "run",
            "--isolation=chroot",
            "--network=host",
            *mounts,
            *settings,
            container,
            "--",
            *words,
        ]


def innermost(pid: int) -> int:
    """What runs in the container that the buildah ``pid`` started: its youngest descendant."""
    children: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        children[int(parent)] = int(stat.parent.name)
    one = pid
    while one in children:
        one = children[one]
    assert one != pid, "nothing runs in the container"
    return one


class Contained(Program):
    """``with Contained(command) as program:`` – a flowrunner in a container; signals go to it and not to buildah."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(data=Path("/data"))
        self.command = [*command]

    def __enter__(self) -> Contained:
        super().__enter__()
        return self

    @property
    def within(self) -> int:
        """The process id of flowrunner itself."""
        return innermost(self.pid)

    def send(self, one: signal.Signals) -> None:
        os.kill(self.within, one)

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.send(signal.SIGKILL)
            self._process.wait(PATIENCE_S)
        super().__exit__()


@contextmanager
def plant(command: list[str]) -> Iterator[dict[str, str]]:
    """A `flowrunner simulate` in a container, and the environment by which a flow finds it; SIGTERM ends it with 0."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    world: dict[str, str] = {}
    try:
        for line in process.stdout:
            name, _, value = line.rstrip("\n").partition("=")
            world[name] = value.replace("0.0.0.0", "127.0.0.1")
            if name == "EXCHANGE_URL":  # the last one: the key was given, and is not printed
                break
        yield world
        os.kill(innermost(process.pid), signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        if process.poll() is None:
            os.kill(innermost(process.pid), signal.SIGKILL)
            process.wait()
        process.stdout.close()
