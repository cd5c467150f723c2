"""How figures and days are written on the page: a real minus, groups of three, as many digits as asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo

MINUS = "\N{MINUS SIGN}"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""Not from the locale: the same result makes the same page everywhere."""


def figure(value: float, digits: int = 0) -> str:
    """``-1234.5`` → ``−1,234.50``; what rounds to nothing has no sign."""
    text = f"{value:,.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def signed(value: float, digits: int = 0) -> str:
    """Like :func:`figure`, with a plus in front of what is above nothing."""
    text = figure(value, digits)
    return f"+{text}" if value > 0 and any(digit in text for digit in "123456789") else text


def day(value: date) -> str:
    return f"{value.day} {MONTHS[value.month - 1]} {value.year}"


def weekday(value: date) -> str:
    return f"{DAYS[value.weekday()]} {day(value)}"


def month(text: str, *, year: bool = True) -> str:
    """``2024-03`` → ``Mar 2024``, or ``Mar``."""
    first = date.fromisoformat(f"{text}-01")
    return f"{MONTHS[first.month - 1]} {first.year}" if year else MONTHS[first.month - 1]


def period(first: date, last: date) -> str:
    """Both days belong to it."""
    if first == last:
        return day(first)
    if first.year != last.year:
        return f"{day(first)} – {day(last)}"
    if first.month != last.month:
        return f"{first.day} {MONTHS[first.month - 1]} – {day(last)}"
    return f"{first.day} – {day(last)}"


def moment(text: str, zone: tzinfo) -> str:
    """An instant of the result, in the flow's zone: ``2024-03-05 18:00``. Between two offsets that is no riddle:

    in the night when the clocks go back the offset is written out.
    """
    local = instant(text).astimezone(zone)
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return f"{local:%Y-%m-%d %H:%M}" + (f" {local:%Z}" if twice else "")


def instant(text: str) -> datetime:
    """ISO 8601 with an offset. ValueError for anything else."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return found.astimezone(UTC)


def spoken(name: str) -> str:
    """A key of the result in words: ``at_full_h`` → ``at full``."""
    return name.removesuffix("_hours").removesuffix("_h").replace("_", " ")
