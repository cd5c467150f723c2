"""How far an exchange's clock is from ours, as far as the Date header of an answer can tell."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from flowrunner.message import Instant
from flowrunner.units import SECOND, from_datetime


def date_of(headers: Mapping[str, str]) -> Instant | None:
    """The Date header in ns (it has whole seconds); None where it is missing or unreadable, and for an answer out of
    a cache (it has an Age): its Date is of another time. Header names are lower case."""
    if "age" in headers:
        return None
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
    except (IndexError, OverflowError, TypeError, ValueError):  # whatever the standard library makes of odd texts
        return None
    if moment.tzinfo is None:
        return None
    try:
        return from_datetime(moment)
    except OverflowError:  # its zone puts it before year 1 or behind year 9999
        return None


def offset_between(date: Instant, sent: Instant, received: Instant) -> int:
    """How far the peer's clock is ahead of ours (negative: behind) in ns: of all offsets that explain what was seen,
    the one nearest to 0.

    The peer read its clock somewhere between our ``sent`` and ``received``, and saw [date, date + 1 s). A clock of
    ours that stepped back meanwhile leaves both readings possible.
    """
    first, last = min(sent, received), max(sent, received)
    least, most = date - last, date + SECOND - 1 - first
    return max(least, min(most, 0))
