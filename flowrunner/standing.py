"""What several sources said of the fields of one key, and what of it counts at an instant. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from flowrunner.message import FUTURE_TOLERANCE_NS, JSON, FieldInfo, Instant

Order: TypeAlias = tuple[int, int, int]
"""The greater counts more."""


NONE: list[JSON] = []
"""One for all that take the place of nothing: there is one for each field of each key."""


class Held(msgspec.Struct, frozen=True, gc=False):  # of JSON no circle can be made
    """What one source last said of one field. A bad value is no value: None."""

    value: JSON
    info: FieldInfo
    overridden: list[JSON] = msgspec.field(default_factory=lambda: NONE)
    """Automatic values that this manual one took the place of further upstream."""

    def moved_back(self, by: int) -> Held:
        """The same as old as it is, by a clock that was set back. An interval is one of the world: it stays."""
        info = self.info
        until = info.valid_until if info.valid_until is None or info.valid_from is not None else info.valid_until - by
        info = msgspec.structs.replace(info, at=info.at - by, received_at=info.received_at - by, valid_until=until)
        return msgspec.structs.replace(self, info=info)

    def from_before(self, now: Instant) -> Held:
        """What came by a clock that has been set back since: how long ago that was nobody knows, so if its time is
        limited, it is over."""
        info = self.info
        if info.valid_until is None or info.valid_from is not None or info.received_at - now <= FUTURE_TOLERANCE_NS:
            return self
        return msgspec.structs.replace(self, info=msgspec.structs.replace(info, valid_until=min(info.valid_until, now)))


class Site(msgspec.Struct):
    """All that was said of one key: field → input → what it said, the latest arrival last. The durable part."""

    held: dict[str, dict[str, Held]]
    settles_at: Instant | None = None
    """When what is collected at present goes out."""

    def forget_others(self, wires: set[str]) -> bool:
        """Drop what came by inputs that are no more. True when there was something."""
        gone = [(name, wire) for name, sources in self.held.items() for wire in sources if wire not in wires]
        for name, wire in gone:
            del self.held[name][wire]
        self.held = {name: sources for name, sources in self.held.items() if sources}
        return bool(gone)

    def change(self, each: Callable[[Held], Held]) -> None:
        """Put another in the place of everything that was said."""
        self.held = {name: {w: each(one) for w, one in sources.items()} for name, sources in self.held.items()}


class Choice(msgspec.Struct, frozen=True, gc=False):
    """What counts of one field: the value, why it must not be used (``""``: fresh), what it took the place of."""

    held: Held
    trouble: str
    overridden: list[JSON]


class Preference(msgspec.Struct, frozen=True):
    """How a choice is made. ``rank``: input → place, 0 is the most trusted. ``override``: a manual value takes over."""

    rank: Mapping[str, int]
    override: bool
    use: Callable[[Instant], Instant | None] = lambda now: None
    """Now → the other instant that values with an interval may be for; see `FieldInfo.trouble`."""

    def best(self, sources: Mapping[str, Held], now: Instant, use: Instant | None) -> Choice:
        """The first fresh value by rank, then the newest, then the latest arrival; manual ones before or after all
        automatic ones. With nothing fresh: the newest that there is, a bad one only where there is nothing else.
        ``use``: what :attr:`use` gives for ``now``."""
        by_hand: tuple[Order, Held] | None = None
        automatic: tuple[Order, Held] | None = None
        rest: tuple[Order, Held, str] | None = None
        for wire, one in sources.items():
            info = one.info
            since = min(info.at, info.received_at)
            trouble = info.trouble(now, use)
            if trouble:
                order = (int(info.quality != "bad"), since, info.at)
                if rest is None or order >= rest[0]:
                    rest = (order, one, trouble)
                continue
            order = (-self.rank.get(wire, len(self.rank)), since, info.at)
            if info.origin == "manual":
                if by_hand is None or order >= by_hand[0]:
                    by_hand = (order, one)
            elif automatic is None or order >= automatic[0]:
                automatic = (order, one)
        if by_hand is not None and (automatic is None or self.override):
            hidden = [] if automatic is None else [automatic[1].value]
            return Choice(by_hand[1], "", [*by_hand[1].overridden, *hidden])
        if automatic is not None:
            return Choice(automatic[1], "", automatic[1].overridden)
        assert rest is not None  # noqa: S101  (a field is known only because a source spoke of it)
        return Choice(rest[1], rest[2], rest[1].overridden)


class Standing:
    """The choice for every field of one key. It does not change by itself before ``turn``."""

    __slots__ = ("chosen", "preference", "site", "turn")

    def __init__(self, site: Site, preference: Preference, now: Instant) -> None:
        self.site = site
        self.preference = preference
        self.turn: Instant | None = self._next_turn(now)
        """The next instant at which a value begins or ceases to be fresh."""
        use = preference.use(now)
        self.chosen = {name: preference.best(sources, now, use) for name, sources in site.held.items()}

    def learn(self, news: Mapping[str, Held], wire: str, now: Instant) -> bool:
        """Take what is newer. False when something was older than what the same source had said before."""
        all_taken, held = True, self.site.held
        for name, one in news.items():
            sources = held.get(name)
            if sources is None:
                held[name] = {wire: one}
                continue
            old = sources.get(wire)
            if old is not None:
                if one.info.at < old.info.at and _older(one.info, old):
                    all_taken = False
                    continue
                if len(sources) > 1:
                    del sources[wire]  # the latest arrival is last
            sources[wire] = one
        if self.turn is None or now < self.turn:  # else its time has come: it stays until all is chosen anew
            self.turn = self._next_turn(now)
        return all_taken

    def set_back(self, by: int, now: Instant) -> None:
        """The clock was set back: what was said is as old as it was, and is to be looked at now."""
        self.site.change(lambda one: one.moved_back(by))
        self.chosen = {
            name: msgspec.structs.replace(one, held=one.held.moved_back(by)) for name, one in self.chosen.items()
        }
        self.turn = now

    def choose(self, names: Iterable[str], now: Instant) -> list[tuple[str, Held]]:
        """Bring the choice up to date: for ``names``, or for all when ``turn`` is there. Returns what has become
        stale by it."""
        chosen, held, best = self.chosen, self.site.held, self.preference.best
        if self.turn is not None and now >= self.turn:
            names = held
            self.turn = self._next_turn(now)
        use = self.preference.use(now)
        stale: list[tuple[str, Held]] = []
        for name in names:
            before, sources = chosen.get(name), held[name]
            if len(sources) == 1:  # by far the most common
                (only,) = sources.values()
                trouble = only.info.trouble(now, use)
                if before is not None and before.held is only and before.trouble == trouble:
                    continue
                choice = Choice(only, trouble, only.overridden)
            else:
                choice = best(sources, now, use)
            if before is not None and choice.held is before.held and choice == before:
                continue  # the very same, so that who compares sees it at once
            chosen[name] = choice
            if choice.trouble == "stale" and before is not None and not before.trouble:
                stale.append((name, choice.held))
        return stale

    def _next_turn(self, now: Instant) -> Instant | None:
        """The first instant after ``now`` at which any value begins or ceases to be fresh."""
        found: Instant | None = None
        for sources in self.site.held.values():
            for one in sources.values():
                info = one.info
                if info.quality != "good":
                    continue
                turn, until = info.valid_from, info.valid_until
                if turn is None or turn <= now:
                    if until is None or until <= now:
                        continue
                    turn = until
                if found is None or turn < found:
                    found = turn
        return found


def _older(info: FieldInfo, old: Held) -> bool:
    """Whether ``info`` must not replace what the same input said. A source that a node upstream went over to is not
    older, it is another one; and a clock that was ahead does not hold back the right time."""
    if info.at >= old.info.at or info.source != old.info.source:
        return False
    if info.at == info.received_at:
        return False  # without a time of its own it is as new as its arrival, also when our clock was set back
    if old.info.quality == "bad" and old.info.at == old.info.received_at:
        return False  # what could not be read had no time: it holds back nothing
    if old.info.received_at - info.received_at > FUTURE_TOLERANCE_NS:
        return False  # our own clock was set back
    return old.info.at - old.info.received_at <= FUTURE_TOLERANCE_NS
