"""Files of ``NAME=value`` lines, as for Compose."""

from __future__ import annotations

from pathlib import Path

from flowrunner.errors import UsageError
from flowrunner.reading import read_once, read_regular, text_of


def read_env_file(file: Path, *, wait: bool = True) -> dict[str, str]:
    """``NAME=value`` lines, as Compose reads them. UsageError names a bad line, never its value.

    ``#`` begins a comment, at the start of a line or after a space; quotes around a value keep it as it is. ``wait``:
    what is a pipe is read to its end, whenever that comes; else it is refused.
    """
    values: dict[str, str] = {}
    try:
        lines = text_of((read_once if wait else read_regular)(file), "utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"{file}:{number}: write NAME=value")
        values[name.strip()] = _unquoted(value.strip(), f"{file}:{number}: {name.strip()}")
    return values


def _unquoted(value: str, place: str) -> str:
    if value[:1] not in ("'", '"') or not value:
        return value if value.startswith("#") else value.partition(" #")[0].rstrip()
    inside, closing, rest = value[1:].partition(value[0])
    if not closing or (rest.strip() and not rest.lstrip().startswith("#")):
        raise UsageError(f"{place}: the quote at its beginning must be closed at its end")
    return inside
