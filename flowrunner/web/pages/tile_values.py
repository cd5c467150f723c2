"""What a tile says of its value: the figure, where it comes from, how old it is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypedDict

from flowrunner.engine import Engine
from flowrunner.fields import is_number
from flowrunner.graph import Graph
from flowrunner.message import JSON, Instant
from flowrunner.web.dashboard.tiles import Line, Tile
from flowrunner.web.pages import formats
from flowrunner.web.pages.engine_words import Cause

Translate = Callable[..., str]
Shown = Tile | Line
"""What has a value: a tile, or a line of one."""
DECIMALS = {"%": 1, "MW": 2, "MWh": 2, "kW": 1, "kWh": 1, "°C": 1, "EUR/MWh": 2, "EUR": 2, "Hz": 2}
"""Digits behind the point where the tile does not say: a figure that ticks must not jump."""
UNITS = {"EUR/MWh": "€/MWh", "EUR/kWh": "€/kWh", "EUR": "€"}
PRICES = {"entsoe": "ENTSO-E", "awattar": "aWATTar", "energy-charts": "Energy-Charts"}
TEXT_CAP = 60
"""Characters of a value that is a text."""


class Known(TypedDict):
    """What is known of one field: the row of the live stream. Instants in milliseconds."""

    value: JSON
    at: int | None
    received_at: int | None
    source: str | None
    origin: str | None
    quality: str
    unit: str | None
    stale: bool
    reason: str | None
    until: int | None
    since: int | None
    """From when a value with an interval counts."""
    key: str
    """Which site or device it is about; "" where there is only one."""


class Source(TypedDict):
    """A node that brings values in, as a reader calls it."""

    type: str
    name: str
    """The peer in the reader's words, or "" where the origin says it all."""


class Reading(NamedTuple):
    """A value in words; ``state`` is the tile's class."""

    state: Literal["", "man", "stale", "none", "plan"]
    figure: str
    unit: str
    icon: str
    source: str
    node: str
    """Who brought it in; "" where nobody has."""
    age: str
    cause: Cause
    """What is wrong, or nothing."""
    number: float | None
    short: str = ""
    """The source where there is little room."""
    key: str = ""
    """Which site or device it is about."""


def sources(graph: Graph, flow: str, t: Translate) -> dict[str, Source]:
    """Every node of a flow that brings something in, by its id."""
    found: dict[str, Source] = {}
    for one in graph.nodes.values():
        if one.flow == flow and one.node.inputs == "none":
            name = ""
            if one.kind.name == "price-in":
                given = str(one.shown.get("source", ""))
                own = {"exchange": t("dashboard.exchange"), "csv": t("dashboard.price-file")}
                name = PRICES.get(given) or own.get(given, given)
            found[one.id] = {"type": one.kind.name, "name": name}
    return found


def reading(
    tile: Shown,
    known: Known | None,
    cause: Cause,
    *,
    t: Translate,
    lang: str,
    zone: str,
    now: Instant,
    sources: Mapping[str, Source],
) -> Reading:
    """``cause``: why there may be no value, as far as the node's state says it."""
    node = (tile["node"] or "").partition("/")[2]
    if known is None or known["value"] is None:
        word = "dashboard.none-yet" if known is None or known["at"] is None else "dashboard.none-usable"
        why = cause if cause.text else Cause(t(word, node=node))
        of = "" if known is None else known["key"]
        return Reading("none", "–", "", "alert", t("dashboard.no-value"), "", "", why, None, key=of)
    value, unit = known["value"], known["unit"] or tile["unit"]
    number = float(value) if is_number(value) else None
    decimals = tile["decimals"]
    figure = (
        formats.number(value, lang, DECIMALS.get(unit or "") if decimals is None else decimals)
        if number is not None
        else str(value)[:TEXT_CAP]
    )
    shown_unit = UNITS.get(unit, unit) if unit else ""
    age = formats.age(age_s(known, now), lang)
    origin, source = known["origin"], known["source"] or ""
    told = sources.get(source)
    words = t("dashboard.automatic"), t("dashboard.automatic-short")
    plain = Reading("", figure, shown_unit, "auto", words[0], source, age, Cause(), number, words[1], known["key"])
    if known["stale"]:
        word, icon = _trouble(str(known["reason"]), t)
        why = Cause(_why(known, t, lang, zone, now))
        return plain._replace(state="stale", icon=icon, source=word, short="", cause=why)
    if origin == "manual":
        until = known["until"]
        right = age if until is None else t("dashboard.until", time=formats.clock(until * 1_000_000, zone, lang))
        words = t("dashboard.manual"), t("dashboard.manual-short")
        return plain._replace(state="man", icon="hand", source=words[0], age=right, short=words[1])
    if origin == "simulated":
        return plain._replace(source=t("dashboard.simulated"), short="")
    if origin == "planned":
        return plain._replace(state="plan", icon="clock", source=t("dashboard.planned"), short="")
    if told and told["name"]:
        return plain._replace(icon="globe", source=told["name"], short="")
    return plain


def age_s(known: Known, now: Instant) -> float:
    """Seconds since it was true or since it came in, whichever is more."""
    times = [at for at in (known["at"], known["received_at"]) if at is not None]
    return max(max((now / 1_000_000 - at) / 1000 for at in times), 0.0) if times else 0.0


def _trouble(reason: str, t: Translate) -> tuple[str, str]:
    words = {"stale": ("dashboard.stale", "clock"), "uncertain": ("dashboard.uncertain", "warn"),
             "from the future": ("dashboard.future", "clock")}  # fmt: skip
    key, icon = words.get(reason, ("dashboard.uncertain", "warn"))
    return t(key), icon


def _why(known: Known, t: Translate, lang: str, zone: str, now: Instant) -> str:
    if known["reason"] != "stale":
        return t("dashboard.value-uncertain")
    since = t("dashboard.stale-since", node=known["source"] or "?", age=formats.duration(age_s(known, now), lang))
    until = known["until"]
    if known["origin"] == "manual" and until is not None:
        return t("dashboard.expired-at", time=formats.clock(until * 1_000_000, zone, lang))
    return since


def cause(engine: Engine, address: str, t: Translate) -> Cause:
    """Why there may be no value of a node: it does not run, or it has lost its peer."""
    node = address.partition("/")[2]
    off = engine.graph.disabled.get(address)
    if off is not None:
        return Cause(t("dashboard.node-off", node=node), off)
    worker = engine.runtime.workers.get(address)
    if worker is not None and worker.counters.connected is False:
        return Cause(t("dashboard.peer-away", node=node), engine.runtime.mask(worker.counters.last_error))
    return Cause()
