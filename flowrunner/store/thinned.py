"""What one store-out kept over a time, as many rows as one wants to look at: all, or evenly spread ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from flowrunner.message import Instant

MOST_ROWS = 20_000
"""More in one time are not read one by one."""
PROBES = 8
"""Rows of one bucket where not all are read."""
TRIES = 4
"""Rows that one probe looks at: a store-out may keep what comes by other wires, too."""
_LAST = 2**63 - 1
_OWN = "FROM history WHERE flow = ? AND node = ? AND at >= ? AND at < ? ORDER BY at"


class Kept(NamedTuple):
    """What counts for a figure of one row of the history. Times in nanoseconds; JSON as it is kept."""

    at: Instant
    received_at: Instant
    wire: str
    source: str
    origin: str
    quality: str
    payload: bytes
    fields: bytes
    key: str = ""


COLUMNS = ", ".join(Kept._fields)


def thinned(
    sql: sqlite3.Connection,
    take: Callable[[Kept], object],
    *,
    flow: str,
    node: str,
    wires: Collection[str],
    since: Instant,
    until: Instant,
    buckets: int,
) -> bool:
    """Give ``take`` the rows that came by one of ``wires``, with event times from ``since`` up to, not including,
    ``until``; whether they are only some. Then there are some of each of so many ``buckets`` that hold any, the last
    row of it too, and they come in no order.

    However much is kept, at most `MOST_ROWS` entries of an index are walked, and `PROBES` are looked up per bucket.
    """
    since, until = (max(min(one, _LAST), -_LAST) for one in (since, until))
    span = (flow, node, since, until)
    found = sql.execute(f"SELECT id {_OWN} LIMIT ?", (*span, MOST_ROWS + 1)).fetchall()
    if len(found) <= MOST_ROWS:
        for row in sql.execute(f"SELECT {COLUMNS} {_OWN}, id LIMIT ?", (*span, MOST_ROWS)):
            if (kept := Kept(*row)).wire in wires:
                take(kept)
        return False
    for begin, end, last in _probes(since, until, buckets):
        order = " DESC" if last else ""
        for row in sql.execute(f"SELECT {COLUMNS} {_OWN}{order} LIMIT ?", (flow, node, begin, end, TRIES)):
            if (kept := Kept(*row)).wire in wires:
                take(kept)
                break
    return True


def _probes(since: Instant, until: Instant, buckets: int) -> Iterator[tuple[Instant, Instant, bool]]:
    """Where one row each is looked for: from when, until when, and whether the last there is meant."""
    count = max(buckets, 1) * (PROBES - 1)
    edges = [since + (until - since) * place // count for place in range(count + 1)]
    for place in range(count):
        if edges[place] < edges[place + 1]:
            yield edges[place], edges[place + 1], False
            if place % (PROBES - 1) == PROBES - 2:
                yield edges[place + 2 - PROBES], edges[place + 1], True
