"""The slots of a replay as the page's script takes them: columns of differences, a year of quarter-hours in 300 KB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import pairwise

from flowrunner.message import JSON
from flowrunner.replay.page.reading import Result, Slots

SCALES = {"price": 100, "power": 1000, "soc": 100, "profit": 100}
"""What is drawn is rounded to cents, kilowatts and hundredths of a percent; the tables are not made from it."""
LONGEST_SLOT_S = 3600
"""The longest market time unit: after a slot that would be longer, something is missing."""


def pack(values: Sequence[float | None], scale: int) -> str:
    """``12,-3,,x``: differences from the last known value in units of 1/scale; empty is "the same", x "not known"."""
    words, last = [], 0
    for value in values:
        if value is None:
            words.append("x")
            continue
        now = round(value * scale)
        words.append(str(now - last) if now != last else "")
        last = now
    return ",".join(words)


def check(slots: Slots) -> None:
    """ValueError when the starts do not rise, or a column has another length than they."""
    for earlier, later in pairwise(slots.start):
        if later <= earlier:
            raise ValueError(f"series.slots.start: {later} does not come after {earlier}")
    for name in ("price_eur_mwh", "power_mw", "soc_percent", "profit_eur"):
        if len(getattr(slots, name)) != len(slots.start):
            raise ValueError(f"series.slots.{name}: {len(getattr(slots, name))} values for {len(slots.start)} slots")


def runs(at: Sequence[int]) -> list[list[int]]:
    """Slots of one length that follow each other without a gap, as [start, length, count]."""
    found: list[list[int]] = []
    for start, length in zip(at, lengths(at), strict=True):
        if found and found[-1][1] == length and found[-1][0] + found[-1][2] * length == start:
            found[-1][2] += 1
        else:
            found.append([start, length, 1])
    return found


def lengths(at: Sequence[int]) -> Iterator[int]:
    """How long each slot is: up to the next one; before a gap and at the end, as long as its neighbour."""
    gaps = [later - earlier for earlier, later in pairwise(at)]
    for i in range(len(at)):
        before = gaps[i - 1] if i else None
        after = gaps[i] if i < len(gaps) else None
        if after is not None and after <= LONGEST_SLOT_S and (before is None or after <= before or _goes_on(gaps, i)):
            yield after
        else:
            yield min(before or LONGEST_SLOT_S, after or LONGEST_SLOT_S, LONGEST_SLOT_S)


def _goes_on(gaps: Sequence[int], i: int) -> bool:
    return i + 1 < len(gaps) and gaps[i + 1] == gaps[i]


def calendar(at: Sequence[int], zone: tzinfo) -> dict[str, list[int]]:
    """The first slot of each local day, Monday week and month."""
    found: dict[str, list[int]] = {"days": [], "weeks": [], "months": []}
    last: dict[str, object] = {}
    for index, start in enumerate(at):
        day = datetime.fromtimestamp(start, UTC).astimezone(zone).date()
        for unit, key in (("days", day), ("weeks", day.isocalendar()[:2]), ("months", (day.year, day.month))):
            if last.get(unit) != key:
                found[unit].append(index)
                last[unit] = key
    return found


def packed(result: Result, slots: Slots, zone: tzinfo) -> dict[str, JSON]:
    """The object that the script reads."""
    columns = {
        "price": slots.price_eur_mwh,
        "power": slots.power_mw,
        "soc": slots.soc_percent,
        "profit": slots.profit_eur,
    }
    return {
        "zone": result.zone,
        "power_mw": result.battery.power_mw,
        "opening": {"soc": result.battery.soc_start_percent, "profit": 0},
        "scales": SCALES,
        "runs": runs(slots.start),
        **calendar(slots.start, zone),
        **{name: pack(values, SCALES[name]) for name, values in columns.items()},
    }
