"""``/``: the dashboard of a flow, with its newest values in the page; and single tiles of it, made anew."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from flowrunner.engine import Engine
from flowrunner.errors import UsageError
from flowrunner.graph import FlowHead, Output
from flowrunner.orders import Journal, Order
from flowrunner.store import Alarm, Alarms, StoreFailed
from flowrunner.web.dashboard.once import OncePerGraph
from flowrunner.web.dashboard.series import Asked as Course
from flowrunner.web.dashboard.series import Series, lacking
from flowrunner.web.dashboard.tiles import Boards, Tile
from flowrunner.web.dashboard.why import why
from flowrunner.web.events.api import visible
from flowrunner.web.events.asked import Asked
from flowrunner.web.events.event import Kind
from flowrunner.web.events.list import EventList
from flowrunner.web.pages import dashboard_head, dashboard_words, engine_words, tile_sources
from flowrunner.web.pages.chart_views import MOST_KEYS, SPANS, Drawn, Span, opening, opening_of, period, points
from flowrunner.web.pages.chart_views import Teller as ChartTeller
from flowrunner.web.pages.chart_views import until as ends
from flowrunner.web.pages.dashboard_head import MOST_ALARMS
from flowrunner.web.pages.event_rows import Row, days
from flowrunner.web.pages.event_times import zone_of
from flowrunner.web.pages.face import Face, Page
from flowrunner.web.pages.order_rows import order_row, step_rows
from flowrunner.web.pages.tile_values import sources
from flowrunner.web.pages.tile_views import Teller, View, watch
from flowrunner.web.pages.why_views import why as why_view

__all__ = ["WORDS", "pages"]

log = logging.getLogger("flowrunner.web")
WORDS = {**dashboard_words.WORDS, **engine_words.WORDS}
UNREADABLE = (sqlite3.Error, StoreFailed, UsageError)
"""What a read of the store raises."""
ORDERS, MOST_ORDERS = 8, 500
"""Orders of a tile: at first, and at most."""
EVENTS = 6
"""Lines of a tile of events or alarms."""
ALARMS: frozenset[Kind] = frozenset({"alarm"})
DEEDS: frozenset[Kind] = frozenset({"alarm", "acknowledgement", "order", "refusal", "entry", "reload", "trading"})
"""What the tile of events tells: not each message that a node refused, and not who logs in."""
SAID = """
    and automatic automatic-of automatic-short banner-blocked banner-hide banner-node banner-none banner-stale
    banner-stale-n button-confirm button-done charging delivery discharging expired-at failed form-ambiguous
    form-away form-back-text form-confirm form-confirm-back form-counts form-done form-done-back form-from
    form-missing form-no-expiry form-not-number form-outside form-overwrites form-overwrites-none form-range
    form-takes-over form-up-to form-why-missing from-node future gap keys-more limit
    manual manual-short marks no-reason no-value
    none-usable none-yet not-ready nothing-then of-limit over-limit peer-away planned ready resting resume resume-ask
    resume-short resume-text simulated stale stale-since state-unknown stop stop-ask stop-short stop-text stopped
    stopped-by stopped-by-only to-node uncertain until valid value-uncertain yes yes-back
"""
JS_WORDS = tuple(f"dashboard.{name}" for name in SAID.split())
"""What the scripts say; a test compares."""


def pages(face: Face) -> list[Page]:
    """The pages of this module."""
    board = _Dashboard(face)
    return [Page("/", board.page), Page("/dashboards/{flow}", board.page)]


class _Asked(NamedTuple):
    """What a page is to show."""

    tiles: Sequence[Tile]
    span: Span | None
    """None: each chart opens on its own."""
    orders: int


class _Dashboard:
    def __init__(self, face: Face) -> None:
        self.face = face
        self.engine: Engine = face.engine
        self.events = EventList(face.engine)
        self.series = Series(face.engine)
        self.boards = OncePerGraph(Boards)

    async def page(self, request: Request) -> Response:
        """The whole page; with ``tile`` one tile of it, with ``story`` the story of an order."""
        t, asked, flows = self.face.t(request), request.query_params, self.engine.graph.flows
        name = request.path_params.get("flow") or asked.get("flow") or next(iter(flows))
        if name not in flows:
            return self.face.missing(request, t("dashboard.unknown-flow", flow=name[:64]))
        teller = self._teller(request, flows[name])
        if "story" in asked:
            return await self._story(request, teller, asked["story"])
        tiles = self.boards.of(self.engine.graph).of(name)["tiles"]
        teller.values = tile_sources.values(self.engine, tiles, teller.now)
        span = next((one for one in SPANS if one == asked.get("span")), None)
        page = _Asked(tiles, span, _count(asked.get("orders")))
        if "standing" in asked:
            alarms = await self._open_alarms(teller, tiles)
            return self.face.html(
                request, "dashboard_part.html", title=name, view=None, story=None,
                standing=dashboard_head.standing(teller, alarms), more=len(alarms) > MOST_ALARMS,
            )  # fmt: skip
        if "tile" in asked:
            tile = next((one for one in tiles if str(one["id"]) == asked["tile"]), None)
            if tile is None:
                return self.face.missing(request, t("dashboard.empty"))
            view = await self._view(teller, tile, page)
            return self.face.html(request, "dashboard_part.html", title=view.title, view=view, story=None)
        views = [await self._view(teller, tile, page) for tile in tiles]
        alarms = await self._open_alarms(teller, tiles)
        board = dashboard_head.board(teller, views, alarms, span=span or opening_of(tiles))
        data = dashboard_head.data(teller, tiles, span=page.span, person=self.face.person(request).name)
        return self.face.html(
            request, "dashboard.html", title=board.title, words=JS_WORDS, data=data, board=board, flow=name
        )

    def _teller(self, request: Request, head: FlowHead) -> Teller:
        t = self.face.t(request)
        return Teller(
            self.engine, head, t=t, lang=self.face.lang(request), now=self.engine.clock.now(),
            role=self.face.person(request).role, sources=sources(self.engine.graph, head.name, t),
        )  # fmt: skip

    # ---- tiles ----------------------------------------------------------------------------------------------------

    async def _view(self, teller: Teller, tile: Tile, page: _Asked) -> View:
        """Where the disk does not answer, that one tile says so: values and the kill switch are there all the same."""
        try:
            return await self._told(teller, tile, page)
        except UNREADABLE as error:
            log.error("the dashboard of %s: %s cannot be read: %s", teller.head.name, tile["tile"], error)
            return teller.broken(tile, self.engine.runtime.mask(str(error)))

    async def _told(self, teller: Teller, tile: Tile, page: _Asked) -> View:
        match tile["tile"]:
            case "value" | "power":
                return teller.value(tile)
            case "table":
                return teller.table(tile)
            case "form" | "button":
                return teller.form(tile)
            case "chart":
                return await self._chart(teller, tile, page)
            case "why":
                return why_view(
                    teller, tile, [why(self.engine, *one.split("/", 1)) for one in tile["from"]], page.tiles
                )
            case "orders":
                return teller.orders(tile, await self._orders(teller.head, page.orders + 1), page.orders)
            case "alarms":
                return teller.happened(tile, await self._happened(teller, Asked(kinds=ALARMS, limit=EVENTS)))
            case "events":
                return teller.happened(tile, await self._happened(teller, Asked(kinds=DEEDS, limit=EVENTS)))
            case _:
                return teller.text(tile)

    async def _chart(self, teller: Teller, tile: Tile, page: _Asked) -> View:
        span = page.span or opening(tile)
        begin, end = period(span, teller.now, teller.zone)
        drawn: list[Drawn] = []
        until = end
        for line in tile["series"]:
            output, graph = Output(line["node"], line["port"]), self.engine.graph
            most = points(line.get("kind", "line"), span)
            asked = Course(output, line["field"], begin, min(end, teller.now), most)
            reads = await self.series.read_each(asked, MOST_KEYS)
            ahead = self.series.ahead(output, line["field"], teller.now) if span in ("day", "24h") else None
            known = ahead[1] if ahead else []
            until = max(until, ends(span, teller.now, end, known))
            left = max(len(reads[0].keys) - len(reads), 0)
            lacks = lacking(graph, asked)[1] if reads[0].keeper is None else ""
            for place, read in enumerate(reads):
                every = max(read.course.every, (end - begin) // most)
                drawn.append(
                    Drawn(line, read.course.buckets, known if place == 0 else [], every, lacks, read.key,
                          left if place == len(reads) - 1 else 0)
                )  # fmt: skip
        marks = {"|".join(watch(one)): one["marks"] for one in page.tiles if one["field"]}
        told = ChartTeller(t=teller.t, lang=teller.lang, zone=teller.zone, now=teller.now, marks=marks)
        return teller.chart(tile, told.told(drawn, span, (begin, until)))

    async def _orders(self, head: FlowHead, limit: int) -> list[Order]:
        market = next(
            (one.market.name for one in self.engine.graph.nodes.values() if one.flow == head.name and one.market), None
        )
        journal = Journal(self.engine.store)
        async with self.engine.reading:
            return await asyncio.to_thread(journal.orders, limit=limit, market=market)

    async def _open_alarms(self, teller: Teller, tiles: Sequence[Tile]) -> list[Alarm]:
        """Those that nobody has seen, where no tile shows them: one more than the head does."""
        if any(tile["tile"] == "alarms" for tile in tiles):
            return []
        find = partial(Alarms(self.engine.store).find, flow=teller.head.name, acknowledged=False)
        try:
            async with self.engine.reading:
                return await asyncio.to_thread(find, limit=MOST_ALARMS + 1)
        except UNREADABLE as error:
            log.error("the dashboard of %s: alarms cannot be read: %s", teller.head.name, error)
            return []

    async def _happened(self, teller: Teller, asked: Asked) -> list[Row]:
        of = msgspec.structs.replace(asked, flow=teller.head.name, common=True)
        found = await self.events.find(visible(teller.role, of))
        zone = zone_of(self.engine, [teller.head.name])
        told = days(found.events, {}, now=teller.now, zone=zone, lang=teller.lang, t=teller.t)
        today = zone.day(teller.now).isoformat()
        return [
            row if day.iso == today else row._replace(time=f"{day.iso[8:]}.{day.iso[5:7]}. {row.time[:5]}")
            for day in told
            for row in day.rows
        ]

    async def _story(self, request: Request, teller: Teller, name: str) -> Response:
        async with self.engine.reading:
            found = await asyncio.to_thread(Journal(self.engine.store).story, name)
        if found is None:
            return self.face.missing(request, teller.t("dashboard.story-failed"))
        given: Any = {"t": teller.t, "lang": teller.lang, "zone": teller.zone, "now": teller.now}
        story = {"order": order_row(found[0], **given), "steps": step_rows(found[1], **given)}
        return self.face.html(request, "dashboard_part.html", title=name, story=story, view=None)


def _count(given: str | None) -> int:
    """How many orders are asked for; those of a first look where that is no number."""
    return min(int(given), MOST_ORDERS) if given and given.isascii() and given.isdigit() and len(given) < 5 else ORDERS
