"""What leaves one node: stamped with its lineage, handed to every reader in order, waited for where one is full."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from flowrunner.clock.io_time import breathe, stopwatch
from flowrunner.errors import Reject
from flowrunner.graph import GraphNode
from flowrunner.message import Message, Path, Root
from flowrunner.node import Output
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.host import Host
from flowrunner.runtime.inbox import Entry, Inbox
from flowrunner.template import Text

BATCH = 256
"""Messages after which a node hands on what it has, and a source that never waits lets others run."""
SLICE_S = 0.001
"""Seconds after which it does so as well."""

_set = msgspec.structs.force_setattr
_replace = msgspec.structs.replace


class BadOutput(TypeError):
    """A node returned what is no message, or named a port that it does not have."""


class Reader(Protocol):
    """Who stands at the end of a wire."""

    inbox: Inbox

    def nudge(self, depth: int) -> None:
        """Something waits in the inbox."""


class Outlet:
    """One per node. ``pending`` counts what waits in the lines of full readers: while there is any, the node must
    process nothing more. ``on_room`` is called when the last of it has found its place.
    """

    def __init__(self, spec: GraphNode, counters: Counters, host: Host, on_room: Callable[[], None]) -> None:
        self.readers: dict[str, list[tuple[Reader, str]]] = {port: [] for port in (*spec.ports, *spec.node.ports)}
        """Port → (reader, wire name)."""
        self.batch: list[tuple[str, Message]] = []
        self.pending = 0
        self.depth = 0
        """How deep in the calls of writers the node runs now."""
        self.tap: Callable[[str, Message], None] | None = None
        """Sees every message that leaves, by port; costs nothing while there is none."""
        self._start = (spec.id,)
        self._key = Text(spec.key) if spec.key else None
        self._counters = counters
        self._host = host
        self._on_room = on_room
        self._room = asyncio.Event()
        self._sent, self._breath = 0, 0.0  # messages since the source last let others run, and when that was

    # ---- lineage ------------------------------------------------------------------------------------------------

    def collect(self, result: Output, root: Root | None, path: Path) -> None:
        """Put what ``process`` returned into the batch: all of it or, where one part is wrong, nothing."""
        if type(result) is Message and "out" in self.readers:  # by far the most common
            if self._key is None and result.path is None:
                _set(result, "root", root)
                _set(result, "path", self._start if path is None else path + self._start)
            else:
                result = self.stamp(result, root, path)
            self.batch.append(("out", result))
        else:
            self.batch += [(port, self.stamp(message, root, path)) for port, message in self.by_port(result)]

    def by_port(self, result: Output) -> list[tuple[str, Message]]:
        """Whatever a node returned as (port, message) pairs, in order. BadOutput says what is wrong with it."""
        if result is None:
            return []
        parts: Iterable[tuple[str, object]] = result.items() if isinstance(result, dict) else [("out", result)]
        pairs: list[tuple[str, Message]] = []
        for port, messages in parts:
            self.check(port)
            for message in messages if isinstance(messages, list) else [messages]:
                if not isinstance(message, Message):
                    if inspect.iscoroutine(message):
                        message.close()
                    kind = type(message).__name__
                    raise BadOutput(f"it returned a {kind}; return None, a message, a list, or {{port: message}}")
                pairs.append((port, message))
        return pairs

    def check(self, port: str) -> None:
        """BadOutput for a port that the node does not have."""
        if port not in self.readers:
            known = ", ".join(self.readers)
            raise BadOutput(f"a message left by the port {port!r}, which this type does not have (ports: {known})")

    def stamp(self, message: Message, root: Root | None, path: Path) -> Message:
        """Lineage and the envelope's key. A message that was handed on before is copied, never changed.

        Reject when the message lacks a field that the key is made of, or has nothing in it.
        """
        if self._key is not None:
            key = self._key.fill(message)
            if not key:  # what has no key joins every key: that must be meant, not happen
                raise Reject("empty-key", f"the key {self._key.text!r} comes out empty for this message")
            return _replace(message, key=key, root=root, path=self._way(path))
        return self.stamp_unkeyed(message, root, path)

    def stamp_unkeyed(self, message: Message, root: Root | None, path: Path) -> Message:
        """The same without the envelope's key: for errors, which keep the key of what they are about."""
        if message.path is not None:
            return _replace(message, root=root, path=self._way(path))
        _set(message, "root", root)
        _set(message, "path", self._way(path))
        return message

    def _way(self, path: Path) -> Path:
        return self._start if path is None else path + self._start

    # ---- handing on ---------------------------------------------------------------------------------------------

    def hand_on(self) -> None:
        """Give the batch to the readers. What a full one does not take waits in its line; siblings get theirs now."""
        batch = self.batch
        if not batch:
            return
        self.batch = []
        counters, last, tap = self._counters, self._counters.last, self.tap
        touched: dict[Reader, None] = {}
        for port, message in batch:
            last[port] = message
            if tap is not None:
                tap(port, message)
            for reader, wire in self.readers[port]:
                entry: Entry = (wire, message, None)
                if reader.inbox.offer(entry):
                    touched[reader] = None
                else:
                    reader.inbox.line_up(entry, self._taken)
                    self.pending += 1
        counters.sent += len(batch)
        counters.last_at = self._host.now()
        depth = self.depth + 1
        for reader in touched:
            reader.nudge(depth)

    def put(self, port: str, message: Message) -> None:
        """Hand one stamped message on, behind all that is ready; what finds no room waits in the readers' lines."""
        self.batch.append((port, message))
        self.hand_on()

    async def send(self, port: str, message: Message) -> None:
        """For sources: the same, and wait until every reader has it.

        Cancelled in the first wait nothing has left; cancelled later the message stays in line.
        """
        if self.pending:
            await self._wait_for_room()
        self.put(port, message)
        if self.pending:
            await self._wait_for_room()
        self._sent += 1
        if self._sent >= BATCH or (self._host.sliced and stopwatch() - self._breath > SLICE_S):
            await self.breathe()

    async def _wait_for_room(self) -> None:
        while self.pending:
            self._room.clear()
            await self._room.wait()

    async def breathe(self) -> None:
        """Let others run: a source that never waits must not hold the loop."""
        await breathe()
        self._sent, self._breath = 0, stopwatch()

    def offer(self, port: str, message: Message) -> bool:
        """For sources that cannot wait: all readers take it now, or none."""
        self.hand_on()
        if any(reader.inbox.full for reader, _ in self.readers[port]):
            return False
        self.put(port, message)
        return True

    def spare(self, port: str, message: Message) -> tuple[int, int]:
        """Give it to the readers that have room, never wait: how many took it, and how many had none."""
        self.hand_on()
        readers = self.readers[port]
        free = [(reader, wire) for reader, wire in readers if not reader.inbox.full]
        self._counters.sent += 1
        self._counters.last[port] = message
        if self.tap is not None:
            self.tap(port, message)
        for reader, wire in free:
            reader.inbox.offer((wire, message, None))
        for reader, _ in free:
            reader.nudge(self.depth + 1)
        return len(free), len(readers) - len(free)

    def _taken(self) -> None:
        self.pending -= 1
        if not self.pending:
            self._room.set()
            self._on_room()
