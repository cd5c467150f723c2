"""What may happen around live orders: steps, and chapters of them that make trouble about one order."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.orders.believed import waits, words

Step = tuple[Any, ...]
waiting = st.tuples(st.just("wait"), st.sampled_from([900, 900, 30, 600]))
faults = st.tuples(
    st.just("fault"),
    st.sampled_from(["answer-lost", "reset", "throttled", "error-before", "error-after", "refused"]),
    st.sampled_from(["orders", "orders", "orders", "orders", "order-list", "order", "any"]),
    st.sampled_from([1, 1, 2, None]),
)
network = st.one_of(
    st.tuples(st.just("delay"), st.sampled_from([1, 9, 11, 60])),
    st.tuples(st.just("late"), st.sampled_from([2, 12, 45, 400])),
    st.tuples(st.just("away"), st.sampled_from([True, True, False])),
    st.tuples(st.just("clear")),
    st.tuples(st.just("others"), st.sampled_from([1, 20, 110]), st.booleans()),
)
deaths = st.tuples(st.just("die"), st.sampled_from([1, 2, 3, 4, 5, "before", "after"]))
"""In the middle of something to come: after so many transactions, or before or after the exchange gets an order."""
ends = st.one_of(
    st.tuples(st.just("restart")),
    st.tuples(st.just("kill")),
    st.tuples(st.just("rename")),
    st.tuples(st.just("mode")),
    st.tuples(st.just("off"), st.sampled_from([5, 90, 900, 86_400])),
)
people = st.one_of(
    st.tuples(st.just("stop"), st.sampled_from(["api", "file"])),
    st.tuples(st.just("resume")),
    st.tuples(st.just("resolve"), st.sampled_from([True, True, False])),
    st.tuples(st.just("disk"), st.sampled_from(["full", "closed", ""])),
)
wishes = st.tuples(
    st.just("wish"), st.sampled_from(["BUY", "BUY", "SELL"]), st.sampled_from([0, 0, 0, 5.2]),
    st.sampled_from([1, 1, 1, 3]), st.sampled_from([25, 25, 25, 25, 41]),
)  # fmt: skip
"""Price and telemetry ask for an order: its side, the power in MW, how often they say so, and how hot it is in °C."""
mended, clear, away = (st.tuples(*map(st.just, one)) for one in (("mended",), ("clear",), ("away", True)))
clocks = st.tuples(st.just("clock"), st.sampled_from([0, 0, -3, -8, -900, -3600, 3, 30, 3600]))
anything = st.one_of(wishes, words, waits, faults, network, deaths, ends, clocks, people)
trouble = st.tuples(
    st.one_of(mended, mended, mended, anything),
    waiting,
    st.one_of(faults, faults, network, deaths, people, ends, clocks, words),
    wishes,
    st.one_of(waits, ends, anything),
    anything,
    anything,
)
patient = st.tuples(
    mended, waiting, st.one_of(away, st.just(("fault", "throttled", "orders", None))), wishes, anything, clear, waits
)
"""An order that waits to be sent."""
wrong_times = st.tuples(mended, waiting, st.one_of(away, st.just(("mode",))), clocks, wishes, clocks, clear, wishes)
stories = st.lists(st.one_of(trouble, trouble, trouble, patient, wrong_times), min_size=1, max_size=4)
"""Chapters, each about an order or two."""
