"""What a table for spreadsheets may hold: no cell that begins a formula. Pure."""

from __future__ import annotations

import re
from typing import TypeVar

T = TypeVar("T")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A text that begins with one of these is a formula for a spreadsheet (OWASP, CSV Injection); full-width signs too."""
_BEHIND = re.compile(r"([;\t\r\n]\"*)(?=[=+\-@＝＋－＠])")
"""Where it begins one in a cell of its own: where the comma stands in numbers, as in German, a spreadsheet separates
cells by semicolons, and knows no quotes around one that begins before."""


def guarded(text: str) -> str:
    """The same text, which no spreadsheet calculates: an apostrophe stands before what would begin a formula."""
    text = _BEHIND.sub(r"\1'", text)
    return f"'{text}" if text.startswith(FORMULA) else text


def cell(value: T) -> T | str:
    """A text guarded; numbers, which calculate nothing, and all else as they are."""
    return guarded(value) if isinstance(value, str) else value
