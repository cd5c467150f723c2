"""The place of the table on the screen: lines scroll above it, and it is painted anew over itself.

Not the alternate screen: what was said stays in the terminal's memory when the program has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.text import Text

ERASE_BELOW, ERASE_TO_END_OF_LINE = "\x1b[J", "\x1b[K"


class Region:
    """Makes the texts that are to be written; writes nothing itself."""

    def __init__(self) -> None:
        self._console = Console(
            file=StringIO(), force_terminal=True, markup=False, highlight=False, emoji=False, legacy_windows=False
        )
        self._shown: list[str] = []
        """What is on the screen, as it was painted: the cursor stands at the end of the last line."""
        self._widths: list[int] = []
        self._columns = 0

    def paint(self, above: Sequence[Text], table: Sequence[Text], columns: int, height: int) -> str:
        """The text that adds lines above the table and shows it as ``table``; ``""`` when nothing has changed."""
        fresh = self._ansi(table)
        resized, self._columns = columns != self._columns, columns
        if not above and not resized and fresh == self._shown:
            return ""
        parts = [self.to_top(columns, height)]
        if above or resized:  # lines that the terminal broke are marked so, until they are erased
            parts.append(ERASE_BELOW)
        parts += [f"{one}\r\n" for one in self._ansi(above)]  # the terminal breaks long ones: none is cut
        stands = dict(enumerate([] if above or resized else self._shown))
        stands.pop(len(fresh) - 1, None)  # the cursor ends there, behind its text
        text = ("" if stands.get(at) == one else one + ERASE_TO_END_OF_LINE for at, one in enumerate(fresh))
        parts += ["\r\n".join(text), ERASE_BELOW]
        self._shown, self._widths = fresh, [one.cell_len for one in table]
        return "".join(parts)

    def to_top(self, columns: int, height: int) -> str:
        """From the end of the table to its beginning. A terminal that has become narrower broke the lines."""
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        up = min(rows, height) - 1
        return f"\r\x1b[{up}A" if up > 0 else "\r"

    def leave(self) -> str:
        """Let the table stand, and go on below it."""
        below = "\r\n" if self._shown else ""
        self._shown, self._widths = [], []
        return below

    def plain(self, above: Sequence[Text]) -> str:
        """Lines where there is no table."""
        return "".join(f"{one}\r\n" for one in self._ansi(above))

    def _ansi(self, lines: Sequence[Text]) -> list[str]:
        if not lines:
            return []
        with self._console.capture() as caught:
            self._console.print(*lines, sep="\n", end="", soft_wrap=True)
        return caught.get().split("\n")
