"""The table as lines of a given size: which columns and rows fit, and how they are aligned.

Nothing jumps: widths come from the names in the graph, never from the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from flowrunner.terminal.rows import Row, chosen
from flowrunner.terminal.values import Piece

STYLES = {"": "", "good": "green", "quiet": "dim", "warning": "yellow", "bad": "bold red", "strong": "bold"}
"""Colours of the terminal's own palette, so that its owner's theme decides."""
GAP = 2
WIDEST_ID, WIDEST_TYPE, LEAST_VALUE = 26, 16, 24
SMALLEST = 30
"""Columns below which there is only the first line."""
EVENT_LINES = 3
"""Lines that the table leaves to the events, or a quarter of the screen if that is more."""


class Picture(msgspec.Struct, frozen=True):
    """All that is shown at one instant."""

    head: list[str]
    """Parts of the first line, the most important first."""
    titles: dict[str, str]
    """Flow → its title; several flows are shown in groups."""
    rows: list[Row]
    notes: list[str] = []
    """For the last line."""
    closing: bool = False
    """The last one: it stays on the screen."""
    hint: str = "Ctrl-C stops"


class Column(msgspec.Struct, frozen=True):
    name: str
    width: int
    right: bool = False


def lines(picture: Picture, columns: int, height: int) -> list[Text]:
    """The lines of the table, none longer than ``columns`` - 1 cells: no terminal breaks or cuts them."""
    width = columns - 1
    head = _head(picture.head, width)
    groups = len(picture.titles) if len(picture.titles) > 1 else 0
    spare = max(EVENT_LINES, height // 4)
    room = height - spare - 4 - groups  # 4: an empty line, the first line, the names of the columns, the last line
    if width < SMALLEST or room < 1:
        return [head]
    rows = chosen(picture.rows, room)
    table = columns_for(picture.rows, width)
    text = [Text(), head, _line([(_fit(one.name, one), "quiet") for one in table], width)]
    for flow, title in picture.titles.items():
        mine = [one for one in rows if one.flow == flow]
        if groups and mine:
            text.append(_line([(flow, "strong"), (f"  {title}" if title else "", "quiet")], width))
        text += [_line(_cells(one, table), width) for one in mine]
    last = _foot(picture, rows)
    return [*text, _line([(last, "quiet")], width)] if last else text


def columns_for(rows: Sequence[Row], width: int) -> list[Column]:
    """The columns that leave the last value enough room; what is least needed goes first."""
    state = Column("state", 12)
    fixed = [
        Column("node", min(max((cell_len(one.id) for one in rows), default=4), WIDEST_ID)),
        Column("type", min(max((cell_len(one.type) for one in rows), default=4), WIDEST_TYPE)),
        state,
        Column("rate", 7, right=True),
        Column("age", 6, right=True),
    ]
    fixed += [Column("inbox", 5, right=True)] if any(one.inbox for one in rows) else []
    fixed += [Column("errors", 6, right=True)] if any(one.errors for one in rows) else []
    fixed += [Column("dropped", 7, right=True)] if any(one.dropped for one in rows) else []
    for goes in ("type", "inbox", "dropped", "rate", "age", "errors"):
        if width - _width(fixed) >= LEAST_VALUE:
            break
        fixed = [one for one in fixed if one.name != goes]
    return [*fixed, Column("last value", max(width - _width(fixed), 1))]


def _width(columns: Iterable[Column]) -> int:
    return sum(one.width + GAP for one in columns)


def _fit(text: str, column: Column) -> str:
    """``text`` in exactly the cells of its column, and the gap behind it."""
    if cell_len(text) > column.width:
        text = f"{set_cell_size(text, column.width - 1)}…"
    space = " " * (column.width - cell_len(text))
    return (space + text if column.right else text + space) + " " * GAP


def _cells(row: Row, columns: Iterable[Column]) -> Iterable[Piece]:
    for column in columns:
        match column.name:
            case "node":
                yield _fit(row.id, column), ""
            case "type":
                yield _fit(row.type, column), "quiet"
            case "state":
                yield _fit(row.state[0], column), row.state[1]
            case "rate":
                yield _fit(row.rate, column), "quiet" if row.rate == "–" else ""
            case "age":
                yield _fit(row.age, column), "quiet" if row.age == "–" else ""
            case "inbox":
                yield _fit(row.inbox, column), "quiet" if row.inbox == "0" else ""
            case "errors":
                yield _fit(row.errors, column), "bad"
            case "dropped":
                yield _fit(row.dropped, column), "warning"
            case _:
                yield from row.value


def _line(pieces: Iterable[Piece], width: int) -> Text:
    text = Text(no_wrap=True)
    for words, tone in pieces:
        text.append(words, STYLES[tone])
    text.rstrip()
    text.truncate(width, overflow="ellipsis")
    return text


def _head(parts: Sequence[str], width: int) -> Text:
    """As many parts as fit."""
    text = Text(no_wrap=True)
    for number, part in enumerate(parts):
        more = f"  {part}" if number else part
        if number and text.cell_len + cell_len(more) > width:
            continue
        text.append(more, "bold" if not number else "")
    text.truncate(width, overflow="ellipsis")
    return text


def _foot(picture: Picture, rows: Sequence[Row]) -> str:
    hidden = len(picture.rows) - len(rows)
    trouble = sum(one.rank == 0 for one in picture.rows) - sum(one.rank == 0 for one in rows)
    parts = [] if picture.closing else [picture.hint]
    parts += picture.notes
    if hidden:
        why = f", {trouble} of them in trouble" if trouble else ", none of them in trouble"
        parts.append(f"{hidden} more {'node' if hidden == 1 else 'nodes'}{why}")
    return "   ".join(parts)
