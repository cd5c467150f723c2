"""Dead letters on their way back into the inboxes of the nodes that rejected them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from flowrunner.errors import did_you_mean
from flowrunner.message import Message
from flowrunner.runtime.receipt import Keeper, Receipt
from flowrunner.store import DeadLetter, StoreFailed
from flowrunner.store.letters import OBSTACLES, asked_letters, mark_letters, read_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowrunner.runtime import Runtime

TOGETHER = 100
"""Letters that are in memory at once on their way."""
log = logging.getLogger("flowrunner.runtime")


class Returned(Receipt):
    """Rides with a message that a letter held. The letter is on the disk until all that comes of it is done with."""

    __slots__ = ("letter",)
    stored = True

    def __init__(self, letter: DeadLetter, done: Callable[[], None], keeper: Keeper) -> None:
        super().__init__(done, keeper)
        self.letter = letter


def attempts_before(receipt: Receipt | None, address: str) -> int:
    """How often this node has rejected the message that it works on."""
    if isinstance(receipt, Returned) and receipt.letter.address == address:
        return receipt.letter.attempts
    return 0


class Returns:
    """Puts letters back, in the order of their age per node, as fast as there is room.

    What is asked for is written down first, so that a program that ends in between goes on with it at its next start.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._on_their_way: set[int] = set()
        self._waiting: dict[str, deque[int]] = {}
        self._feeding: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        """At the start: what somebody asked for while nothing ran, and what the last run had not done with."""
        await self._take_asked(self._runtime.store.read(lambda sql: asked_letters(sql, also_back=True)))

    async def look(self) -> None:
        """Take in what was asked for from outside (the command writes it into the store)."""
        await self._take_asked(await asyncio.to_thread(self._runtime.store.read, asked_letters))

    async def _take_asked(self, ids: list[int]) -> None:
        answers = await self.ask(ids) if ids else {}
        for one, why in answers.items():
            if why:
                log.warning("dead letter %d is not put back: %s", one, why)
        count = sum(not why for why in answers.values())
        if count:
            log.info("%d dead letter%s put back", count, " is" if count == 1 else "s are")

    async def ask(self, ids: Iterable[int]) -> dict[int, str]:
        """Put these back: letter → why it is not, or "". StoreFailed when it cannot be written down; what was not
        written down is not put back."""
        wanted = sorted(set(ids))
        answers: dict[int, str] = {}
        for begin in range(0, len(wanted), TOGETHER):
            answers |= await self._ask(wanted[begin : begin + TOGETHER])
        return answers

    async def _ask(self, ids: list[int]) -> dict[int, str]:
        store = self._runtime.store
        letters = await store.submit(lambda sql: read_letters(sql, ids))
        answers = {one: self._hindrance(one, letters.get(one)) for one in ids}
        fine = [one for one, why in answers.items() if not why and one not in self._on_their_way]
        refused = {one: why for one, why in answers.items() if why}

        def write(sql: sqlite3.Connection) -> None:
            mark_letters(sql, dict.fromkeys(fine, ""), "back")
            mark_letters(sql, refused, "kept")

        await store.submit(write)
        for one in fine:
            self._on_their_way.add(one)
            self._send(letters[one].address, one)
        return answers

    def _hindrance(self, number: int, letter: DeadLetter | None) -> str:
        """Why a letter cannot be put back here, in words, or ""."""
        if letter is None:
            return f"there is no dead letter {number}"
        if letter.hindrance:
            return letter.hindrance
        worker = self._runtime.workers.get(letter.address)
        if worker is None:
            return self._no_node(letter)
        if worker.node.side_effect == "at_most_once":
            return OBSTACLES["at-most-once"]
        inputs = [wire.name for wire in worker.spec.wires]
        if letter.wire not in inputs:
            hint = did_you_mean(letter.wire, inputs) or f"it reads {', '.join(inputs) or 'from nobody'}"
            return f"{letter.address} does not read from {letter.wire!r} any more; {hint}"
        return ""

    def _no_node(self, letter: DeadLetter) -> str:
        graph = self._runtime.graph
        if letter.address in graph.disabled:
            return f"{letter.address} does not run: {graph.disabled[letter.address]}"
        if letter.flow not in graph.flows:
            hint = did_you_mean(letter.flow, graph.flows) or f"flows here: {', '.join(sorted(graph.flows))}"
            return f"there is no flow {letter.flow!r} any more; {hint}"
        known = [one.id for one in graph.nodes.values() if one.flow == letter.flow]
        hint = did_you_mean(letter.node, known) or f"nodes there: {', '.join(sorted(known))}"
        return f"there is no node {letter.node!r} in {letter.flow} any more; {hint}"

    # ---- on their way ---------------------------------------------------------------------------------------------

    def _send(self, address: str, number: int) -> None:
        self._waiting.setdefault(address, deque()).append(number)
        if address not in self._feeding:
            task = asyncio.get_running_loop().create_task(self._feed(address), name=f"letters of {address}")
            self._feeding[address] = task
            task.add_done_callback(lambda done: self._fed(address, done))

    async def _feed(self, address: str) -> None:
        """Into one inbox: one behind the other, and behind all who wait at a full one."""
        waiting = self._waiting[address]
        while waiting:
            some = [waiting.popleft() for _ in range(min(len(waiting), TOGETHER))]
            letters = await self._runtime.store.submit(lambda sql, some=some: read_letters(sql, some))  # type: ignore[misc]
            for one in some:
                if one in letters:
                    await self._put_back(letters[one])
                else:  # dropped meanwhile
                    self._on_their_way.discard(one)

    async def _put_back(self, letter: DeadLetter) -> None:
        worker = self._runtime.workers.get(letter.address)
        why = "" if worker is not None else self._no_node(letter)
        try:
            message = msgspec.json.decode(letter.message, type=Message)
        except msgspec.MsgspecError as error:
            why = f"its message cannot be read: {error}"
        if why or worker is None:
            log.warning("dead letter %d is not put back: %s", letter.id, why)
            self._on_their_way.discard(letter.id)
            await self._runtime.store.submit(lambda sql: mark_letters(sql, {letter.id: why}, "kept"))
            return
        receipt = Returned(letter, lambda: self._done_with(letter), self._runtime.commits)
        entry = (letter.wire, message, receipt)
        if worker.inbox.offer(entry):
            worker.nudge(0)
        else:
            room = asyncio.Event()
            worker.inbox.line_up(entry, room.set)
            await room.wait()

    def _done_with(self, letter: DeadLetter) -> None:
        self._on_their_way.discard(letter.id)
        try:
            self._runtime.store.remove_dead_letters([letter.id])
        except (StoreFailed, RuntimeError) as error:  # the latter: the store is closed already
            log.error("dead letter %d is done with and comes again at the next start: %s", letter.id, error)

    def _fed(self, address: str, task: asyncio.Task[None]) -> None:
        del self._feeding[address]
        if not task.cancelled() and (error := task.exception()) is not None:
            defect = None if isinstance(error, StoreFailed) else error
            log.error("dead letters of %s wait for the next start: %s", address, error, exc_info=defect)

    def cancel(self) -> None:
        """At the stop: what is not in an inbox yet waits for the next start."""
        for task in self._feeding.values():
            task.cancel()
