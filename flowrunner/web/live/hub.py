"""The hub: looks at the engine ten times a second while somebody reads, and has one frame for all of them.

Readers have no queues. Who has taken the frame before is handed the next one, the same bytes for all; any other takes
the newest when it can, and gets a snapshot when it has missed one. So a slow reader costs no more than a fast one, and
no node ever waits for any of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from flowrunner.clock.io_time import later, loop_seconds
from flowrunner.engine import Engine
from flowrunner.graph import Graph
from flowrunner.message import JSON, Instant
from flowrunner.web.answer import encode
from flowrunner.web.live.frame import MS, Board, Watch
from flowrunner.web.live.past import Past, Then
from flowrunner.web.live.status import Status
from flowrunner.web.live.strip import STEP_S, STEPS, Shown, Strip
from flowrunner.web.live.tap import Feed, Taps

HZ = 10
TICK_S = 1 / HZ
HEARTBEAT_S = 1.0
"""At least so often there is a frame; staleness and what is on the disk are looked at as often."""
MOST_READERS = 200
FROZEN_S = 5.0
"""A reader that takes nothing for so long is dropped."""
CLOSE_S = 0.25
"""Seconds that readers get to take their last frame when the server stops."""
log = logging.getLogger("flowrunner.web")


class Reader:
    """One who reads. ``news`` is set when there is a frame, or when it is to end."""

    def __init__(self, feeds: Sequence[Feed], abort: Callable[[], object]) -> None:
        self.news = asyncio.Event()
        self.seq = -1
        """Of the frame that it has."""
        self.feeds = feeds
        self.abort = abort
        """Ends its connection, whatever waits there."""
        self.at_hand: asyncio.WriteTransport | None = None
        """Its connection while it waits for nothing but the next frame: what is for everybody is written there at
        once, as its own task would have it written when it came to its turn."""

    def given(self, frame: bytes, seq: int) -> bool:
        """Hand it a frame, ready for the wire. False: it must take one itself, because it has missed some, looks at
        nodes too, or still has something to take."""
        transport = self.at_hand
        if transport is None or self.seq != seq - 1 or self.feeds or self.news.is_set():
            return False
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(frame)
        self.seq = seq
        return True

    def put_back(self) -> None:
        """What was taken for it did not go out: it needs a snapshot, and messages of taps count as left out."""
        self.seq = -1
        for feed in self.feeds:
            feed.put_back()


class Hub:
    """One per engine. ``begin`` and ``close`` with the server."""

    def __init__(self, engine: Engine, watches: Callable[[Graph], Sequence[Watch]] = lambda _: ()) -> None:
        """``watches``: the values of a graph that somebody may look at."""
        self.engine = engine
        self.taps = Taps(engine.runtime)
        self.closing = False
        self.frozen = 0
        """Readers that were dropped because they took nothing."""
        self.watches = watches
        self.most_readers, self.frozen_s = MOST_READERS, FROZEN_S
        self._strip = Strip(engine)
        self._past = Past(engine, STEPS)
        self._status = Status(engine)
        self._readers: set[Reader] = set()
        self._gone = asyncio.Event()
        """Set when a reader leaves."""
        self._board: Board | None = None
        self._said: dict[str, JSON] = {}
        """The status as it was sent last."""
        self.seq = 0
        self.beats = 0
        """Seconds, about, that somebody has read."""
        self._delta: bytes | None = None
        """The newest frame, for who has the one before; None: everybody needs a snapshot."""
        self._snapshot: tuple[int, bytes] = (-1, b"")
        self._tick_at: asyncio.TimerHandle | None = None
        self._strip_at: asyncio.TimerHandle | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._now: Callable[[], float] = lambda: 0.0
        self._due = self._beat = 0.0
        self._defect = ""

    # ---- with the server ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Keep the strip from now on."""
        self._now = loop_seconds()
        self._step()

    async def close(self) -> None:
        """No reader more; those that are there take what is newest, and end. Safe to repeat, and before ``begin``."""
        self.closing = True
        if self._strip_at is not None:
            self._strip_at.cancel()
        for reader in self._readers:
            reader.news.set()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.alone()
        except TimeoutError:
            for reader in self._readers:
                reader.abort()
        self._rest()
        if self._fetching is not None:
            await asyncio.wait([self._fetching])
        await self._past.close()

    async def alone(self) -> None:
        """Return when nobody reads."""
        while self._readers:
            self._gone.clear()
            await self._gone.wait()

    def _step(self) -> None:
        self._strip_at = later(STEP_S, self._step)
        now = self.engine.clock.now()
        self._strip.look(now)
        self._past.note(now)

    def strip(self, flow: str) -> Shown:
        """The last 15 minutes of a flow."""
        return self._strip.shown(flow, self.engine.clock.now())

    def then(self, flow: str, at: Instant) -> Then | None:
        """Its nodes as they were at a time of these minutes; None where that is not kept."""
        return self._past.then(flow, at)

    # ---- readers ------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether there is no room for another reader."""
        return len(self._readers) >= self.most_readers

    @property
    def looking(self) -> bool:
        """Whether the counters are looked at now."""
        return self._board is not None

    @property
    def readers(self) -> int:
        """How many there are."""
        return len(self._readers)

    async def join(self, reader: Reader) -> None:
        """From now on there are frames for it; the first is a snapshot."""
        self._readers.add(reader)
        for feed in reader.feeds:
            self.taps.add(feed)
        if self._board is None:
            await self._fetch()
            self._wake()
        reader.news.set()

    def leave(self, reader: Reader) -> None:
        """Safe to repeat. With the last one the hub rests."""
        self._readers.discard(reader)
        for feed in reader.feeds:
            self.taps.remove(feed)
        self._gone.set()
        if not self._readers:
            self._rest()

    def take(self, reader: Reader) -> bytes:
        """What is new for a reader, as it goes over the wire; b"" when nothing is."""
        parts: list[bytes] = []
        if reader.seq != self.seq and self._board is not None:
            fits = self._delta is not None and reader.seq == self.seq - 1
            parts.append(self._delta if fits and self._delta is not None else self._whole(self._board))
            reader.seq = self.seq
        for feed in reader.feeds:
            parts += [event("tap", one) for one in feed.events(self.engine.runtime.mask)]
        return b"".join(parts)

    # ---- ten times a second -------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._board is not None or not self._readers or self.closing:
            return  # another one was faster, or it has left
        self._look_anew()
        self._due = self._now() + TICK_S
        self._tick_at = later(TICK_S, self._tick)

    def _rest(self) -> None:
        """Nobody reads: nothing is looked at."""
        if self._tick_at is not None:
            self._tick_at.cancel()
            self._tick_at = None
        self._board = None
        self._snapshot = (-1, b"")
        self._delta = None

    def _tick(self) -> None:
        now = self._now()
        self._due = max(self._due + TICK_S, now + TICK_S / 2)
        self._tick_at = later(self._due - now, self._tick)
        beat = now - self._beat >= HEARTBEAT_S - TICK_S / 2
        if beat:
            self.beats, self._beat = self.beats + 1, now
        try:
            news = self._looked(beat)
        except Exception as error:  # a defect here is nothing to the flow, and must not fill its log
            if self._defect != repr(error):
                self._defect = repr(error)
                log.exception("the live stream failed; this is a defect of flowrunner, and the flow runs on")
            return
        if beat and (self._fetching is None or self._fetching.done()):
            self._fetching = asyncio.get_running_loop().create_task(self._fetch(), name="status")
        # Once a second each is woken: it then looks whether it may go on, and whether anybody takes what is sent.
        frame = chunk(self._delta) if news and not beat and self._delta is not None else None
        for reader in self._readers:
            for feed in reader.feeds:
                feed.refill()
            if frame is not None and reader.given(frame, self.seq):
                continue
            if news or any(feed.kept for feed in reader.feeds):
                reader.news.set()

    def _looked(self, beat: bool) -> bool:
        """Whether there is a new frame."""
        board = self._board
        if board is None or board.workers is not self.engine.runtime.workers:
            self._look_anew()
            return True
        return self._look(board, beat)

    def _look_anew(self) -> None:
        """Another graph, or the first reader: all is new to everybody."""
        engine = self.engine
        now = engine.clock.now()
        self._board = Board(engine.runtime.workers, self.watches(engine.graph), engine.runtime.mask)
        self._board.look(now, judge=True)
        self._board.nodes_changed()
        self._board.values_changed()
        self.taps.settle()
        self._strip.note_reload(now)
        self._status.judge()
        self._said = self._status.shown(now, len(self._readers))
        self.seq += 1
        self._delta = None
        self._beat = self._now()

    def _look(self, board: Board, beat: bool) -> bool:
        now = self.engine.clock.now()
        changed = board.look(now, judge=beat)
        if beat or board.states_changed:
            self._status.judge()
        if beat:
            self.taps.settle()
        status = self._status.shown(now, len(self._readers))
        if not (changed or beat or status != self._said):
            return False
        self.seq += 1
        head = {"seq": self.seq, "at": now // MS}
        first: dict[str, JSON] = dict(head)
        if status != self._said:
            self._said = first["status"] = status
            self._strip.note_reload(now)
        groups = board.nodes_changed()
        if groups:
            first["nodes"] = groups[0]
        values = board.values_changed()
        if values is not None:
            first["values"] = values
        self._delta = b"".join(event("delta", one) for one in (first, *({**head, "nodes": one} for one in groups[1:])))
        return True

    def _whole(self, board: Board) -> bytes:
        """The snapshot at the newest frame: made when somebody needs it, for all who do."""
        if self._snapshot[0] != self.seq:
            engine = self.engine
            speed = getattr(engine.clock, "speed", 1.0)
            told = {
                "seq": self.seq,
                "at": engine.clock.now() // MS,
                "hz": HZ,
                **({} if speed == 1.0 else {"speed": speed}),
                "generation": engine.generation,
                "names": board.names,
                "watches": board.watches,
                "status": self._said,
                "nodes": board.nodes(),
                "values": board.values(),
            }
            self._snapshot = (self.seq, event("snapshot", told))
        return self._snapshot[1]

    async def _fetch(self) -> None:
        await self._status.fetch()


def chunk(body: bytes) -> bytes:
    """A part of an answer of unknown length, as it stands on the wire (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def event(name: str, data: JSON) -> bytes:
    """One server-sent event (html.spec.whatwg.org, 9.2). JSON has no line feed of its own."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(data))
