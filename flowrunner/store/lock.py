"""The exclusive lock on a data folder: one engine at a time, told apart by the kernel and not by a stale file."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from flowrunner.errors import StoreLocked

LOCK_NAME = "flowrunner.lock"


class FolderLock:
    """Held from ``acquire`` to ``release`` or the end of the process, however it ends.

    The file stays; what counts is the lock on it, which dies with its process. The process id in it is only there
    for the message that a second engine prints.
    """

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @classmethod
    def acquire(cls, folder: Path) -> FolderLock:
        """StoreLocked when another engine has it; OSError when the folder cannot be written."""
        fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = _holder(os.pread(fd, 32, 0))
            os.close(fd)
            raise StoreLocked(
                f"the data folder {folder} is in use by {holder}; stop that one first, "
                "or give this one a folder of its own with --data DIR"
            ) from None
        except OSError:
            os.close(fd)
            raise
        return cls(fd)

    def release(self) -> None:
        """Let go; safe to repeat."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _holder(text: bytes) -> str:
    with suppress(ValueError):  # it has the lock and has not written its id yet
        pid = int(text)
        return "this very process" if pid == os.getpid() else f"another flowrunner (process {pid})"
    return "another flowrunner"
