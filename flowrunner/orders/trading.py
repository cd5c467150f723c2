"""Whether orders may be made at all, at this moment, on this engine: the switch, and what is held against a market."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress

from flowrunner.message import Instant
from flowrunner.orders.journal import Journal
from flowrunner.orders.order import Order, Refusal
from flowrunner.orders.switch import Stop, Switch, SwitchStuck
from flowrunner.store import Store, StoreFailed

NEW_JOURNAL = (
    "live orders with a journal that has never seen any: what was ordered before is not known here; "
    "compare with the exchange first"
)
BY_ITSELF = "flowrunner"
LOOK_S, SEE_EVERY = 1.0, 60
"""Real seconds between two looks at the switch; after so many of them the journal sees the time."""
log = logging.getLogger("flowrunner.trading")


class Trading:
    """One per engine. A refusal from here comes before all others; nothing of it goes away by itself but a hold."""

    def __init__(self, store: Store) -> None:
        self.switch = Switch(store.folder)
        self.journal = Journal(store)
        self._holds: dict[str, tuple[str, Refusal]] = {}
        self._wishes: dict[str, bool] = {}
        self.in_hand: set[str] = set()
        """Orders that somebody is about to send."""
        self._told: Stop | None = None

    def refusal(self, market: str) -> Refusal | None:
        """Why no order of this market may be made or sent now."""
        stop = self.switch.stopped
        if stop is not None:
            return Refusal("trading-stopped", str(stop))
        return next((refusal for of, refusal in self._holds.values() if of == market), None)

    def wish(self, rule: str, does: bool) -> None:
        """Whether a rule (its address) wishes an order by its newest record."""
        self._wishes[rule] = does

    def doubt(self, flow: str) -> None:
        """A record of the flow did not reach its rules, because something of it is missing: what they wished before
        is not known to hold."""
        for rule in self._wishes:
            if rule.startswith(f"{flow}/"):
                self._wishes[rule] = False

    def wished(self, order: Order) -> bool:
        """Whether its rule still wishes it; of what no rule made nobody says otherwise."""
        return self._wishes.get(f"{order.flow}/{order.rule}", True)

    @property
    def held(self) -> list[tuple[str, Refusal]]:
        """What is held against markets now."""
        return list(self._holds.values())

    def hold(self, owner: str, market: str, refusal: Refusal) -> None:
        """No orders of ``market`` until ``owner`` releases it; an owner holds one thing at a time."""
        self._holds[owner] = (market, refusal)

    def release(self, owner: str) -> None:
        self._holds.pop(owner, None)

    async def begin(self, now: Instant, markets: Collection[str] | None) -> None:
        """Before anything runs: what an earlier run left in the middle of being sent is unknown, what it had not
        begun to send has expired. ``markets``: those of the flows, where live orders are to be sent; they wait for a
        person on a new journal, and where it holds orders of markets that no flow names any more. StoreFailed when
        the journal cannot be written: then nothing may run."""
        for order in await self.journal.decide(lambda book: book.end_left_over(now)):
            log.warning("%s: %s: %s", order.id, order.state, order.reason)
        for market, state in self.journal.unsettled():
            log.warning("%s: orders that are %s block it; `flowrunner orders --state %s`", market, state, state)
        if markets is not None:
            await self._begin_live(now, markets)
        await self.look(now)

    async def _begin_live(self, now: Instant, markets: Collection[str]) -> None:
        elsewhere = self.journal.elsewhere(markets, now)
        if self.journal.never_live():
            why = NEW_JOURNAL
        elif elsewhere:
            why = f"the journal has {elsewhere[0]}, of a market that no flow names; was it renamed? compare first"
        else:
            return
        try:
            self.switch.stop(by=BY_ITSELF, reason=why, now=now)
        except SwitchStuck as error:
            log.critical("%s", error)
            return  # and asked again by the next start
        await self.journal.decide(lambda book: book.note_live(now))

    async def look(self, now: Instant) -> None:
        """Say and keep what has become of the switch since the last look. Cheap where nothing has."""
        stop = self.switch.stopped
        if stop == self._told:
            return
        self._told = stop
        text = f"{stop}; `flowrunner resume-trading` lets it go on" if stop is not None else "trading goes on"
        (log.warning if stop is not None else log.info)("%s", text)
        try:
            await self.journal.decide(lambda book: book.note_switch(now, stop))
        except StoreFailed as error:
            log.error("that is not in the journal: %s", error)

    async def watch(self, now: Callable[[], Instant]) -> None:
        """Look at the switch, and let the journal see the time, for as long as an engine runs in real time."""
        while True:
            for _ in range(SEE_EVERY):
                await self.look(now())
                await asyncio.sleep(LOOK_S)
            with suppress(StoreFailed):  # said by the store itself
                await self.journal.decide(lambda book: book.see(now()))

    async def resume(self, *, by: str, reason: str, now: Instant) -> Stop | None:
        """A person lets trading go on: why it was stopped, or None. It also settles a clock that was wrong before:
        what the journal saw of a later time holds nothing back any more. SwitchStuck when it stays stopped, also
        because somebody has stopped it meanwhile."""
        mark, before = self.switch.mark(), self.switch.stopped
        await self.journal.decide(lambda book: book.resumed(now, by, reason))
        self._told = None  # where it stays stopped, the next look says so again
        self.switch.resume(mark)
        log.info("trading goes on, says %s: %s", by, reason or "no reason given")
        return before
