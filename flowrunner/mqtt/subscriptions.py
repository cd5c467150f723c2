"""Who wants what: many subscribers share one subscription per filter, and each message reaches each once."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from .overlap import is_plain, without_overlap
from .packet import Packet
from .topic import check_filter, covers, matches

Receive = Callable[[Packet], None]
Ended = Callable[[], None]
Leave = Callable[["Subscription", "Ended | None"], None]

_CROSSED = (
    "filter {!r} crosses {!r} of the same connection, and this broker would send some messages twice; "
    'use protocol: "5", or one filter that covers both'
)


class Subscription:
    """One subscriber of a filter. ``error`` says why nothing comes; ``""``: all is well, or not yet asked."""

    def __init__(self, pattern: str, qos: int, receive: Receive, leave: Leave) -> None:
        self.filter = pattern
        self.qos = qos
        self.receive = receive
        self.error = ""
        self.listening = asyncio.Event()
        """Set when the broker has answered, or brings the filter's messages already."""
        self._leave = leave

    def close(self) -> None:
        """No more messages. What was handed out before still wants its ``ack()`` or ``abandon()``. Repeatable."""
        self._leave(self, None)

    def end(self, ended: Callable[[], None]) -> None:
        """The same, but what the broker has sent until it hears of it still comes; ``ended`` is called after that."""
        self._leave(self, ended)


class Ask(msgspec.Struct, frozen=True):
    """A SUBSCRIBE to be sent. ``ident`` is its subscription identifier where the broker knows such."""

    filter: str
    qos: int
    ident: int


class _Route:
    """All subscribers of one filter."""

    def __init__(self, ident: int, number: int) -> None:
        self.ident = ident
        self.number = number  # in the order of joining
        self.users: list[Subscription] = []
        self.ending: dict[Subscription, Ended] = {}  # nobody else: they get what comes until the broker has heard
        self.carrier: str | None = None  # the broker's subscription that brings it; None: none yet, or none can
        self.ask = True  # somebody has not been served with a SUBSCRIBE
        self.unsubscribed = False  # the broker has been told that nobody wants it, and has not answered
        self.settled = False  # the broker answered the last SUBSCRIBE
        # Who has a right to the retained messages that follow a SUBSCRIBE. They end with the first live
        # message after the answer; until then a late-comer's retained messages are shown to all of them.
        self.newcomers: set[Subscription] = set()


class Subscriptions:
    """The table of one client. Pure: the client tells it what happened, and asks it what to do.

    MQTT 5 brokers name the subscriptions that a message is for (subscription identifiers), so overlapping
    filters are kept apart exactly. Others may send one copy per overlapping filter, and copies cannot be told
    from true repeats; there the broker is only asked for filters that do not overlap, and what a wide one
    covers is sorted out here (:func:`~flowrunner.mqtt.overlap.without_overlap`). When a wide filter joins a narrow
    one in use, a message of just that moment may come twice; none is lost.
    """

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}
        self._numbers = itertools.count()
        self._by_ident: dict[int, _Route] = {}
        self._wide: dict[str, _Route] = {}  # with wildcards: each has to be looked at
        self._held: dict[str, int] = {}  # what the broker's session holds for us: filter → QoS

    def __bool__(self) -> bool:
        """Whether anybody gets anything, or will until :meth:`ended`."""
        return bool(self._routes)

    def __iter__(self) -> Iterator[Subscription]:
        for route in self._routes.values():
            yield from route.users

    def join(self, pattern: str, qos: int, receive: Receive, leave: Leave) -> Subscription:
        """ValueError when the filter is not well formed or the QoS is none."""
        check_filter(pattern)
        if qos not in (0, 1, 2):
            raise ValueError(f"QoS {qos} of filter {pattern!r}: MQTT knows 0, 1 and 2")
        route = self._routes.get(pattern)
        if route is None:
            route = self._routes[pattern] = _Route(self._ident(pattern), next(self._numbers))
            self._by_ident[route.ident] = route
            if not is_plain(pattern):
                self._wide[pattern] = route
        subscription = Subscription(pattern, qos, receive, leave)
        if route.users and route.settled:
            subscription.listening.set()
        route.users.append(subscription)
        route.newcomers.add(subscription)
        route.ask, route.settled = True, False
        return subscription

    def leave(self, subscription: Subscription, ended: Ended | None = None) -> None:
        """With ``ended`` it gets what comes until :meth:`ended`, unless others have the same filter."""
        route = self._routes.get(subscription.filter)
        if route is None:
            return
        if subscription in route.users:
            route.users.remove(subscription)
            route.newcomers.discard(subscription)
            if ended is not None:
                route.ending[subscription] = ended
                if route.users:
                    self._finish(subscription.filter, route)
        elif ended is None:
            route.ending.pop(subscription, None)
        self._tidy(subscription.filter, route)

    def ended(self, pattern: str) -> None:
        """Nothing more comes by this filter that nobody has any more."""
        route = self._routes.get(pattern)
        if route is not None:
            self._finish(pattern, route)

    def all_ended(self) -> None:
        """The connection is gone."""
        for pattern, route in list(self._routes.items()):
            self._finish(pattern, route)

    def _finish(self, pattern: str, route: _Route) -> None:
        ending, route.ending, route.unsubscribed = route.ending, {}, False
        self._tidy(pattern, route)
        for ended in ending.values():
            ended()

    def _tidy(self, pattern: str, route: _Route) -> None:
        if not route.users and not route.ending and self._routes.get(pattern) is route:
            del self._routes[pattern]
            del self._by_ident[route.ident]
            self._wide.pop(pattern, None)

    def connected(self, session_present: bool) -> None:
        """A new connection. With a session of before the broker still holds what it confirmed."""
        for route in self._routes.values():
            if not session_present:
                route.newcomers.update(route.users)
            if not session_present or not route.settled:
                route.ask, route.settled = True, False
            for user in route.users:
                user.error = ""
        if not session_present:
            self._held.clear()

    def changes(self, idents: bool) -> tuple[list[Ask], list[str]]:
        """What to SUBSCRIBE to, then what to UNSUBSCRIBE from. The table takes both as sent."""
        for pattern, route in list(self._routes.items()):
            if route.ending and not route.unsubscribed:
                if pattern in self._held:
                    route.unsubscribed = True  # below, unless others have come; then they ended at once
                else:
                    self._finish(pattern, route)
        used = {pattern: route for pattern, route in self._routes.items() if route.users}
        needed = {pattern: max(user.qos for user in route.users) for pattern, route in used.items()}
        wanted, crossed = (needed, {}) if idents else without_overlap(needed, self._held)
        wide = [one for one in wanted if not is_plain(one)]
        asking: dict[str, Ask] = {}
        for pattern, route in used.items():
            route.carrier = pattern if pattern in wanted else None
            if route.carrier is None and pattern not in crossed:
                route.carrier = next(one for one in wide if covers(one, pattern))
            if route.carrier is None:
                _tell(route.users, _CROSSED.format(pattern, crossed[pattern]))
            elif route.ask or self._held.get(route.carrier) != wanted[route.carrier]:
                asking[route.carrier] = Ask(route.carrier, wanted[route.carrier], route.ident)
            route.ask = False
        surplus = [pattern for pattern in self._held if pattern not in wanted]
        self._held = dict(wanted)
        return list(asking.values()), surplus

    def answered(self, pattern: str, error: str) -> None:
        """The broker's answer to a SUBSCRIBE. A refused one is asked again at the next connection."""
        for route in self._routes.values():
            if route.carrier == pattern and not route.ask:
                route.settled = not error
                _tell(route.users, error)
                for user in route.users:
                    user.listening.set()

    def receivers(self, topic: str, retain: bool, idents: Collection[int]) -> list[Subscription] | None:
        """Who gets a message, each once. None: no filter wants it."""
        if idents:
            routes = [route for ident in dict.fromkeys(idents) if (route := self._by_ident.get(ident)) is not None]
        else:
            routes = [route for pattern, route in self._wide.items() if route.carrier and matches(pattern, topic)]
            if (plain := self._routes.get(topic)) is not None and plain.carrier and topic not in self._wide:
                routes.append(plain)
        if len(routes) > 1:
            routes.sort(key=lambda route: route.number)
        found: list[Subscription] = []
        for route in routes:
            if retain:
                found.extend(user for user in route.users if user in route.newcomers)
                continue
            found.extend(route.users or route.ending)
            if route.settled:
                route.newcomers.clear()
        return found if routes else None

    def _ident(self, pattern: str) -> int:
        """1 to 268435455, the same for the same filter after a restart, when a session may still hold it."""
        ident = int.from_bytes(hashlib.blake2b(pattern.encode(), digest_size=4).digest()) % 268_435_455 + 1
        while ident in self._by_ident:
            ident = ident % 268_435_455 + 1
        return ident


def _tell(users: Iterable[Subscription], error: str) -> None:
    for user in users:
        user.error = error
