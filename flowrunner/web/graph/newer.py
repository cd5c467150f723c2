"""A few lines of a file that was refused, around each place where something is wrong with it.

Nothing of it was checked, so what may be a secret in it is not known for sure: all that stands behind a name like
``password`` is masked, and a file that does not call itself the flow that runs is not shown at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from flowrunner.logs import MASK
from flowrunner.web.graph.source import Piece, pieces

AROUND = 2
"""Lines before and behind a place."""
MOST_BYTES = 1 << 20
MOST_WIDE = 400
"""Characters of a line."""
_NAMES = r"[\w-]*(?:key|token|secret|password|passwd|passphrase|credential|authorization|cookie|header|user(?:name)?)s?"
_SECRET = re.compile(
    rf"""((?:^|[\s{{,])["']?{_NAMES}["']?\s*:\s+)(\{{[^}}]*\}}?|(?:"(?:\\.|[^"\\])*"?|'[^']*'?|\$\{{[^}}]*\}}?|[^\s,}}#][^,}}#]*))""",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"""(["']?\$\{\w+|["']?\$\{secret:\w+)(?::-([^}"']*))?(\}["']?)""")
_ADDRESS = re.compile(r"(://)[^/\s@]*:[^/\s@]*@")
_OPEN = re.compile(rf"(?:^|[\s{{,])[\"']?{_NAMES}[\"']?\s*:(?:\s|$)", re.IGNORECASE)


def read(file: str, flow: str, mask: Callable[[str], str]) -> list[str]:
    """The lines of a flow's file as it is now, secrets masked; none where it is no text that says ``flow: <flow>``."""
    path = Path(file)
    try:
        if path.suffix not in (".yaml", ".yml") or not path.is_file() or path.stat().st_size > MOST_BYTES:
            return []
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):  # it is gone, or is no text: then there is nothing to show
        return []
    if not re.search(rf"^flow:[ \t]+[\"']?{re.escape(flow)}[\"']?[ \t]*(?:#.*)?$", text, re.MULTILINE):
        return []
    return veiled(mask(text).split("\n"))


def veiled(lines: Sequence[str]) -> list[str]:
    """The lines with every value masked that stands behind the name of a secret, also where it goes on below."""
    found: list[str] = []
    deeper = -1
    for line in lines:
        depth = len(line) - len(line.lstrip(" "))
        if deeper >= 0:
            if not line.strip() or depth > deeper:
                found.append(" " * depth + MASK if line.strip() else line)
                continue
            deeper = -1
        if _OPEN.search(line):
            deeper = depth
        found.append(_ADDRESS.sub(rf"\1{MASK}@", _SECRET.sub(_veil, line))[:MOST_WIDE])
    return found


def _veil(found: re.Match[str]) -> str:
    """The name stays, and which variable it is taken from; what counts without that variable does not."""
    taken = _VARIABLE.fullmatch(found[2])
    if taken is None:
        return f"{found[1]}{MASK}"
    name, default, end = taken.groups()
    return f"{found[1]}{name}{f':-{MASK}' if default else ''}{end}"


def excerpt(lines: Sequence[str], line: int) -> tuple[int, list[list[Piece]]]:
    """The lines around ``line`` in their pieces, and the number of the first; none where the file is shorter."""
    if not 1 <= line <= len(lines):
        return line, []
    first, last = max(line - AROUND, 1), min(line + AROUND, len(lines))
    return first, pieces("\n".join(lines))[first - 1 : last]
