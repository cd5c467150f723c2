"""Figures, times and ages as a reader of the pages writes them; ``static/format.js`` says the same, digit by digit."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from flowrunner.message import Instant
from flowrunner.units import to_datetime

Lang = Literal["en", "de"]
LANGS: tuple[Lang, ...] = ("en", "de")
NOTHING = "–"
"""Where there is no figure."""
MINUS = "\N{MINUS SIGN}"
DIGITS = 12
"""Of a figure without fixed decimals: enough for what is measured, and 28.300000000000001 is 28.3."""
MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "de": ("Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sep.", "Okt.", "Nov.", "Dez."),
}
"""Not from the locale: server and browser have different ones."""
_EXACT = Context(prec=1200, rounding=ROUND_HALF_UP)
_SHORT = Context(prec=DIGITS, rounding=ROUND_HALF_UP)
MINUTE, HOUR, DAY = 60, 3600, 86_400


def number(value: float | None, lang: str, decimals: int | None = None) -> str:
    """``-4812.5`` → ``−4.812,5`` (de), ``−4,812.5`` (en); a dash for None, NaN and the infinities. Halves go away from
    zero, and what rounds to nothing has no sign. Without ``decimals`` as many as it has."""
    if value is None:
        return NOTHING
    value = float(value)
    if not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size and not 1e-6 <= size < 1e21:
        whole, fraction = _mantissa(size, decimals)
    else:
        exact = Decimal(size)
        rounded = (
            exact.quantize(Decimal(1).scaleb(-decimals), context=_EXACT) if decimals is not None else _SHORT.plus(exact)
        )
        whole, _, fraction = f"{rounded:f}".partition(".")
        fraction = fraction if decimals is not None else fraction.rstrip("0")
    grouped = f"{int(whole):,}".replace(",", "." if lang == "de" else ",") if whole.isdigit() else whole
    text = f"{grouped}{',' if lang == 'de' else '.'}{fraction}" if fraction else grouped
    return f"{MINUS}{text}" if value < 0 and any(one in text for one in "123456789") else text


def _mantissa(size: float, decimals: int | None) -> tuple[str, str]:
    """Beyond what is written out: nothing where it rounds to that, else like ``1.5e21``."""
    if size < 1 and decimals is not None:
        return "0", "0" * decimals
    digits, _, exponent = f"{_SHORT.plus(Decimal(size)).normalize():e}".partition("e")
    whole, _, fraction = digits.partition(".")
    power = f"e{MINUS if int(exponent) < 0 else ''}{abs(int(exponent))}"
    return (whole, fraction + power) if fraction else (whole + power, "")


def clock(instant: Instant, zone: tzinfo | str, lang: str, *, seconds: bool = False) -> str:
    """``09:42``, or ``09:42:07``, in that zone."""
    return f"{_local(instant, zone):%H:%M:%S}" if seconds else f"{_local(instant, zone):%H:%M}"


def day(instant: Instant, zone: tzinfo | str, lang: str) -> str:
    """``23. Nov. 2026``, ``23 Nov 2026``."""
    local = _local(instant, zone)
    return f"{local.day}{'.' if lang == 'de' else ''} {_month(local, lang)} {local.year}"


def moment(instant: Instant, zone: tzinfo | str, lang: str) -> str:
    """Day and time: ``23. Nov. 2026, 09:42:07``."""
    return f"{day(instant, zone, lang)}, {clock(instant, zone, lang, seconds=True)}"


def duration(seconds: float, lang: str) -> str:
    """``0,8 s``, ``47 s``, ``3 min``, ``3 h 01 min``, ``2 d 04 h``: cut, never rounded up."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{number(math.floor(seconds * 10) / 10, lang, 1)} s"
    whole = math.floor(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{number(whole // DAY, lang, 0)} d {whole % DAY // HOUR:02d} h"


def age(seconds: float, lang: str) -> str:
    """``vor 47 s``, ``47 s ago``; what lies more than a second ahead is ``in 5 s``."""
    if seconds <= -1:
        return f"in {duration(-seconds, lang)}"
    return f"vor {duration(seconds, lang)}" if lang == "de" else f"{duration(seconds, lang)} ago"


def _local(instant: Instant, zone: tzinfo | str) -> datetime:
    return to_datetime(instant, ZoneInfo(zone) if isinstance(zone, str) else zone)


def _month(local: datetime, lang: str) -> str:
    return MONTHS["de" if lang == "de" else "en"][local.month - 1]
