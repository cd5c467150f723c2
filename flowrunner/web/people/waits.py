"""How long who guesses must wait: longer with each wrong try, and nobody else with them."""

from __future__ import annotations

import ipaddress

from flowrunner.message import Instant
from flowrunner.units import SECOND, Duration

LONGEST_S = 300.0
"""Seconds that a wait grows to."""
FORGET = Duration.parse("15min")
"""After so long without a try all is forgotten."""
MOST = 10_000
"""Names or addresses that are remembered; those of which nothing was heard for longest are forgotten first."""


class Waits:
    """Tries by who makes them: ``free`` wrong ones cost nothing, then it is 1, 2, 4 … seconds, at most LONGEST_S."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._tries: dict[str, tuple[int, Instant]] = {}  # who → (how many, when the last was)

    def left(self, who: str, now: Instant) -> float:
        """Seconds until a try is looked at; 0: now."""
        count, at = self._known(who, now)
        return max(0.0, self._delay(count) - max(0, now - at) / SECOND)

    def count(self, who: str, now: Instant) -> None:
        """A try, counted as a wrong one before it is looked at: else many at once would all be free."""
        count, _ = self._known(who, now)
        self._tries.pop(who, None)
        self._tries[who] = (count + 1, now)  # the end of the dict is the newest
        if len(self._tries) > MOST:
            del self._tries[next(iter(self._tries))]

    def forgive(self, who: str) -> None:
        """It was right."""
        self._tries.pop(who, None)

    def _known(self, who: str, now: Instant) -> tuple[int, Instant]:
        count, at = self._tries.get(who, (0, now))
        return (0, now) if now - at > FORGET else (count, at)

    def _delay(self, count: int) -> float:
        return 0.0 if count < self._free else min(2.0 ** min(count - self._free, 30), LONGEST_S)


def neighbourhood(address: str) -> str:
    """What one client can choose freely counts as one: of IPv6 the first 64 bits."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:  # of a socket for both
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, 64), strict=False))
