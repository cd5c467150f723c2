"""Reading a small file whole, so that nothing that stands in its place can hold the reader up or fill the memory."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

MAX_BYTES = 4_000_000
"""A larger file is refused before it is read: five times a flow of 10,000 nodes, and all that is read here is text that
people write."""
KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}  # fmt: skip
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_regular(file: Path) -> bytes:
    """The content of a regular file of at most `MAX_BYTES`. OSError, whose ``strerror`` says what it is instead and
    the next step; a pipe is not even opened."""
    _check(file.stat())  # opening alone does something to some devices
    descriptor = os.open(file, _FLAGS)  # what took its place since then does not wait for a writer
    with os.fdopen(descriptor, "rb") as opened:
        _check(os.fstat(descriptor))
        return _bounded(opened)


def read_once(file: Path) -> bytes:
    """The same of whatever it is; waits for the end of a pipe."""
    with file.open("rb") as opened:
        return _bounded(opened)


def is_regular(file: Path) -> bool:
    """Whether there is a regular file, so that it can be read again and watched."""
    return file.is_file()


def text_of(content: bytes, encoding: str = "utf-8") -> str:
    """The text, whose lines all end in ``\\n``. UnicodeDecodeError."""
    return io.StringIO(content.decode(encoding), newline=None).read()


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {what} and no file; put a file in its place, or remove it")
    if found.st_size > MAX_BYTES:
        raise _too_large(f"{found.st_size / 1e6:.1f} MB")


def _bounded(opened: io.BufferedIOBase) -> bytes:
    content = opened.read(MAX_BYTES + 1)  # it may grow while it is read, and some files do not tell their size
    if len(content) > MAX_BYTES:
        raise _too_large("more")
    return content


def _too_large(size: str) -> OSError:
    return OSError(errno.EFBIG, f"at most {MAX_BYTES / 1e6:g} MB are read, and it has {size}; divide it")
