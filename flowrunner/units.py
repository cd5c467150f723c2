"""Quantities with units: durations, instants as text, physical units, and decimal-exact scaling."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

SECOND = 1_000_000_000
"""Nanoseconds in a second."""

DURATION_UNITS: Mapping[str, int] = {
    "ms": 1_000_000,
    "s": SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}
DURATION_PATTERN = r"^(\d+(\.\d+)?)\s?(ms|s|min|h|d)$"
RATE_PATTERN = r"^(\d+)/(s|min|h)$"
SIZE_PATTERN = r"^(\d+)\s?(B|kB|MB|KiB|MiB)$"
_SIZES: Mapping[str, int] = {"B": 1, "kB": 1000, "MB": 1_000_000, "KiB": 1024, "MiB": 1_048_576}
_size = re.compile(SIZE_PATTERN, re.ASCII)
_duration = re.compile(DURATION_PATTERN, re.ASCII)
_rate = re.compile(RATE_PATTERN, re.ASCII)


class Duration(int):
    """A length of time in integer nanoseconds; written ``250ms``, ``30s``, ``5min``, ``2h``, ``90d``."""

    @classmethod
    def parse(cls, text: str) -> Duration:
        """ValueError when ``text`` is not a number with a unit of time."""
        match = _duration.match(text.strip()) if len(text) <= 40 else None
        if match is None:
            raise ValueError(f"{text!r} is not a duration; write a number with ms, s, min, h or d, like 30s")
        return cls(Decimal(match[1]) * DURATION_UNITS[match[3]])

    @property
    def seconds(self) -> float:
        return self / SECOND

    def __str__(self) -> str:
        for unit in ("d", "h", "min", "s", "ms"):
            if self % DURATION_UNITS[unit] == 0 and (self or unit == "s"):
                return f"{self // DURATION_UNITS[unit]}{unit}"
        return f"{self.seconds:g}s"

    __repr__ = __str__


class Rate(float):
    """Events per second; written ``10/s``, ``600/min``, ``100/h``."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Rate:
        """ValueError when ``text`` is not a whole number per s, min or h."""
        match = _rate.match(text.strip()) if len(text) <= 40 else None
        if match is None or int(match[1]) == 0:
            raise ValueError(f"{text!r} is not a rate; write a whole number per s, min or h, like 10/s")
        rate = cls(int(match[1]) / (DURATION_UNITS[match[2]] / SECOND))
        rate.text = text.strip()
        return rate

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class Size(int):
    """An amount of data in bytes; written ``500B``, ``64kB``, ``1MiB``."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Size:
        """ValueError when ``text`` is not a whole number with a unit of data."""
        match = _size.match(text.strip()) if len(text) <= 40 else None
        if match is None:
            raise ValueError(f"{text!r} is not a size; write a whole number with B, kB, MB, KiB or MiB, like 64kB")
        size = cls(int(match[1]) * _SIZES[match[2]])
        size.text = text.strip()
        return size

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


# ---- instants ---------------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 253_402_300_799 * SECOND  # 9999-12-31T23:59:59Z, the last second that ISO 8601 text can name here


def iso(instant: int) -> str:
    """``2025-01-25T20:30:00.000Z``: UTC with milliseconds, as all texts that leave the system."""
    ms = min(max(instant, 0), _LATEST) // 1_000_000
    moment = _EPOCH + timedelta(milliseconds=ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def parse_instant(text: str) -> int:
    """ISO 8601 with a zone → nanoseconds. ValueError when it is not one; a time without a zone is refused."""
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return from_datetime(moment)
    except (ValueError, OverflowError):  # the latter: its zone puts it before year 1 or behind year 9999
        raise ValueError(f"{text[:60]!r} is not a time; write it like 2025-01-25T20:30:00Z") from None
    raise ValueError(f"{text!r} has no time zone; write it with Z or an offset")


def from_datetime(moment: datetime) -> int:
    """An aware datetime → nanoseconds since the epoch, exact to the microsecond."""
    delta = moment.astimezone(UTC) - _EPOCH
    return (delta.days * 86400 + delta.seconds) * SECOND + delta.microseconds * 1000


def to_datetime(instant: int, zone: tzinfo | None = None) -> datetime:
    """Nanoseconds → aware datetime (UTC unless told), cut to the microsecond."""
    return (_EPOCH + timedelta(microseconds=instant // 1000)).astimezone(zone or UTC)


def seconds_text(ns: int) -> float:
    """Nanoseconds as seconds with three decimals, for answers of the API (``age_s``)."""
    return round(ns / SECOND, 3)


# ---- physical units -----------------------------------------------------------------------------------

_LINEAR: Mapping[str, tuple[str, Decimal]] = {
    "%": ("ratio", Decimal("0.01")),
    "1": ("ratio", Decimal(1)),
    "W": ("power", Decimal(1)),
    "kW": ("power", Decimal(1000)),
    "MW": ("power", Decimal(1000000)),
    "GW": ("power", Decimal(1000000000)),
    "Wh": ("energy", Decimal(1)),
    "kWh": ("energy", Decimal(1000)),
    "MWh": ("energy", Decimal(1000000)),
    "GWh": ("energy", Decimal(1000000000)),
    "V": ("voltage", Decimal(1)),
    "kV": ("voltage", Decimal(1000)),
    "mV": ("voltage", Decimal("0.001")),
    "A": ("current", Decimal(1)),
    "mA": ("current", Decimal("0.001")),
    "kA": ("current", Decimal(1000)),
    "Hz": ("frequency", Decimal(1)),
    "mHz": ("frequency", Decimal("0.001")),
    "EUR/MWh": ("price", Decimal(1)),
    "EUR/kWh": ("price", Decimal(1000)),
    "ct/kWh": ("price", Decimal(10)),
}
_AFFINE: Mapping[str, tuple[Decimal, Decimal]] = {  # to kelvin: value × factor + offset
    "K": (Decimal(1), Decimal(0)),
    "°C": (Decimal(1), Decimal("273.15")),
    "°F": (Decimal(5) / Decimal(9), Decimal("459.67") * 5 / 9),
}
_ALIASES: Mapping[str, str] = {
    "C": "°C",
    "degC": "°C",
    "℃": "°C",
    "F": "°F",
    "degF": "°F",
    "percent": "%",
    "pct": "%",
}


def canonical_unit(unit: str) -> str:
    """The usual spelling of a unit: ``degC`` → ``°C``. Unknown texts come back as they are."""
    unit = unit.strip()
    return _ALIASES.get(unit, unit)


def convert(value: float, unit: str, to: str) -> float:
    """``value`` in ``unit`` as a number in ``to``, decimal-exact. ValueError for an unknown or other quantity."""
    unit, to = canonical_unit(unit), canonical_unit(to)
    if unit == to:
        return value
    if unit in _AFFINE and to in _AFFINE:
        factor, offset = _AFFINE[unit]
        back, minus = _AFFINE[to]
        return float(round((_decimal(value) * factor + offset - minus) / back, 9))
    if unit in _LINEAR and to in _LINEAR and _LINEAR[unit][0] == _LINEAR[to][0]:
        return float(_decimal(value) * _LINEAR[unit][1] / _LINEAR[to][1])
    raise ValueError(f"cannot turn {unit!r} into {to!r}")


# ---- scaling ------------------------------------------------------------------------------------------


def _decimal(value: float) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def scaled(value: float, factor: float = 1, offset: float = 0) -> float:
    """``value × factor + offset`` as a person does it: in decimals, so 283 × 0.1 is 28.3 and not 28.299….

    Whole numbers stay exact integers where factor and offset are whole. Every comparison with a limit is
    strict, so the last digit decides whether a battery trades.
    """
    if isinstance(value, int) and isinstance(factor, int) and isinstance(offset, int):
        return value * factor + offset
    if factor == 1 and offset == 0:
        return value
    return float(_decimal(value) * _decimal(factor) + _decimal(offset))


def scaling(factor: float = 1, offset: float = 0) -> Callable[[float], float]:
    """:func:`scaled` for many values: exactly the same results, and what can be reckoned beforehand is."""
    if isinstance(factor, int) and isinstance(offset, int):
        as_it_is = factor == 1 and offset == 0
        by, plus = _decimal(factor), _decimal(offset)
        doubles = offset == 0 and factor in _DOUBLINGS

        def whole(value: float) -> float:
            if isinstance(value, int):
                return value * factor + offset
            if as_it_is:
                return value
            if doubles and _TINY < abs(value) < _HUGE:
                return value * factor  # binary and decimal numbers agree on doublings
            return float(_decimal(value) * by + plus)

        return whole
    return _broken_scaling(factor, offset)


def _broken_scaling(factor: float, offset: float) -> Callable[[float], float]:
    """For a factor or an offset with decimals. Whole values, as registers have them, are multiplied as whole numbers
    and divided once: a quotient of whole numbers is rounded once, as decimals are."""
    by, plus = _decimal(factor), _decimal(offset)
    places = max(0, *(-int(one.as_tuple().exponent) for one in (by, plus)))
    shift = 10**places
    times, more = int(by.scaleb(places)), int(plus.scaleb(places))
    exact = abs(times) <= _DIGITS_15 and abs(more) <= _DIGITS_15 and not (plus.is_zero() and plus.is_signed())
    as_it_is = factor == 1 and offset == 0

    def broken(value: float) -> float:
        if as_it_is:
            return value
        if exact and type(value) is int and -_DIGITS_12 <= value <= _DIGITS_12:
            return float((value * times + more) / shift)
        return float(_decimal(value) * by + plus)

    return broken


_DIGITS_12, _DIGITS_15 = 10**12, 10**15
"""Products and sums of these have no more digits than decimals keep (28): nothing is rounded on the way."""
_DOUBLINGS = frozenset(2**power for power in range(11))
_TINY, _HUGE = 1e-290, 1e290
"""Between them a number can be doubled ten times."""
