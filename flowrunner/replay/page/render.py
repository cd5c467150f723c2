"""The page itself: sections, drawings, data, style and scripts in one file that asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2
import msgspec
from markupsafe import Markup

from flowrunner.message import JSON
from flowrunner.replay.page import sections, series, tallies
from flowrunner.replay.page.overview import WIDTH, Lane, overview
from flowrunner.replay.page.reading import Result, Slots, read
from flowrunner.replay.page.words import figure

UPLOT = "/*! uPlot 1.6.32 (c) Leon Sorokin, MIT licence */"
"""In place of the library's first line, which is an address."""
STYLES = ("vendor/uPlot.min.css", "report.css")
CHART_SCRIPTS = ("vendor/uPlot.iife.min.js", "series.js", "words.js", "shapes.js", "charts.js", "controls.js")
LANES = {
    "price": ("Price", "€/MWh", 0),
    "power": ("Power", "MW", 2),
    "soc": ("State of charge", "%", 0),
    "profit": ("Profit, cumulated", "€", 0),
}


def page(result: Mapping[str, JSON]) -> str:
    """The same result makes the same page, byte for byte. ValueError when the result is none."""
    told = read(result)
    zone = _zone(told.zone)
    slots = told.series.slots if told.series and told.orders else Slots(start=[])
    series.check(slots)
    at = slots.start
    end = at[-1] + list(series.lengths(at))[-1] if at else 0
    calendar = series.calendar(at, zone)
    stretches = sections.stretches(at, end, calendar, zone) if at else {}
    lanes = overview(slots, end)
    best, worst = sections.best_and_worst(told, stretches) if told.orders else ([], [])
    content = {
        **sections.headline(told),
        "tiles": list(sections.tiles(told)),
        "lanes": [_lane(lane) for lane in lanes],
        "ticks": [f"{(at[index] - at[0]) / (end - at[0]) * WIDTH:.1f}" for index in calendar["months"][1:]],
        "months": list(sections.month_rows(told, stretches)) if told.orders else [],
        "total": sections.total_row(told),
        "best": best,
        "worst": worst,
        "tables": list(tallies.tables(told)),
        "rules": tallies.rules(told),
        "empty": tallies.empty(told),
        "silent": tallies.silent(told),
        "remarks": [str(remark) for remark in told.remarks],
        "orders": list(tallies.order_rows(told.orders[: tallies.FIRST_ORDERS], zone)),
        "orders_told": f"{figure(len(told.orders))} in all",
        "orders_rest": _rest(told),
    }
    style = "\n".join(_shipped(name) for name in STYLES)
    scripts = [_script(name) for name in ("theme.js", *(CHART_SCRIPTS if at else ()))]
    return _template().render(
        page=content,
        policy=_policy(style, scripts),
        style=Markup(style),  # noqa: S704  (a file of this package)
        scripts=[Markup(script) for script in scripts],  # noqa: S704  (files of this package)
        data=data_block(series.packed(told, slots, zone)) if at else None,
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        raise ValueError(f"zone: there is no time zone {name!r}") from None


def _lane(lane: Lane) -> dict[str, JSON]:
    label, unit, digits = LANES[lane.key]
    low, high = figure(lane.low, digits), figure(lane.high, digits)
    return {
        "key": lane.key,
        "label": label,
        "unit": unit,
        "paths": lane.paths,
        "zero": lane.zero,
        "low": low,
        "high": high,
        "told": f"{label} over the whole time, from {low} to {high} {unit}; months and days are in the tables",
    }


def _rest(told: Result) -> str:
    rest = len(told.orders) - tallies.FIRST_ORDERS
    return f"{figure(rest)} more are in the file that flowrunner replay writes with --json." if rest > 0 else ""


def data_block(value: JSON) -> Markup:
    """JSON that ends no script element and begins no comment, whatever its texts hold."""
    text = msgspec.json.encode(value).decode()
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704  (escaped just above)


def _policy(style: str, scripts: list[str]) -> str:
    """Nothing from anywhere; only these very scripts and this very style."""
    allowed = " ".join(_source(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_source(style)}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shipped(name: str) -> str:
    return (resources.files("flowrunner.replay.page") / name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    text = _shipped(name)
    return f"{UPLOT}\n{text.split(chr(10), 1)[1]}" if name.startswith("vendor/") else text


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_shipped("report.html"))
