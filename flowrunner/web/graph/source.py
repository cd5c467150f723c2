"""The text of a flow's file, line by line, in pieces of one colour each; and which lines are a node's.

The pieces of a line, joined, are the line: nothing is added and nothing left out, so that numbers and columns of
problems hold. The text is read line by line and not by the YAML parser: it has its secrets masked, and a file that
was refused may be no YAML at all.
"""

from __future__ import annotations

import re
from typing import Literal

Piece = tuple[Literal["", "k", "c", "n", "s", "v", "p"], str]
"""(what it is, its text): key, comment, number, quoted or block text, ``${…}``, sign of the syntax, "" for the rest."""

_PIECES = re.compile(
    r"""
      (?P<s>"(?:\\.|[^"\\])*"|'(?:''|[^'])*')
    | (?P<v>\$\{[^}]*\})
    | (?P<c>(?:(?<=\s)|^)\#.*)
    | (?P<p>[\[\]{},]|(?:(?<=\s)|^)-(?=\s|$))
    | (?P<n>(?:(?<=[\s\[{,])|^)[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|\.?\d[\d.]*(?:[eE][-+]?\d+)?)
            (?:ns|us|ms|s|min|h|d|w)?(?=\s*(?:[,\]\}]|$|\s\#)))
    """,
    re.VERBOSE,
)
_KEY = re.compile(
    r"""(?:(?<=[\s{,])|^)(?P<key>"(?:\\.|[^"\\])*"|'(?:''|[^'])*'|(?:\$\{[^}]*\}|[^\s\#'"\[\]{},&*!|>%@`:]|:(?=\S))+)(?=\s*:(?:\s|$))""",
    re.VERBOSE,
)
_BLOCK = re.compile(r"(?:^|[\s:-])[|>][-+0-9]*\s*(?:#.*)?$")


def pieces(text: str) -> list[list[Piece]]:
    """Each line of ``text`` in its pieces."""
    found: list[list[Piece]] = []
    block = -1  # the indentation that a block text is deeper than; -1 outside of one
    for line in text.split("\n"):
        if block >= 0:
            if not line.strip() or _indentation(line) > block:
                found.append([("s", line)] if line else [])
                continue
            block = -1
        found.append(_line(line))
        if _BLOCK.search(line) and not any(kind == "c" for kind, _ in found[-1][:1]):
            block = _indentation(line)
    return found


def _line(line: str) -> list[Piece]:
    made: list[Piece] = []
    at = 0
    while at < len(line):
        key = _KEY.search(line, at)
        other = _PIECES.search(line, at)
        if key is not None and (other is None or key.start() <= other.start()):
            kind, start, end = "k", key.start("key"), key.end("key")
        elif other is not None:
            kind, start, end = other.lastgroup or "", other.start(), other.end()
        else:
            break
        if start > at:
            made.append(("", line[at:start]))
        made.append((kind, line[start:end]))  # type: ignore[arg-type]  # the names of the groups are the kinds
        at = end
    if at < len(line):
        made.append(("", line[at:]))
    return made


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def span(lines: list[str], first: int) -> tuple[int, int]:
    """The lines, counted from 1, of what begins at line ``first``: all that are deeper, without the comments and empty
    lines at its end."""
    if not 1 <= first <= len(lines):
        return first, first
    depth, last = _indentation(lines[first - 1]), first
    for number in range(first + 1, len(lines) + 1):
        line = lines[number - 1]
        if not line.strip():
            continue
        if line.lstrip(" ").startswith("#"):
            continue
        if _indentation(line) <= depth and not line.lstrip(" ").startswith(("}", "]")):
            break
        last = number
    return first, last
