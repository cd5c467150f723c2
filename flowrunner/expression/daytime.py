"""The local time of day: what ``hour()``, ``weekday()`` and ``between("22:00", "06:00")`` look at."""

from __future__ import annotations

import re

from flowrunner.expression.errors import EvaluationError
from flowrunner.expression.scope import Scope
from flowrunner.units import to_datetime

_clock_time = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def seconds_of_day(text: object) -> int | None:
    """``"22:00"`` → 79200; ``"24:00"`` → 86400, the end of the day. None when it is no time of day."""
    if not isinstance(text, str):
        return None
    if text == "24:00":
        return 86400
    match = _clock_time.fullmatch(text)
    return int(match[1]) * 3600 + int(match[2]) * 60 if match else None


def local(scope: Scope) -> tuple[int, int, int]:
    """(hour 0-23, weekday 1-7 from Monday, seconds on the wall clock since midnight) in the scope's zone."""
    try:
        moment = to_datetime(scope.now()).astimezone(scope.zone)
    except (OverflowError, ValueError) as error:
        raise EvaluationError(f"the present instant {scope.now()} has no calendar date") from error
    return moment.hour, moment.isoweekday(), moment.hour * 3600 + moment.minute * 60 + moment.second
