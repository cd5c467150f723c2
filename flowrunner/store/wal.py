"""The write-ahead log of the state file, looked at from outside: whether commits in it are there and out of reach.

SQLite takes the first frame that does not add up for the end of the log, and says nothing: right after a power cut,
when what is behind was never promised, and silent loss where the log was damaged. The format is SQLite's
(sqlite.org/fileformat2.html#walformat, sqlite.org/walformat.html).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

HEADER, FRAME = 32, 24
"""Bytes of the log's header and of each frame's."""
MAGIC = 0x377F0682, 0x377F0683
"""Checksums in little-endian and in big-endian words."""
_INDEX_READY, _INDEX_FRAMES = 12, 16
"""Where the index (``-shm``) says whether it was made, and how many frames count."""


def log_of(file: Path) -> Path:
    return Path(f"{file}-wal")


def index_of(file: Path) -> Path:
    return Path(f"{file}-shm")


def header_fault(log: Path) -> str:
    """Why nothing in the log can be read, or ""; one that is empty, or that never held a promised commit, is sound."""
    try:
        head = _read(log, HEADER)
    except FileNotFoundError:
        return ""
    if len(head) < HEADER or _header_is_sound(head):
        return ""
    with log.open("rb") as whole:  # after a power cut the first commit may have left room and not a byte in it
        while some := whole.read(1 << 20):
            if any(some):
                return f"the head of {log.name}, which has the newest changes, is overwritten"
    return ""


def lost_commits(file: Path) -> int:
    """How many commits stand in the log behind the place where SQLite stopped reading it. A connection is open and has
    read. One of them may be what a power cut has torn; more are a damage, as each was on the disk before the next."""
    try:
        log = log_of(file).open("rb")
        index = _read(index_of(file), 48)
    except FileNotFoundError:
        return 0
    with log:
        head = log.read(HEADER)
        if len(head) < HEADER or not _header_is_sound(head) or not index[_INDEX_READY]:
            return 0
        page, salts = int.from_bytes(head[8:12]), head[16:24]
        (known,) = struct.unpack_from("=I", index, _INDEX_FRAMES)
        lost = 0
        at = HEADER + known * (FRAME + page)
        while len(frame := os.pread(log.fileno(), FRAME, at)) == FRAME:
            lost += frame[8:16] == salts and any(frame[4:8])
            at += FRAME + page
        return lost


def _header_is_sound(head: bytes) -> bool:
    if int.from_bytes(head[:4]) not in MAGIC:
        return False
    order = ">" if head[3] & 1 else "<"
    first = second = 0
    for one, two in struct.iter_unpack(f"{order}II", head[:24]):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second) == head[24:]


def _read(file: Path, size: int) -> bytes:
    with file.open("rb") as opened:
        return opened.read(size)
