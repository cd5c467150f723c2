"""Faults on demand: what the simulated exchange does wrong with the next calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from flowrunner.errors import FlowrunnerError, did_you_mean
from flowrunner.message import JSON
from flowrunner.units import SECOND

Call = Literal["telemetry", "orders", "order-list", "trades", "prices", "order", "cancel"]
"""Kinds of calls: POST /telemetry/bess, POST /orders, GET /orders, GET /trades, GET /market/prices, GET and DELETE of
one order."""
ANY = "any"

FAULTS: dict[str, str] = {
    "delay": "the exchange does the call and answers `seconds` later (real seconds)",
    "answer-lost": "the exchange does the call and closes the connection without an answer",
    "reset": "the exchange resets the connection; nothing was done",
    "throttled": "the exchange answers 429 without Retry-After; nothing was done",
    "error-before": "the exchange answers 500; nothing was done",
    "error-after": "the exchange does the call and answers 500",
    "refused": "the exchange answers 400 with `text`; nothing was done",
    "prices-dead": "the price store is away: made-up prices with 200",
    "prices-stale": "the price store stands still: prices an hour old, with their old timestamp",
    "clock": "the exchange's clock is `seconds` ahead (negative: behind) until the fault is cleared",
}
"""Name → what happens."""

_PRICES_ONLY = {"prices-dead", "prices-stale"}
AFTER = {"delay", "answer-lost", "error-after"}
"""Those that strike calls that were done: a call that the exchange refuses anyway does not use them up."""


class BadFault(FlowrunnerError):
    """There is no such fault, or it cannot be armed so; the text lists what there is."""


class Fault(msgspec.Struct, kw_only=True):
    """An armed fault. ``times``: how many calls it still strikes; None: until it is cleared. ``clock`` strikes no call,
    but whatever the exchange stamps."""

    name: str
    on: str
    times: int | None = None
    seconds: float = 0.0
    text: str = ""


class Faults:
    """The armed faults, in the order in which they were armed: the first that fits a call strikes it, alone."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(
        self,
        name: str,
        *,
        times: int | None = None,
        on: str | None = None,
        seconds: float = 1.0,
        text: str = "refused on demand",
    ) -> Fault:
        """``on``: a kind of call or ``any``; left out, prices for the faults of prices, else orders. A second
        ``clock`` takes the place of the first."""
        if name not in FAULTS:
            raise BadFault(_unknown("fault", name, FAULTS))
        if name == "clock":
            return self._arm_clock(times, on, seconds)
        if on is None:
            on = "prices" if name in _PRICES_ONLY else "orders"
        if on != ANY and on not in get_args(Call):
            raise BadFault(_unknown("call", on, [*get_args(Call), ANY]))
        if name in _PRICES_ONLY and on != "prices":
            raise BadFault(f"{name} strikes prices only, not {on}; leave `on` out")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise BadFault(f"times must be a whole number from 1, not {times!r}; leave it out for: until cleared")
        seconds = _checked(seconds, least=0)
        if not isinstance(text, str):
            raise BadFault(f"text must be a text, not {text!r}")
        fault = Fault(name=name, on=on, times=times, seconds=seconds, text=text)
        self._armed.append(fault)
        return fault

    def _arm_clock(self, times: int | None, on: str | None, seconds: float) -> Fault:
        if times is not None or on is not None:
            raise BadFault("clock strikes no call: it is wrong until it is cleared; leave out times and the call")
        fault = Fault(name="clock", on=ANY, seconds=_checked(seconds, least=-3600))
        self.clear("clock")
        self._armed.append(fault)
        return fault

    @property
    def clock_offset_ns(self) -> int:
        """By how much the exchange's clock is ahead (negative: behind)."""
        return next((round(fault.seconds * SECOND) for fault in self._armed if fault.name == "clock"), 0)

    def clear(self, name: str | None = None) -> int:
        """Disarm all faults of that name, or all; how many there were."""
        if name is not None and name not in FAULTS:
            raise BadFault(_unknown("fault", name, FAULTS))
        kept = [fault for fault in self._armed if name is not None and fault.name != name]
        gone = len(self._armed) - len(kept)
        self._armed = kept
        return gone

    def armed(self) -> list[dict[str, JSON]]:
        """For people and APIs: name, call, calls left, seconds, text."""
        found: list[dict[str, JSON]] = [msgspec.to_builtins(fault) for fault in self._armed]
        return found

    def next(self, call: Call) -> Fault | None:
        """The fault that strikes this call; it stays armed until ``spend``."""
        return next((fault for fault in self._armed if fault.on in (call, ANY) and fault.name != "clock"), None)

    def spend(self, fault: Fault) -> None:
        """The fault struck once."""
        if fault.times is None:
            return
        fault.times -= 1
        if fault.times == 0:
            self._armed = [one for one in self._armed if one is not fault]


def _checked(seconds: object, *, least: int) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds <= 3600:
        raise BadFault(f"seconds must be a number from {least} to 3600, not {seconds!r}")
    return seconds


def _unknown(what: str, name: object, known: Iterable[str]) -> str:
    names = list(known)
    hint = did_you_mean(str(name), names)
    return f"unknown {what} {str(name)[:60]!r}{', ' + hint if hint else ''}; there are: {', '.join(names)}"
