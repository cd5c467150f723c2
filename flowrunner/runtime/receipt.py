"""Acknowledgement end to end: a source hears when everything that came of its message is done with."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol


class Keeper(Protocol):
    """Who knows when what was done is on the disk."""

    def when_kept(self, done: Callable[[], None]) -> None:
        """Call ``done`` once everything that nodes have kept so far is on the disk."""


class Receipt:
    """Counts who still has a part in one message of a source: each inbox entry, each batch, the node at work.

    ``done`` is called once, when the last part is done with: at once, or, where something was kept meanwhile (state,
    a dead letter, an entry of a durable inbox), when that is on the disk. Parts that are never done (a stop, a crash)
    mean that it is never called: the source's peer brings the message again.
    """

    __slots__ = ("_done", "_keeper", "_kept", "_open")
    stored: ClassVar[bool] = False
    """Whether the message is on the disk in its own right until this is done: no inbox need keep it once more."""

    def __init__(self, done: Callable[[], None], keeper: Keeper) -> None:
        """The one who makes it has the first part, and gives it up by ``done()``."""
        self._done = done
        self._keeper = keeper
        self._kept = False
        self._open = 1

    def hold(self) -> None:
        """One more part."""
        self._open += 1

    def keep(self) -> None:
        """Something that came of it has been kept, and is not on the disk yet."""
        self._kept = True

    def done(self) -> None:
        """One part is done with."""
        self._open -= 1
        if self._open == 0:
            if self._kept:
                self._keeper.when_kept(self._done)
            else:
                self._done()
