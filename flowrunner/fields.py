"""Rules for single values: what a number must be before it counts as one."""

from __future__ import annotations

import math
import sys
from collections.abc import Sized
from typing import Annotated, TypeGuard

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.message import JSON

MAX_KEYS = 100_000
"""Keys that a node keeps state of. They come from the outside (topics); more than this is a mistake, not a fleet. Each
takes one to two kilobytes for each field, in all nodes together."""

_MOST = sys.float_info.max


def room_for_key(known: Sized) -> None:
    """Before a node begins to keep something of one more key: Reject when ``known`` is full."""
    if len(known) >= MAX_KEYS:
        raise Reject("too-many-keys", f"more than {MAX_KEYS:,} keys; is the key made from the right thing?")


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a value may be. Outside of it the value is refused, never clamped."""

    min: Annotated[int | float | None, Meta(description="Smallest value that is believed.")] = None
    max: Annotated[int | float | None, Meta(description="Largest value that is believed.")] = None
    unit: Annotated[str | None, Meta(description="Unit of the value, like %, MW, °C.")] = None


def is_number(value: JSON) -> TypeGuard[int | float]:
    """A finite number that a float can come near to; true and false are none."""
    kind = type(value)
    if kind is not float and kind is not int and (kind is bool or not isinstance(value, (int, float))):
        return False
    return -_MOST <= value <= _MOST  # type: ignore[no-any-return]  # of JSON nothing is known


def usable(value: JSON) -> bool:
    """Whether a record may hold ``value``: not null, not NaN, not infinite."""
    return value is not None and not (isinstance(value, float) and value - value != 0.0)


def outside(value: float, limits: Limits) -> str:
    """Why ``value`` is not within ``limits``, or "". NaN is within no limits."""
    unit = f" {limits.unit}" if limits.unit else ""
    if math.isnan(value):
        return "it is not a number"
    if limits.min is not None and value < limits.min:
        return f"{value} is below {limits.min}{unit}"
    if limits.max is not None and value > limits.max:
        return f"{value} is above {limits.max}{unit}"
    return ""


def contradiction(limits: Limits) -> str:
    """What is wrong with the limits themselves, or ""."""
    if limits.min is not None and limits.max is not None and limits.min > limits.max:
        return f"min {limits.min} is above max {limits.max}"
    return ""
