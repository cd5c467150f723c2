"""Messages in flight: their node has sent them off, and their ends are still to come. They are the node's in order,
and go back to the front of its inbox, in that order, when it has to begin again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.errors import Fatal, NotConnected, Retry
from flowrunner.runtime.inbox import Entry

if TYPE_CHECKING:
    from flowrunner.runtime.worker import Worker


class InFlight:
    """One of them: see `node.InFlight`. What is said of it twice, or after it went back, has no effect."""

    __slots__ = ("_flight", "entry")

    def __init__(self, flight: Flight, entry: Entry) -> None:
        self._flight = flight
        self.entry = entry

    def done(self) -> None:
        self._flight.done(self)

    def failed(self, error: Exception) -> None:
        self._flight.failed(self, error)


class Flight:
    """Those of one worker. It is done with none of them before its end; a receipt is held for each."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._open: dict[InFlight, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take_off(self, entry: Entry) -> InFlight:
        """``entry`` is being processed; from now on it is in flight too."""
        if entry[2] is not None:
            entry[2].hold()
        one = InFlight(self, entry)
        self._open[one] = None
        return one

    def done(self, one: InFlight) -> None:
        if one not in self._open:
            return
        del self._open[one]
        worker, receipt = self._worker, one.entry[2]
        if receipt is not None:
            receipt.done()
        if worker.life.failures:
            worker.life.recovered()
        if not self._open:
            worker.host.rested()

    def failed(self, one: InFlight, error: Exception) -> None:
        """As if ``process`` had raised it. Where it is to be tried again, so are all that are in flight behind it."""
        worker = self._worker
        if one not in self._open:
            return
        if isinstance(error, NotConnected | Retry | Fatal):
            if isinstance(error, Fatal):
                worker.host.fatal(worker, error)
            worker.stumbled(error)  # its task gives back what is in flight, and begins again
        else:
            del self._open[one]
            self._rejected(one.entry, error)
        worker.host.rested()

    def _rejected(self, entry: Entry, error: Exception) -> None:
        """Another is maybe being processed."""
        worker = self._worker
        now = worker.ctx.input, worker.message, worker.receipt
        worker.ctx.input, worker.message, worker.receipt = entry
        try:
            worker.failed(error, entry)
        finally:
            worker.ctx.input, worker.message, worker.receipt = now

    def give_back(self) -> None:
        """All of them to the front of the inbox, the oldest first."""
        for one in reversed(self._open):
            self._worker.inbox.put_back(one.entry)
        self._worker.counters.received -= len(self._open)
        self._open.clear()
