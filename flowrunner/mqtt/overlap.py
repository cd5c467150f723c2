"""What to subscribe to at a broker that would send a message once for each filter that matches it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from functools import lru_cache

from .topic import SHARE, covers, overlaps, unshared


def without_overlap(needed: Mapping[str, int], held: Iterable[str]) -> tuple[dict[str, int], dict[str, str]]:
    """What to subscribe to so that the broker never sends one message twice, for brokers that cannot say
    which subscription a message is for.

    ``needed`` is filter → QoS, the elder first; ``held`` are the filters that the broker holds already. Returns
    filter → QoS to hold, and filter → the filter chosen before that it crosses (``a/+`` and ``+/b``: neither covers
    the other), which cannot be had. A held filter that covers needed ones stays, so that nothing falls into the
    gap between leaving a wide filter and taking a narrow one.
    """
    chosen, crossed = _plan(tuple(needed.items()), tuple(held))
    return dict(chosen), dict(crossed)


def is_plain(pattern: str) -> bool:
    """Without wildcards, and not shared: such filters cover only themselves, and no two of them overlap."""
    return "+" not in pattern and "#" not in pattern and not pattern.startswith(SHARE)


@lru_cache(maxsize=16)  # each connect asks for the same again
def _plan(items: tuple[tuple[str, int], ...], held: tuple[str, ...]) -> tuple[dict[str, int], dict[str, str]]:
    """Plain filters are looked up, never compared with each other: a thousand topics must not hold up the loop.

    Filters are taken widest first, the elder before the younger. One that crosses a chosen one is left out, and what
    nothing else covers is then looked at by itself.
    """
    needed = dict(items)
    wide_held = (one for one in held if one not in needed and not is_plain(one))
    kept = [one for one in wide_held if any(covers(one, other) for other in needed)]
    order = [*kept, *needed]
    wide = [one for one in order if not is_plain(one)]
    below = {one: [other for other in order if other != one and covers(one, other)] for one in wide}
    covered_by = dict.fromkeys(order, 0)
    for others in below.values():
        for other in others:
            covered_by[other] += 1
    place = {one: number for number, one in enumerate(order)}
    free = [place[one] for one in order if not covered_by[one]]
    chosen: dict[str, int] = {}
    chosen_wide: list[str] = []
    crossed: dict[str, str] = {}
    while free:
        one = order[heapq.heappop(free)]
        inner = unshared(one)
        rivals = chosen if one != inner and not is_plain(inner) else chosen_wide
        if one != inner and inner in chosen:
            rival: str | None = inner
        else:
            rival = next((other for other in rivals if overlaps(one, other)), None)
        if rival is None:
            chosen[one] = max(needed[other] for other in (one, *below.get(one, ())) if other in needed)
            if one in below:
                chosen_wide.append(one)
            continue
        if one in needed:
            crossed[one] = rival
        for other in below.get(one, ()):
            covered_by[other] -= 1
            if not covered_by[other]:
                heapq.heappush(free, place[other])
    return chosen, crossed
