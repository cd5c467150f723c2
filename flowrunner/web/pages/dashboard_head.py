"""What stands above the tiles: state, kill switch, flows, periods, and what is wrong now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from flowrunner.engine import Engine
from flowrunner.graph import FlowHead
from flowrunner.message import Instant
from flowrunner.orders import Stop
from flowrunner.store import Alarm
from flowrunner.web.dashboard.tiles import Tile, watched
from flowrunner.web.dashboard.wording import named
from flowrunner.web.pages import formats, snippets
from flowrunner.web.pages.chart_views import SPANS, Span
from flowrunner.web.pages.engine_words import Said, alarm
from flowrunner.web.pages.engine_words import refusal as why_held
from flowrunner.web.pages.event_times import Translate
from flowrunner.web.pages.tile_rows import rows
from flowrunner.web.pages.tile_values import cause
from flowrunner.web.pages.tile_views import Teller, View

MOST_BANNERS = 3
MOST_ALARMS = 2
"""Alarms in the head of a page that has no tile for them."""
SENT = ("id", "tile", "node", "port", "field", "unit", "decimals", "min", "max", "limit", "marks", "title", "fields",
        "expires_after_s", "overrides", "from", "confirm", "lines", "values", "file", "line")  # fmt: skip
"""What the browser gets of a tile."""
EVENTFUL = {"alarm-out", "exchange-out", "risk-guard", "manual-in"}
"""Types of nodes after whose messages there may be another event."""
TITLED = ("value", "power")


def title_of(head: FlowHead, lang: str) -> str:
    """The flow's title in the reader's language; its name where it has none."""
    given = named(head.title, (head.name, head.name))
    return given["de" if lang == "de" else "en"] or head.name


def board(teller: Teller, views: Sequence[View], alarms: Sequence[Alarm], *, span: Span | None) -> View:
    """``views``: those of all tiles, in the order of the file; ``alarms``: as for ``standing``."""
    engine, head, t = teller.engine, teller.head, teller.t
    values = [view for view in views if view.tile["tile"] in TITLED]
    by_id = {view.id: view for view in views}
    laid = list(rows([view.tile for view in views]))
    stop = engine.trading.switch.stopped
    return View(
        title=title_of(head, teller.lang), zone=head.timezone, file=head.file, snippet=snippets.EMPTY,
        ready=_ready(engine, head), values=sum(len(view.readings) for view in values),
        automatic=sum(one.state == "" for view in values for one in view.readings),
        trades=engine.graph.keeps_orders, stopped=stop is not None, may_switch=teller.allowed,
        charts=any(view.tile["tile"] == "chart" for view in views),
        flows=_flows(engine, head, teller.lang), spans=_spans(head, span, t),
        standing=standing(teller, alarms), more_alarms=len(alarms) > MOST_ALARMS,
        banners=[*_stopped(stop, teller), *_wrong(teller, values)],
        rows=[
            [
                SimpleNamespace(
                    span=column.span, tiles=[by_id[tile["id"]] for tile in column.tiles], odd=_is_odd(row, place)
                )
                for place, column in enumerate(row)
            ]
            for row in laid
        ],
    )  # fmt: skip


def _is_odd(row: Sequence[Any], place: int) -> bool:
    """Whether it would stand alone where two small tiles stand beside each other."""
    return place == len(row) - 1 and len(row) % 2 == 1


def _ready(engine: Engine, head: FlowHead) -> bool:
    counters = engine.counters()
    return all(counters[address].ready for address, one in engine.graph.nodes.items() if one.flow == head.name)


def _flows(engine: Engine, head: FlowHead, lang: str) -> list[View]:
    return [
        View(href=f"/?{urlencode({'flow': one.name})}", title=title_of(one, lang), current=one.name == head.name)
        for one in engine.graph.flows.values()
    ]


def _spans(head: FlowHead, span: Span | None, t: Translate) -> list[View]:
    return [
        View(key=one, href=f"/?{urlencode({'flow': head.name, 'span': one})}", title=t(f"dashboard.span-{one}"),
             current=one == span)
        for one in SPANS
    ]  # fmt: skip


def _stopped(stop: Stop | None, teller: Teller) -> Iterable[View]:
    t = teller.t
    if stop is None:
        return
    given = {"name": stop.by or "?", "reason": stop.reason or t("dashboard.no-reason")}
    text = t("dashboard.stopped-by-only", **given)
    if stop.since is not None:
        text = t("dashboard.stopped-by", time=_moment(stop.since, teller), **given)
    yield View(key="stopped", tone="alarmb", head=t("dashboard.stopped"), text=text, engine="", more="", place="",
               href="")  # fmt: skip


def _moment(at: Instant, teller: Teller) -> str:
    """A time of today, else with its day."""
    today = formats.day(teller.now, teller.zone, teller.lang)
    clock = formats.clock(at, teller.zone, teller.lang)
    day = formats.day(at, teller.zone, teller.lang)
    return clock if day == today else f"{day}, {clock}"


def _wrong(teller: Teller, values: Sequence[View]) -> Iterable[View]:
    """A banner for all values of one source that are stale, or not there; the first few of them."""
    t, known = teller.t, places(teller)
    guarded = guarded_fields(teller.engine, teller.head)
    groups: dict[tuple[str, str], list[View]] = {}
    for view in values:
        for one in view.readings:
            if one.state in ("stale", "none"):
                of = View(title=view.title, tile=view.tile, node=view.node, place=view.place, reading=one)
                groups.setdefault((one.state, one.node or view.node), []).append(of)
    for (state, node), views in list(groups.items())[:MOST_BANNERS]:
        blocked = t("dashboard.banner-blocked") if any(view.tile["field"] in guarded for view in views) else ""
        yield View(
            key=f"{state}:{node}", tone="",
            head=t(_head(state, len(views)), title=together([_named(view) for view in views], t)),
            text=views[0].reading.cause.text, engine=views[0].reading.cause.engine, more=blocked,
            place=t("dashboard.banner-node", node=node, place=known.get(f"{teller.head.name}/{node}", views[0].place)),
            href=teller.link(node),
        )  # fmt: skip


def _named(view: View) -> str:
    key = view.reading.key
    return f"{view.title} ({key})" if key else str(view.title)


def _head(state: str, count: int) -> str:
    return "dashboard.banner-stale-n" if state == "stale" and count > 1 else f"dashboard.banner-{state}"


def together(titles: Sequence[str], t: Translate) -> str:
    """``Price``, ``Price and power``, ``Price, power and temperature``."""
    if len(titles) < 2:
        return "".join(titles)
    return t("dashboard.and", first=", ".join(titles[:-1]), last=titles[-1])


def standing(teller: Teller, alarms: Sequence[Alarm]) -> list[View]:
    """What is held against a market, and alarms that nobody has seen; ``alarms``: one more than are shown."""
    t, engine = teller.t, teller.engine
    market = {one.market.name for one in engine.graph.nodes.values() if one.flow == teller.head.name and one.market}
    found = [
        View(key=f"held:{name}", tone="", head=t("dashboard.banner-held", market=name),
             said=Said(refusal.text, engine=True), place=why_held(refusal.reason, t), href="", alarm=None)
        for name, refusal in engine.trading.held if name in market
    ]  # fmt: skip
    nodes = engine.graph.nodes
    for one in alarms[:MOST_ALARMS]:
        node = one.wire.partition(".")[0]
        spec = nodes.get(f"{teller.head.name}/{node}")
        place = "" if spec is None else t("dashboard.banner-node", node=node, place=f"{spec.file}:{spec.line}")
        why, said = alarm(one.text, t)
        seen = t("dashboard.times", count=one.count) if one.count > 1 else ""
        time = formats.clock(one.last_at, teller.zone, teller.lang)
        found.append(
            View(
                key=f"alarm:{one.id}", tone="alarmb" if one.severity == "critical" else "",
                head=t(f"dashboard.severity-{one.severity}"), said=said,
                place=" · ".join(part for part in (why, time, seen, place) if part),
                href="" if spec is None else teller.link(node), alarm=one.id if teller.allowed else None,
            )
        )  # fmt: skip
    return found


def places(teller: Teller) -> Mapping[str, str]:
    """Address → file:line of every node of the flow."""
    nodes = teller.engine.graph.nodes
    return {name: f"{one.file}:{one.line}" for name, one in nodes.items() if one.flow == teller.head.name}


def guarded_fields(engine: Engine, head: FlowHead) -> list[str]:
    """The fields without which the flow makes no order: what its merges require, and what its rules look at."""
    found: dict[str, None] = {}
    for one in engine.graph.nodes.values():
        if one.flow == head.name:
            found |= dict.fromkeys(getattr(one.node.options, "require", ()) or ())
    return list(found) if engine.graph.keeps_orders else []


def data(teller: Teller, tiles: Sequence[Tile], *, span: Span | None, person: str) -> dict[str, Any]:
    """What dashboard.js knows of the page beside the stream."""
    engine, flow = teller.engine, teller.head.name
    nodes = [address for address, one in engine.graph.nodes.items() if one.flow == flow]
    given = {"|".join(one): teller.values.get(one) for one in watched(tiles)}
    counters = engine.counters()
    causes = {one.address: cause(engine, one.address, teller.t) for one in watched(tiles)}
    speed = getattr(engine.clock, "speed", 1.0)
    return {
        "flow": flow,
        "generation": engine.generation,
        "zone": teller.zone,
        "at": teller.now // 1_000_000,
        "speed": speed,
        "span": span,
        "tiles": [
            {name: value for name, value in tile.items() if name in SENT and value is not None} for tile in tiles
        ],
        "given": {name: known for name, known in given.items() if known},
        "counted": {
            one: [counters[one].received, counters[one].sent, sum(counters[one].errors.values())] for one in nodes
        },
        "sources": teller.sources,
        "causes": {address: why for address, why in causes.items() if why.text},
        "places": places(teller),
        "guarded": guarded_fields(engine, teller.head),
        "eventful": [one for one in nodes if engine.graph.nodes[one].kind.name in EVENTFUL],
        "person": person,
        "allowed": teller.allowed,
    }
