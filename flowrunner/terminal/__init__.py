"""The terminal of ``run``: a live table of the nodes, and the lines of the log above it.

``live.Terminal`` shows it. Here is only the question whether there is one: most runs need no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

__all__ = ["wanted"]


def wanted(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a person looks at ``stream`` who can be shown a table: else it is plain lines.

    TERM=dumb, NO_COLOR (https://no-color.org) and CI say no.
    """
    if environment.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return False
    if environment.get("NO_COLOR") or environment.get("CI"):
        return False
    return stream.isatty()
