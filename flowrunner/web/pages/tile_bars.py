"""The bar below a figure, and the line that puts the figure in words: direction, limit, interval. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flowrunner.message import Instant
from flowrunner.web.dashboard.tiles import Tile
from flowrunner.web.pages import formats
from flowrunner.web.pages.tile_values import UNITS, Known, Translate

WIDTH = 220.0
"""Of the drawing that a bar lies in; its height follows from the template."""
ROOM = 1.25
"""A bar with a limit goes on behind it by so much."""


class Bar(NamedTuple):
    """A bar in a width of 220."""

    x: float
    width: float
    marks: list[float]
    tone: str
    bipolar: bool


class Part(NamedTuple):
    """A piece of the line below a figure."""

    text: str
    tone: str = ""
    icon: str = ""


def bar(tile: Tile, number: float | None) -> Bar | None:
    """None where nothing says how much there may be."""
    limit, low, high = tile["limit"], tile["min"], tile["max"]
    if tile["tile"] == "power":
        reach = max(abs(low or 0.0), abs(high or 0.0)) if limit is None else abs(limit)
        if not reach:
            return None
        width = _clip(abs(number or 0.0) / reach) * WIDTH / 2
        down = number is not None and number < 0
        return Bar(WIDTH / 2 - width if down else WIDTH / 2, width, [WIDTH / 2], "ch" if down else "di", bipolar=True)
    marks = [float(one) for one in tile["marks"]]
    if limit is not None and limit > 0:
        low, high, marks = 0.0, limit * ROOM, [*marks, limit]
    elif low is None or high is None or high <= low:
        return None

    def place(value: float) -> float:
        return _clip((value - low) / (high - low)) * WIDTH

    over = limit is not None and number is not None and number > limit
    tone = "over" if over else "" if tile["unit"] == "%" and limit is None else "plain"
    return Bar(0.0, 0.0 if number is None else place(number), [place(one) for one in marks], tone, bipolar=False)


def line(
    tile: Tile,
    known: Known | None,
    number: float | None,
    *,
    t: Translate,
    lang: str,
    zone: str,
    now: Instant,
) -> list[Part]:
    """What stands below the figure; empty where there is nothing to say."""
    unit = (known["unit"] if known else None) or tile["unit"]
    limit = tile["limit"]

    def said(value: float) -> str:
        shown = UNITS.get(unit, unit) if unit else ""
        return f"{formats.number(value, lang)} {shown}".rstrip()

    if tile["tile"] == "power":
        return _direction(number, limit, said, t, lang)
    if limit is not None:
        over = number is not None and number > limit
        return [
            Part(t("dashboard.over-limit" if over else "dashboard.limit", value=said(limit)), "over" if over else "")
        ]
    if number is not None and known is not None and known["since"] and known["until"]:
        since = known["since"] or 0
        times = {"from": _clock(since, zone, lang), "until": _clock(known["until"], zone, lang)}
        return [Part(t("dashboard.delivery" if since * 1_000_000 > now else "dashboard.valid", **times))]
    marks = [said(one) for one in tile["marks"]]
    return [Part(t("dashboard.marks", values=" · ".join(marks)))] if marks else []


def _direction(
    number: float | None, limit: float | None, said: Callable[[float], str], t: Translate, lang: str
) -> list[Part]:
    if number is None:
        return [] if limit is None else [Part(t("dashboard.limit", value=said(limit)))]
    if number == 0:
        way = Part(t("dashboard.resting"), "way")
    elif number > 0:
        way = Part(t("dashboard.discharging"), "way di", "up")
    else:
        way = Part(t("dashboard.charging"), "way ch", "down")
    if not limit:
        return [way]
    if abs(number) > abs(limit):
        return [way, Part(t("dashboard.over-limit", value=said(limit)), "over")]
    percent = formats.number(abs(number) / abs(limit) * 100, lang, 0)
    return [way, Part(t("dashboard.of-limit", percent=percent, limit=said(limit)))]


def _clock(ms: int | None, zone: str, lang: str) -> str:
    return "" if ms is None else formats.clock(ms * 1_000_000, zone, lang)


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)
