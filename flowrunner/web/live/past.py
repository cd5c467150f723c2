"""What the nodes were like at each step of the strip, so that one can look at the state of then.

Kept in memory and compressed, about 20 bytes of a node and step, and written down in a thread: no flow waits for it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from flowrunner.engine import Engine
from flowrunner.message import JSON, Instant, Message
from flowrunner.runtime import Worker
from flowrunner.units import SECOND
from flowrunner.web.answer import encode
from flowrunner.web.live.frame import FIGURES, LAST_AT, MS, Row, newest, row_of
from flowrunner.web.live.words import line, short

MOST_NODES = 2_000
"""Of an engine with more nodes nothing is kept: a look at all of them would be felt by the flows."""
Known = dict[str, dict[str, JSON]]


class NodeThen(msgspec.Struct, frozen=True):
    """A node as it was."""

    state: str
    connected: bool | None
    received: Annotated[int, Meta(ge=0)]
    sent: Annotated[int, Meta(ge=0)]
    received_per_s: Annotated[float | None, Meta(description="Over the step before; null: that is not known.")]
    sent_per_s: float | None
    inbox: Annotated[int, Meta(ge=0)]
    errors: Annotated[int, Meta(ge=0)]
    stale: bool
    last_at: Annotated[int | None, Meta(description="Milliseconds since 1970-01-01T00:00:00Z, flow time.")]
    last: str | None
    last_error: str | None


class Then(msgspec.Struct, frozen=True):
    """The nodes of a flow at a step of its strip."""

    flow: str
    at: Annotated[int, Meta(description="Of the step: the last one up to the time that was asked for. Milliseconds.")]
    nodes: Annotated[dict[str, NodeThen], Meta(description="By their ids; of those that ran then.")]


class _Seen(NamedTuple):
    """One node at one look; a message is never changed, so its text can be made later."""

    worker: Worker
    row: Row
    last: Message | None
    error: str | None


class Past:
    """``note`` with each step of the strip."""

    def __init__(self, engine: Engine, steps: int) -> None:
        """``steps``: how many are kept."""
        self._engine = engine
        self._kept: deque[tuple[Instant, Mapping[str, bytes]]] = deque(maxlen=steps)
        self._texts: dict[str, tuple[Message, str]] = {}
        """Address → the message that was newest at the last step, and its text."""
        self._writing: asyncio.Task[None] | None = None

    def note(self, now: Instant) -> None:
        """Look at all nodes; in the running loop. A step whose turn comes while the one before is still being written
        is left out."""
        workers = self._engine.runtime.workers
        if len(workers) > MOST_NODES:
            self._kept.clear()
            return
        if self._writing is not None and not self._writing.done():
            return
        seen = [_Seen(one, row_of(one.counters, one.inbox), newest(one.counters), one.counters.last_error)
                for one in workers.values()]  # fmt: skip
        self._writing = asyncio.get_running_loop().create_task(self._write(now, seen), name="past")

    async def close(self) -> None:
        """Return when nothing is being written. Safe to repeat."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def then(self, flow: str, at: Instant) -> Then | None:
        """The nodes of a flow at the last step up to ``at``; None where nothing is kept of that."""
        # Who asks knows milliseconds.
        place = next((n for n in reversed(range(len(self._kept))) if self._kept[n][0] // MS <= at // MS), None)
        if place is None or flow not in self._kept[place][1]:
            return None
        (time, flows), before, seconds = self._kept[place], Known(), 0.0
        if place and flow in self._kept[place - 1][1]:
            earlier, of_then = self._kept[place - 1]
            before, seconds = _read(of_then[flow]), (time - earlier) / SECOND
        found = _read(flows[flow])
        return Then(flow, time // MS, {name: _node(one, before.get(name), seconds) for name, one in found.items()})

    async def _write(self, now: Instant, seen: Iterable[_Seen]) -> None:
        self._kept.append((now, await asyncio.to_thread(self._packed, seen, now)))

    def _packed(self, seen: Iterable[_Seen], now: Instant) -> dict[str, bytes]:
        from flowrunner.web.graph.api import stale_of  # that room needs the dashboards, and these need this one

        mask = self._engine.runtime.mask
        flows: dict[str, Known] = {}
        texts: dict[str, tuple[Message, str]] = {}
        for worker, row, last, error in seen:
            spec, text = worker.spec, None
            if last is not None:
                known = self._texts.get(spec.address)
                text = known[1] if known is not None and known[0] is last else line(last, mask)
                texts[spec.address] = (last, text)
            at = row[LAST_AT]
            flows.setdefault(spec.flow, {})[spec.id] = {
                **dict(zip(FIGURES, row[:LAST_AT], strict=True)),
                "stale": bool(stale_of(worker, now)),
                "last_at": None if at is None else at // MS,
                "last": text,
                "last_error": short(error, mask) if error else None,
            }
        self._texts = texts
        return {flow: zlib.compress(encode(nodes), 1) for flow, nodes in flows.items()}


def _read(packed: bytes) -> Known:
    found: Known = msgspec.json.decode(zlib.decompress(packed))
    return found


def _node(one: Mapping[str, Any], before: Mapping[str, Any] | None, seconds: float) -> NodeThen:
    def rate(what: str) -> float | None:
        if before is None or seconds <= 0 or one[what] < before[what]:  # it has begun anew, or a clock was set back
            return None
        passed: int = one[what] - before[what]
        return round(passed / seconds, 3)

    return NodeThen(
        state=one["state"], connected=one["connected"], received=one["received"], sent=one["sent"],
        received_per_s=rate("received"), sent_per_s=rate("sent"), inbox=one["inbox"], errors=one["errors"],
        stale=one["stale"], last_at=one["last_at"], last=one["last"], last_error=one["last_error"],
    )  # fmt: skip
