"""What leaves one node: stamped with its lineage, handed to every reader in order, waited for where one is full.

Messages go together: what a node or a source makes without a pause is handed on as one list, and an idle reader works
through that list where it stands. Only what cannot be worked on at once goes through an inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from flowrunner.clock.io_time import breathe, stopwatch
from flowrunner.graph import STATUS_PORT, GraphNode
from flowrunner.graph.change import Outgoing
from flowrunner.message import Message, Path, Root
from flowrunner.node import Output
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.host import Host
from flowrunner.runtime.inbox import Entry, Inbox
from flowrunner.runtime.lineage import Lineage
from flowrunner.runtime.receipt import Receipt
from flowrunner.runtime.wake import Wake

BATCH = 256
"""Messages after which a node hands on what it has, and a source that never waits lets others run."""
SLICE_S = 0.001
"""Seconds after which it does so as well."""

_set = msgspec.structs.force_setattr


class Reader(Protocol):
    """Who stands at the end of a wire."""

    inbox: Inbox
    out: Outlet
    wake: Wake
    """Set: what waits for it is seen to in its own turn."""
    listens: bool
    """It only listens (`Node.listens`)."""
    counts: bool
    """Whether a source waits for what it does with a message."""

    def receive(self, wire: str, messages: Sequence[Message], depth: int) -> int:
        """Work on these at once, where nothing waits before them: how many of them are done with. The others must be
        put into the inbox, for its own turn."""

    def nudge(self, depth: int) -> None:
        """Something waits in the inbox."""


class Outlet(Lineage):
    """One per node. ``pending`` counts what waits in the lines of full readers: while there is any, the node must
    process nothing more. ``on_room`` is called when the last of it has found its place.
    """

    def __init__(self, spec: GraphNode, counters: Counters, host: Host, on_room: Callable[[], None]) -> None:
        self.readers: dict[str, list[tuple[Reader, str]]] = {port: [] for port in (*spec.ports, *spec.node.ports)}
        """Port → (reader, wire name)."""
        super().__init__(spec, self.readers)
        self.ready: list[Message] = []
        """What leaves by ``out`` and no source waits for; it is before all of ``batch``."""
        self.batch: list[tuple[str, Message, Receipt | None]] = []
        """Port, message, and a part of the receipt under which it was made."""
        self.gathers = False
        """Its source runs now, and what it sends waits until it pauses, so that all of it goes together."""
        self.pending = 0
        self.depth = 0
        """How deep in the calls of writers the node runs now."""
        self.tap: Callable[[str, Message], None] | None = None
        """Sees every message that leaves, by port; costs nothing while there is none."""
        self.unhindered = False
        """Of a source that goes: what it has left lines up, however long the lines are."""
        self._tree = (-1, False)  # as of which wiring, and whether
        self._counters = counters
        self._host = host
        self._on_room = on_room
        self._room: asyncio.Event | None = None  # made when somebody waits for it: there are many outlets
        self._limit = -1  # of `ready`, while it gathers; -1: not looked at since there was a change
        self._look = 0  # from so many in `ready` on the time is looked at
        self._sent, self._breath = 0, 0.0  # messages since the source last let others run, and when that was

    def wire(self, wires: Outgoing, reader: Callable[[str], Reader]) -> None:
        """From now on it goes there; what waits in the lines of readers stays there."""
        for port in self.readers:
            self.readers[port] = [(reader(address), name) for address, name in wires.get(port, ())]

    def rewire(self, instead: Mapping[Reader, Reader]) -> None:
        """The same wires, where some readers have been replaced."""
        for port, readers in self.readers.items():
            self.readers[port] = [(instead.get(reader, reader), name) for reader, name in readers]

    # ---- what was made ----------------------------------------------------------------------------------------------

    def collect(self, result: Output, root: Root | None, path: Path, receipt: Receipt | None = None) -> None:
        """Put what ``process`` returned into the batch: all of it or, where one part is wrong, nothing."""
        port = "out"
        if type(result) is dict and len(result) == 1:
            [(name, only)] = result.items()
            if type(only) is Message and name in self.readers and name != STATUS_PORT:
                port, result = name, only
        if type(result) is Message and port in self.readers:  # by far the most common
            if self._key is None and result.path is None:
                _set(result, "root", root)
                _set(result, "path", self._onward if path is self._from else self.way(path))
            else:
                result = self.stamp(result, root, path)
            if receipt is not None:
                receipt.hold()
            elif port == "out" and not self.batch:
                self.ready.append(result)
                return
            self.batch.append((port, result, receipt))
        else:
            made = [(port, self.stamp(message, root, path), receipt) for port, message in self.by_port(result)]
            if receipt is not None:
                for _ in made:
                    receipt.hold()
            self.batch += made

    @property
    def simple(self) -> bool:
        """Whether a new message for ``out`` needs nothing but its lineage to be put behind what is ready."""
        return self._key is None and not self.batch and "out" in self.readers

    # ---- handing on ---------------------------------------------------------------------------------------------

    def hand_on(self) -> None:
        """Give the batch to the readers. What a full one does not take waits in its line; siblings get theirs now."""
        if self.ready:
            self._hand_on_ready()
        batch = self.batch
        if not batch:
            return
        self.batch = []
        counters, last, tap = self._counters, self._counters.last, self.tap
        touched: dict[Reader, None] = {}
        for port, message, receipt in batch:
            last[port] = message
            if message.key:
                counters.note(port, (message,))
            if tap is not None:
                tap(port, message)
            for reader, wire in self.readers[port]:
                part = receipt
                if receipt is not None:
                    if reader.counts:
                        receipt.hold()
                    else:
                        part = None
                self._queue(reader, (wire, message, part))
                touched[reader] = None
            if receipt is not None:
                receipt.done()
        counters.sent += len(batch)
        counters.last_at = self._host.now()
        depth = self.depth + 1
        for reader in touched:
            reader.nudge(depth)

    def _hand_on_ready(self) -> None:
        """Each reader works on all of it where it stands, or has it in its inbox: in the end, or where the ways of
        several readers meet again, from the beginning, so that nobody downstream hears one of them far ahead."""
        ready, self.ready = self.ready, []
        counters, tap = self._counters, self.tap
        counters.sent += len(ready)
        counters.last["out"] = ready[-1]
        counters.note("out", ready)
        counters.last_at = self._host.now()
        if tap is not None:
            for message in ready:
                tap("out", message)
        readers, depth = self.readers["out"], self.depth + 1
        if len(readers) > 1 and not self.tree:
            for message in ready:
                for reader, wire in readers:
                    self._queue(reader, (wire, message, None))
            for reader, _ in readers:
                reader.nudge(depth)
            return
        for reader, wire in readers:
            done = reader.receive(wire, ready, depth)
            if done == len(ready):
                continue
            for message in ready[done:]:
                self._queue(reader, (wire, message, None))
            if done:
                reader.wake.set()
            else:
                reader.nudge(depth)

    def _queue(self, reader: Reader, entry: Entry) -> None:
        if not reader.inbox.offer(entry):
            reader.inbox.line_up(entry, self._taken)
            self.pending += 1

    @property
    def tree(self) -> bool:
        """Whether no two ways of what leaves here meet again. Asked where it saves something, and known until a reload
        changes wires."""
        wiring = self._host.wiring
        if self._tree[0] != wiring:
            self._tree = (wiring, self._is_tree())
        return self._tree[1]

    def _is_tree(self) -> bool:
        seen: set[Reader] = set()
        outlets = [self]
        while outlets:
            for readers in outlets.pop().readers.values():
                for reader, _ in readers:
                    if reader.listens:
                        continue
                    if reader in seen or reader.out is self:
                        return False
                    seen.add(reader)
                    outlets.append(reader.out)
        return True

    def put(self, port: str, message: Message, receipt: Receipt | None = None) -> None:
        """Hand one stamped message on, behind all that is ready; what finds no room waits in the readers' lines."""
        if receipt is not None:
            receipt.hold()
        self.batch.append((port, message, receipt))
        self.hand_on()

    async def send(self, port: str, message: Message, receipt: Receipt | None = None) -> None:
        """For sources: the same, and wait until every reader has it.

        The message is handed on also when this is cancelled: it stays in line.
        """
        if self.pending and not self.unhindered:
            try:
                await self._wait_for_room()
            except asyncio.CancelledError:
                self.put(port, message, receipt)
                raise
        self._sent += 1
        if self.gathers and port == "out" and receipt is None and self._may_gather:
            self.ready.append(message)
            return
        self.put(port, message, receipt)
        self._limit = -1
        if self.pending:
            await self._wait_for_room()
        if self._sent >= BATCH or (self._host.sliced and stopwatch() - self._breath > SLICE_S):
            await self.breathe()

    # ---- of a source that makes many in one go --------------------------------------------------------------------

    def runs(self) -> None:
        """The source goes on. Where the ways of what it sends meet again, each message runs to the end of its ways
        before the next one."""
        self.gathers = self.tree
        self._limit = -1
        if self._host.sliced:
            self._breath = stopwatch()

    def pauses(self) -> None:
        """It waits for something, or has ended."""
        self.gathers = False
        self.hand_on()

    def gather(self, message: Message) -> bool:
        """Take along what it has made for ``out``, without waiting; False where that takes more than this."""
        if not self.gathers or self._key is not None or message.path is not None or not self._may_gather:
            return False
        _set(message, "path", self._start)
        self.ready.append(message)
        self._sent += 1
        return True

    @property
    def _may_gather(self) -> bool:
        """While its slice lasts, and there is room for all of it: a source never makes more than what its readers can
        take, and one."""
        count = len(self.ready)
        if self._limit < 0:
            readers = self.readers.get("out", ())
            self._limit = min([BATCH, *(reader.inbox.room for reader, _ in readers)]) if readers else 0
            self._look = count
        if count >= self._look and self._host.sliced:
            if stopwatch() - self._breath > SLICE_S:
                return False
            self._look = 2 * count or 1  # so a look costs next to nothing, and a slice lasts twice as long at most
        return count < self._limit and not (self.pending or self.batch) and self._sent < BATCH

    async def _wait_for_room(self) -> None:
        while self.pending and not self.unhindered:
            self._room = self._room or asyncio.Event()
            self._room.clear()
            await self._room.wait()

    async def breathe(self) -> None:
        """Let others run: a source that never waits must not hold the loop."""
        await breathe()
        self._sent, self._breath = 0, stopwatch()

    def offer(self, port: str, message: Message, receipt: Receipt | None = None) -> bool:
        """For sources that cannot wait: all readers take it now, or none."""
        self.hand_on()
        if any(reader.inbox.full for reader, _ in self.readers[port]):
            return False
        self.put(port, message, receipt)
        return True

    def spare(self, port: str, message: Message, receipt: Receipt | None = None) -> tuple[int, int]:
        """Give it to the readers that have room, never wait: how many took it, and how many had none. One that only
        listens is not counted as who took it, and has no part in the receipt."""
        self.hand_on()
        readers = self.readers[port]
        free = [(reader, wire) for reader, wire in readers if not reader.inbox.full]
        self._counters.sent += 1
        self._counters.last[port] = message
        if message.key:
            self._counters.note(port, (message,))
        if self.tap is not None:
            self.tap(port, message)
        self._give(free, message, receipt)
        return sum(not reader.listens for reader, _ in free), len(readers) - len(free)

    def tell(self, port: str, message: Message) -> int:
        """The same for news of the node itself, which are no work of it: how many readers had no room."""
        self.hand_on()
        readers = self.readers[port]
        free = [(reader, wire) for reader, wire in readers if not reader.inbox.full]
        self._give(free, message, None)
        return len(readers) - len(free)

    def _give(self, readers: list[tuple[Reader, str]], message: Message, receipt: Receipt | None) -> None:
        for reader, wire in readers:
            part = receipt if reader.counts else None
            if part is not None:
                part.hold()
            reader.inbox.offer((wire, message, part))
        for reader, _ in readers:
            reader.nudge(self.depth + 1)

    def leave(self) -> None:
        """Wait for nobody any more."""
        self.unhindered = True
        self._tell_of_room()

    def _taken(self) -> None:
        self.pending -= 1
        if not self.pending:
            self._tell_of_room()
            self._on_room()

    def _tell_of_room(self) -> None:
        if self._room is not None:
            self._room.set()
