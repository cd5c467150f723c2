"""Who wants what: many subscribers share one subscription per filter, and each message reaches each once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from .overlap import is_plain, without_overlap
from .packet import Packet
from .topic import check_filter, covers, matches

Receive = Callable[[Packet], None]

_CROSSED = (
    "filter {!r} crosses {!r} of the same connection, and this broker would send some messages twice; "
    'use protocol: "5", or one filter that covers both'
)


class Subscription:
    """One subscriber of a filter. ``error`` says why nothing comes; ``""``: all is well, or not yet asked."""

    def __init__(self, pattern: str, qos: int, receive: Receive, leave: Callable[[Subscription], None]) -> None:
        self.filter = pattern
        self.qos = qos
        self.receive = receive
        self.error = ""
        self._leave = leave

    def close(self) -> None:
        """No more messages. What was handed out before still wants its ``ack()`` or ``abandon()``. Repeatable."""
        self._leave(self)


class Ask(msgspec.Struct, frozen=True):
    """A SUBSCRIBE to be sent. ``ident`` is its subscription identifier where the broker knows such."""

    filter: str
    qos: int
    ident: int


class _Route:
    """All subscribers of one filter."""

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self.users: list[Subscription] = []
        self.carrier: str | None = None  # the broker's subscription that brings it; None: none yet, or none can
        self.ask = True  # somebody has not been served with a SUBSCRIBE
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
        self._idents: set[int] = set()
        self._held: dict[str, int] = {}  # what the broker's session holds for us: filter → QoS

    def __iter__(self) -> Iterator[Subscription]:
        for route in self._routes.values():
            yield from route.users

    def join(self, pattern: str, qos: int, receive: Receive, leave: Callable[[Subscription], None]) -> Subscription:
        """ValueError when the filter is not well formed or the QoS is none."""
        check_filter(pattern)
        if qos not in (0, 1, 2):
            raise ValueError(f"QoS {qos} of filter {pattern!r}: MQTT knows 0, 1 and 2")
        route = self._routes.get(pattern)
        if route is None:
            route = self._routes[pattern] = _Route(self._ident(pattern))
        subscription = Subscription(pattern, qos, receive, leave)
        route.users.append(subscription)
        route.newcomers.add(subscription)
        route.ask, route.settled = True, False
        return subscription

    def leave(self, subscription: Subscription) -> None:
        route = self._routes.get(subscription.filter)
        if route is None or subscription not in route.users:
            return
        route.users.remove(subscription)
        route.newcomers.discard(subscription)
        if not route.users:
            del self._routes[subscription.filter]
            self._idents.discard(route.ident)

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
        needed = {pattern: max(user.qos for user in route.users) for pattern, route in self._routes.items()}
        wanted, crossed = (needed, {}) if idents else without_overlap(needed, self._held)
        wide = [one for one in wanted if not is_plain(one)]
        asking: dict[str, Ask] = {}
        for pattern, route in self._routes.items():
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

    def receivers(self, topic: str, retain: bool, idents: Iterable[int]) -> list[Subscription] | None:
        """Who gets a message, each once. None: no filter wants it."""
        named = set(idents)
        routes = [
            route
            for pattern, route in self._routes.items()
            if (route.ident in named if named else route.carrier is not None and matches(pattern, topic))
        ]
        found: list[Subscription] = []
        for route in routes:
            if retain:
                found.extend(user for user in route.users if user in route.newcomers)
                continue
            found.extend(route.users)
            if route.settled:
                route.newcomers.clear()
        return found if routes else None

    def _ident(self, pattern: str) -> int:
        """1 to 268435455, the same for the same filter after a restart, when a session may still hold it."""
        ident = int.from_bytes(hashlib.blake2b(pattern.encode(), digest_size=4).digest()) % 268_435_455 + 1
        while ident in self._idents:
            ident = ident % 268_435_455 + 1
        self._idents.add(ident)
        return ident


def _tell(users: Iterable[Subscription], error: str) -> None:
    for user in users:
        user.error = error
