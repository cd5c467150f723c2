"""Many rounds: each on a data folder of its own that is released for live orders, with an exchange of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

from flowrunner.exchange.simulator import Character
from tests.orders.crash.nursery import Nursery, nursery
from tests.orders.crash.stage import Stage, released, stage

ABREAST = 3
"""Rounds at a time: much of each is waiting for disks and servers."""
Round = Callable[[Stage], Awaitable[None]]


class Rounds:
    """``stage`` for one, ``play`` for many."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery, self._folder = nursery, folder
        self._template = asyncio.run(released(nursery, folder / "released"))
        self._made = 0

    def new_folder(self) -> Path:
        """The name of one that is not there yet."""
        self._made += 1
        return self._folder / str(self._made)

    def stage(self, character: Character, *, new: bool = False) -> AbstractAsyncContextManager[Stage]:
        """``new``: on a folder that no engine has seen."""
        return stage(self._nursery, self.new_folder(), character, template=None if new else self._template)

    async def play(self, character: Character, rounds: Mapping[str, Round]) -> None:
        """Some of them side by side; of those that fail, each is told with its name."""
        gate = asyncio.Semaphore(ABREAST)

        async def one(name: str, play: Round) -> None:
            async with gate, self.stage(character) as at:
                try:
                    await play(at)
                except Exception as error:
                    error.add_note(f"this was the round {name!r}")
                    raise

        ends = await asyncio.gather(*(one(*each) for each in rounds.items()), return_exceptions=True)
        if failed := [end for end in ends if isinstance(end, Exception)]:
            raise ExceptionGroup(f"of {len(rounds)} rounds", failed)


@contextmanager
def rounds_in(folder: Path) -> Iterator[Rounds]:
    with nursery() as one:
        yield Rounds(one, folder)
