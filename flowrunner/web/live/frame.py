"""What is shown of the nodes of one generation: columns of the newest figures, and what of them has changed.

Nothing is asked of nodes: their counters are compared with what was sent last. A column that is not in a delta has not
changed in any of its rows; a name or a value is meant by its place in ``names`` and ``watches`` of the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from flowrunner.graph import ERROR_PORT
from flowrunner.message import JSON, Instant, Message
from flowrunner.runtime import Counters, Inbox, Worker
from flowrunner.web.live.words import Mask, line, scalar, short

MS = 1_000_000
TEXTS = 100
"""Nodes whose texts (the newest message, when it was, the last error) are renewed in one delta; the next have their
turn in the next one. So a thousand busy nodes cost hardly more than a hundred, and each has its text once a second."""
FIGURES = ("received", "sent", "inbox", "state", "connected", "errors", "dropped")
VALUES = ("value", "at", "received_at", "source", "origin", "quality", "unit", "stale", "reason", "until", "key")
NO_VALUE: tuple[JSON, ...] = (None, None, None, None, None, "bad", None, True, "no value yet", None, "")
LAST_AT: Final = 7
LAST_ERROR_AT: Final = 8
"""Places in a row, behind its figures."""
Row = tuple[int, int, int, str, bool | None, int, int, Instant | None, Instant | None]
Columns = dict[str, JSON]


class Watch(NamedTuple):
    """A value that somebody looks at: a field of what leaves a node by a port; ``address`` is ``flow/id``."""

    address: str
    port: str
    field: str


class Board:
    """The columns of one generation. ``look`` first; then ``nodes_changed`` and ``values_changed`` say what is new."""

    def __init__(self, workers: Mapping[str, Worker], watches: Sequence[Watch], mask: Mask) -> None:
        self.workers = workers
        """As the runtime has them: another mapping is another generation."""
        self.names = list(workers)
        self.watches = list(watches)
        self._mask = mask
        self._counters = [worker.counters for worker in workers.values()]
        self._inboxes = [worker.inbox for worker in workers.values()]
        self._rows: list[Row] = [row_of(worker.counters, worker.inbox) for worker in workers.values()]
        self._last = [self._last_text(counters) for counters in self._counters]
        self._last_error = [self._error_text(counters) for counters in self._counters]
        self._changed: list[int] = []
        self._before: list[Row] = []
        self._textless: dict[int, None] = {}
        """Nodes whose texts are out of date, those that wait longest first."""
        self._watched = [
            (workers[one.address].counters if one.address in workers else None, one.port, one.field) for one in watches
        ]
        self._seen: list[Message | None] = [None] * len(watches)
        self._values: list[dict[str, tuple[JSON, ...]]] = [{"": NO_VALUE} for _ in watches]
        """Of each watch the newest value of each key; the newest of all is the last one."""
        self._fresh: dict[tuple[int, str], None] = {}

    # ---- looking ------------------------------------------------------------------------------------------------

    def look(self, now: Instant, *, judge: bool) -> bool:
        """Take in what there is now; whether anything is new. ``judge``: what was fresh may have become stale."""
        changed, before, rows = self._changed, self._before, self._rows
        for place, (counters, inbox, old) in enumerate(zip(self._counters, self._inboxes, rows, strict=True)):
            if (
                counters.received is old[0]  # by identity: the figures themselves need not be looked at
                and counters.sent is old[1]
                and len(inbox) == old[2]
                and counters.state is old[3]
                and counters.connected is old[4]
                and counters.last_error_at is old[LAST_ERROR_AT]
                and not judge  # what can change without all of these, like drops, has a look now and then
            ):
                continue
            row = row_of(counters, inbox)
            if row == old:
                continue
            changed.append(place)
            before.append(old)
            rows[place] = row
            if row[LAST_AT:] != old[LAST_AT:]:
                self._textless[place] = None
        for place, (of, port, field) in enumerate(self._watched):
            message = of.last.get(port) if of is not None else None
            if judge or message is not self._seen[place]:
                self._seen[place] = message
                if of is not None and message is not None:
                    self._look_at(place, of, message, port, field, now)
        return bool(changed or self._textless or self._fresh)

    def _look_at(self, place: int, of: Counters, message: Message, port: str, field: str, now: Instant) -> None:
        """Values of different keys are different values: each is judged for itself."""
        kept = of.keyed.get(port)
        found = [message] if not kept else [*(one for one in kept.values() if one is not message), message]
        values = {self._mask(one.key) if one.key else "": self._value(one, field, now) for one in found}
        before = self._values[place]
        for key, value in values.items():
            if before.get(key) != value:
                self._fresh[place, key] = None
        if (newest := next(reversed(values))) != next(reversed(before)):  # even with the same value at the same time
            self._fresh[place, newest] = None
        self._values[place] = values

    @property
    def states_changed(self) -> bool:
        """Whether a node's state or its connection is another one than before."""
        rows = self._rows
        return any(rows[place][3:5] != old[3:5] for place, old in zip(self._changed, self._before, strict=True))

    def _value(self, message: Message, field: str, now: Instant) -> tuple[JSON, ...]:
        payload, infos = message.payload, message.fields or {}
        if isinstance(payload, dict):
            known, value = field in payload, payload.get(field)
        else:  # a message that is no record is its own value
            known, value = field in ("", "value"), payload
        value = scalar(value, self._mask) if known else None
        info = message.info(field)
        if value is None and (field not in infos or info.quality == "good"):
            return (
                *NO_VALUE[:-1],
                message.key and self._mask(message.key),
            )  # whatever is said of the message as a whole
        judged = info.shown(now)  # the same words as the API's
        return (
            value,
            _ms(info.at),
            _ms(info.received_at),
            info.source,
            info.origin,
            info.quality,
            info.unit,
            judged["stale"],
            judged.get("reason"),
            _ms(info.valid_until),
            message.key and self._mask(message.key),
        )

    def _last_text(self, counters: Counters) -> str | None:
        message = newest(counters)
        return None if message is None else line(message, self._mask)

    def _error_text(self, counters: Counters) -> str | None:
        return short(counters.last_error, self._mask) if counters.last_error else None

    # ---- what is sent -------------------------------------------------------------------------------------------

    def nodes_changed(self) -> list[Columns]:
        """The columns of what has changed since this was asked last; the texts of many nodes by themselves."""
        changed, before = self._changed, self._before
        self._changed, self._before = [], []
        texts = list(self._textless)[:TEXTS]
        errors = False
        for place in texts:
            del self._textless[place]
            counters = self._counters[place]
            self._last[place], error = self._last_text(counters), self._error_text(counters)
            errors = errors or error != self._last_error[place]
            self._last_error[place] = error
        if not changed and not texts:
            return []
        if len(texts) < TEXTS:
            known = set(changed)
            for place in texts:
                if place not in known:
                    changed.append(place)
                    before.append(self._rows[place])
            return [self._figures(changed, before) | (self._texts(changed, errors) if texts else {})]
        figures = [self._figures(changed, before)] if changed else []
        return [*figures, {"i": texts, **self._texts(texts, errors)}]

    def _figures(self, places: list[int], before: Iterable[Row]) -> Columns:
        rows = self._rows
        columns: Columns = {"i": places}
        new, old = zip(*[rows[place] for place in places], strict=True), zip(*before, strict=True)
        for name, column, was in zip(FIGURES, new, old, strict=False):  # the times of a row come with its texts
            if column != was:
                columns[name] = column
        return columns

    def _texts(self, places: Sequence[int], errors: bool) -> Columns:
        texts: Columns = {
            "last_at": [_ms(self._rows[place][LAST_AT]) for place in places],
            "last": [self._last[place] for place in places],
        }
        return texts | ({"last_error": [self._last_error[place] for place in places]} if errors else {})

    def values_changed(self) -> Columns | None:
        """The same of the values that are watched. Of one that has several keys there may be several rows; the newest
        is the last one."""
        if not self._fresh:
            return None
        fresh: dict[int, dict[str, None]] = {}
        for place, key in self._fresh:
            fresh.setdefault(place, {})[key] = None
        self._fresh = {}
        rows = [(place, key) for place, keys in fresh.items() for key in self._values[place] if key in keys]
        for place in fresh:
            newest = next(reversed(self._values[place]))
            if len(self._values[place]) > 1 and newest not in fresh[place]:
                rows.append((place, newest))
        found = [self._values[place][key] for place, key in rows]
        return {"i": [place for place, _ in rows], **_columns(VALUES, found)}

    def nodes(self) -> Columns:
        """All columns of all nodes, as they were sent."""
        columns = _columns(FIGURES, [row[:LAST_AT] for row in self._rows])
        return {**columns, **self._texts(range(len(self._rows)), errors=True)}

    def values(self) -> Columns:
        """Of all watches in their order; with their places where one of them has several keys."""
        rows = [(place, row) for place, of in enumerate(self._values) for row in of.values()]
        columns = _columns(VALUES, [row for _, row in rows])
        return columns if len(rows) == len(self._values) else {"i": [place for place, _ in rows], **columns}

    def sites(self) -> list[list[tuple[JSON, ...]]]:
        """Of each watch the rows of all of its keys, the newest last."""
        return [[*of.values()] for of in self._values]


def newest(counters: Counters) -> Message | None:
    """What a node has sent last: by ``out``, else by another port, but no error."""
    message = counters.last.get("out")
    if message is None:
        others = (one for port, one in counters.last.items() if port != ERROR_PORT)
        message = max(others, key=_received_at, default=None)
    return message


def row_of(counters: Counters, inbox: Inbox) -> Row:
    """The figures of a node as they are now."""
    dropped = inbox.dropped
    return (
        counters.received,
        counters.sent,
        len(inbox),
        counters.state,
        counters.connected,
        sum(counters.errors.values()) if counters.errors else 0,
        (sum(counters.dropped.values()) if counters.dropped else 0) + (sum(dropped.values()) if dropped else 0),
        counters.last_at,
        counters.last_error_at,
    )


def _columns(names: Sequence[str], rows: Sequence[tuple[JSON, ...]]) -> Columns:
    found = list(zip(*rows, strict=True)) or [()] * len(names)
    return dict(zip(names, found, strict=True))


def _received_at(message: Message) -> Instant:
    return message.received_at


def _ms(at: Instant | None) -> int | None:
    return None if at is None else at // MS
