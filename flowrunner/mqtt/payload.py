"""What is inside a message: JSON or text, and one measured value with its time and unit."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec

from flowrunner.message import JSON, Instant
from flowrunner.pick import MISSING, pick
from flowrunner.units import SECOND, canonical_unit, convert, parse_instant

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
"""Nesting beyond this is no telemetry; what later walks a payload must never meet Python's recursion limit."""

EARLIEST: Instant = 946_684_800 * SECOND
"""2000-01-01T00:00:00Z. A time before it comes from a clock that was never set, or counts since power-on."""

MILLISECONDS_FROM = 100_000_000_000
"""An epoch number from here on is milliseconds: as seconds it would lie beyond the year 5000."""

LATEST_MS = 253_402_300_800_000
"""The end of the year 9999 in milliseconds, the last that ISO 8601 text can name."""


class BadPayload(ValueError):
    """This payload gives no value. ``code`` is stable, for counters and error ports; ``reason`` is for people."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class Sample(msgspec.Struct, frozen=True):
    """One measured value: finite number, event time (None: the payload names none), unit (None: unknown)."""

    value: float
    at: Instant | None = None
    unit: str | None = None


def parse_payload(raw: bytes, *, max_bytes: int = MAX_BYTES) -> JSON:
    """JSON when it is JSON, else text.

    Strict JSON: ``NaN`` is text, not a number. BadPayload when it is neither (``not-utf8``), or when it is JSON that
    cannot be kept (``too-deep``, ``out-of-range``), or ``too-large``.
    """
    try:
        return _decode(raw, max_bytes)
    except msgspec.DecodeError:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise BadPayload("not-utf8", "the payload is neither JSON nor UTF-8 text") from None


def read_sample(
    raw: bytes, *, path: str = "value", time: str = "timestamp", unit: str = "unit", target_unit: str | None = None
) -> Sample:
    """``{"value": 2500, "timestamp": "2025-01-25T20:30:00Z", "unit": "kW"}`` with target ``MW`` → 2.5 MW.

    A payload that is only a number is the value. The time is ISO 8601 with a zone, or an epoch in seconds or
    milliseconds. Without a unit in the payload the value is taken to be in ``target_unit``. Whatever is not a
    finite number with a good time and a unit that fits raises BadPayload: there is no way to a made-up 0.
    Text that looks like a number inside JSON is refused: who writes numbers as text may mean ``1,5`` too.
    """
    try:
        payload = _decode(raw, MAX_BYTES)
    except msgspec.DecodeError as error:
        raise BadPayload("not-json", f"the payload is not JSON: {error}") from None
    if not isinstance(payload, dict | list):
        return Sample(_number(payload, "payload"), None, target_unit)
    return sample_of(payload, path=path, time=time, unit=unit, target_unit=target_unit)


def sample_of(payload: JSON, *, path: str, time: str, unit: str, target_unit: str | None = None) -> Sample:
    """The same for what is decoded already; each path is taken as it is."""
    value = _number(pick(payload, path), path or "the whole")
    at, found_unit = pick(payload, time), pick(payload, unit)
    instant = None if at is MISSING else _instant(at, time)
    if found_unit is MISSING:
        return Sample(value, instant, target_unit)
    if not isinstance(found_unit, str) or not found_unit.strip():
        raise BadPayload("bad-unit", f"{unit} is {_short(found_unit)}, not the name of a unit")
    if target_unit is None:
        return Sample(value, instant, canonical_unit(found_unit))
    try:
        return Sample(_finite(convert(value, found_unit, target_unit), path or "the whole"), instant, target_unit)
    except ValueError as error:
        if isinstance(error, BadPayload):
            raise
        raise BadPayload("unknown-unit", f"{unit}: {error}") from None


def _decode(raw: bytes, max_bytes: int) -> JSON:
    if len(raw) > max_bytes:
        raise BadPayload("too-large", f"the payload has {len(raw)} bytes; {max_bytes} are allowed")
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        raise BadPayload("out-of-range", "the payload holds a number too large to be kept") from None
    except RecursionError:
        value = MISSING
    if value is MISSING or (raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _too_deep(value)):
        raise BadPayload("too-deep", f"the payload is nested deeper than {MAX_DEPTH} levels")
    return value


def _too_deep(value: JSON) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def _number(value: JSON, path: str) -> float:
    if value is MISSING:
        raise BadPayload("missing-value", f"there is no {path!r} in the payload; check the option path")
    if value is None:
        raise BadPayload("null-value", f"{path} is null: the source has no value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "; it must be a number without quotes" if isinstance(value, str) else ""
        raise BadPayload("not-a-number", f"{path} is {_short(value)}{hint}")
    return _finite(value, path)


def _finite(value: float, path: str) -> float:
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        finite = False
    if not finite:
        raise BadPayload("out-of-range", f"{path} is no finite number")
    return value


def _instant(value: JSON, path: str) -> Instant:
    instant: Instant | None = None
    if isinstance(value, str):
        try:
            instant = parse_instant(value)
        except (ValueError, OverflowError) as error:
            raise BadPayload("bad-timestamp", f"{path}: {error}") from None
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LATEST_MS:
        unit = SECOND // 1000 if abs(value) >= MILLISECONDS_FROM else SECOND
        instant = int(Decimal(repr(value)) * unit)
    if instant is None:
        raise BadPayload("bad-timestamp", f"{path} is {_short(value)}; write ISO 8601 with a zone, or epoch seconds")
    if instant < EARLIEST:
        raise BadPayload("bad-timestamp", f"{path} lies before the year 2000; is the clock of the source set?")
    return instant


def _short(value: JSON) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else f"{text[:39]}…"
