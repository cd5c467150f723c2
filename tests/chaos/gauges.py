"""How much of the machine a process has, by /proc."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Holds(NamedTuple):
    """What a process holds at an instant."""

    files: int
    """Everything with a file descriptor; ``sockets`` of them."""
    sockets: int
    threads: int
    memory_mb: float


def holds(pid: int) -> Holds:
    folder = Path(f"/proc/{pid}")
    kinds = [_kind(one) for one in (folder / "fd").iterdir()]
    status = dict(line.split(":", 1) for line in (folder / "status").read_text("utf-8").splitlines())
    return Holds(len(kinds), kinds.count("socket"), int(status["Threads"]), int(status["VmRSS"].split()[0]) / 1024)


def _kind(handle: Path) -> str:
    try:
        return str(handle.readlink()).partition(":")[0]
    except FileNotFoundError:  # closed meanwhile
        return ""
