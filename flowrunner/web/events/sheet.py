"""The list as CSV (RFC 4180), safe to open in a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from flowrunner.sheet import cell
from flowrunner.web.events.shown import EventShown
from flowrunner.web.events.words import english

COLUMNS = (
    "at", "kind", "severity", "title", "text", "state", "course", "count", "since", "until", "flow", "node", "file",
    "line", "who", "origin", "order", "id",
)  # fmt: skip
"""Of the first line. Times are UTC."""


def sheet(events: Iterable[EventShown]) -> bytes:
    """One line of names, then one of each event; UTF-8, lines end with CR LF."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for event in events:
        title = english(event["title"]["key"], event["title"]["values"])
        cells = {**event, "title": title}
        writer.writerow(["" if cells[name] is None else cell(cells[name]) for name in COLUMNS])
    return out.getvalue().encode("utf-8", "replace")
