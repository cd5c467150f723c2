"""What the template needs of each tile: its words, its value, its lines; one small object per tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from flowrunner.engine import Engine
from flowrunner.graph import FlowHead
from flowrunner.message import Instant
from flowrunner.orders import Order
from flowrunner.store.people import Role
from flowrunner.units import SECOND
from flowrunner.web.dashboard.tiles import FieldOf, Tile
from flowrunner.web.dashboard.wording import Named
from flowrunner.web.live import Watch
from flowrunner.web.pages import event_rows, formats, snippets
from flowrunner.web.pages.engine_words import Cause, Said, alarm, refusal
from flowrunner.web.pages.order_rows import order_row
from flowrunner.web.pages.tile_bars import bar, line
from flowrunner.web.pages.tile_values import UNITS, Known, Reading, Shown, Source, Translate, cause, reading

MACROS = {"power": "value"}
"""Kind of tile → the macro that it is drawn by, where that has another name."""
MOST_OTHERS = 5
"""Further sites of one value that a tile shows."""
ENGINE_SAID = ("order", "refusal", "reload", "letter")
"""Kinds of events whose text is the engine's own."""
View = SimpleNamespace
"""``id``, ``tile``, ``title`` and what the macro of its kind reads."""


class Teller:
    """Says the tiles of one flow to one reader at one instant."""

    def __init__(
        self,
        engine: Engine,
        head: FlowHead,
        *,
        t: Translate,
        lang: str,
        now: Instant,
        role: Role,
        sources: Mapping[str, Source],
    ) -> None:
        self.engine, self.head, self.t, self.lang, self.now = engine, head, t, lang, now
        self.zone, self.role, self.sources = head.timezone, role, sources
        self.allowed = role != "viewer"
        """Whether the reader may enter values, acknowledge, and stop trading."""
        self.values: Mapping[Watch, Sequence[Known]] = {}
        """Of each value what is known of it, for each key; the newest is the last one."""

    def base(self, tile: Tile, **more: Any) -> View:
        """What every tile has."""
        node = tile["node"] or ""
        spec = self.engine.graph.nodes.get(node)
        place = f"{tile['file']}:{tile['line']}" if spec is None else f"{node} · {spec.file}:{spec.line}"
        return View(
            id=tile["id"], tile=tile, macro=MACROS.get(tile["tile"], tile["tile"]), title=self.title(tile),
            flow=self.head.name, node=node.partition("/")[2], href=self.link(node.partition("/")[2]) if node else "",
            place=place, allowed=self.allowed, **more,
        )  # fmt: skip

    def link(self, node: str) -> str:
        """A node in the picture of its flow."""
        return f"/flows/{quote(self.head.name, safe='')}#node={quote(node, safe='')}"

    def broken(self, tile: Tile, why: str) -> View:
        """Instead of a tile that cannot be read now. ``why``: in the engine's words."""
        view = self.base(tile, cause=Cause(engine=why))
        view.macro = "broken"
        return view

    # ---- values -------------------------------------------------------------------------------------------------

    def title(self, one: Shown) -> str:
        """The title of a tile or a line in the reader's language."""
        return self._named(one["title"])

    def _named(self, named: Named) -> str:
        return named["de" if self.lang == "de" else "en"]

    def known(self, one: Shown) -> Known | None:
        """The newest, of whatever key."""
        found = self.values.get(watch(one))
        return found[-1] if found else None

    def value(self, tile: Tile) -> View:
        """A value or power tile. Of several sites the first by name stands large: it does not jump."""
        sites = sorted(self.values.get(watch(tile), ()), key=lambda one: one["key"])
        known = sites[0] if sites else None
        told = self._reading(tile, known)
        others = [self._reading(tile, one) for one in sites[1:]]
        below = line(tile, known, told.number, t=self.t, lang=self.lang, zone=self.zone, now=self.now)
        return self.base(
            tile, key="|".join(watch(tile)), reading=told, bar=bar(tile, told.number), sub=below,
            others=others[:MOST_OTHERS], left=len(others[MOST_OTHERS:]), readings=[told, *others],
        )  # fmt: skip

    def table(self, tile: Tile) -> View:
        """Fields below each other."""
        lines = [
            View(key="|".join(watch(one)), title=self.title(one), reading=self.reading(one)) for one in tile["lines"]
        ]
        return self.base(tile, lines=lines, cause=self._cause(tile))

    def reading(self, one: Shown) -> Reading:
        """The newest value of a tile or a line in words."""
        return self._reading(one, self.known(one))

    def _reading(self, one: Shown, known: Known | None) -> Reading:
        return reading(
            one, known, self._cause(one), t=self.t, lang=self.lang, zone=self.zone, now=self.now,
            sources=self.sources,
        )  # fmt: skip

    def _cause(self, one: Shown) -> Cause:
        return cause(self.engine, one["node"], self.t) if one["node"] else Cause()

    # ---- what a person does ------------------------------------------------------------------------------------

    def form(self, tile: Tile) -> View:
        """A manual entry."""
        expires = tile["expires_after_s"]
        until, after = self.t("dashboard.form-no-expiry"), ""
        if expires:
            until = formats.clock(self.now + round(expires * SECOND), self.zone, self.lang)
            after = formats.duration(expires, self.lang)
        fields = [self._field(name, of) for name, of in tile["fields"].items()]
        return self.base(
            tile, fields=fields, until=until, expires=after, snippet=snippets.FORM, cause=self._cause(tile),
        )  # fmt: skip

    def _field(self, name: str, of: FieldOf) -> View:
        low, high, unit = of["min"], of["max"], of["unit"]
        words = ""
        if low is not None and high is not None:
            words = self.t("dashboard.form-range", min=self._number(low), max=self._number(high))
        elif low is not None:
            words = self.t("dashboard.form-from", min=self._number(low))
        elif high is not None:
            words = self.t("dashboard.form-up-to", max=self._number(high))
        return View(
            name=name, title=self._named(of["title"]) or name, unit=UNITS.get(unit, unit) if unit else "", range=words
        )

    def _number(self, value: float) -> str:
        return formats.number(value, self.lang)

    # ---- lists ----------------------------------------------------------------------------------------------------

    def orders(self, tile: Tile, orders: Sequence[Order], count: int) -> View:
        """``orders``: one more than ``count`` where there are more."""
        told = [order_row(one, t=self.t, lang=self.lang, zone=self.zone, now=self.now) for one in orders[:count]]
        made = any(one.flow == self.head.name and one.node.keeps_orders for one in self.engine.graph.nodes.values())
        more = None
        if len(orders) > count:
            more = View(
                href=f"/?flow={quote(self.head.name, safe='')}&orders={count + 25}#tile-{tile['id']}", count=count + 25
            )
        return self.base(tile, orders=told, more=more, made=made, snippet=snippets.ORDERS)

    def happened(self, tile: Tile, rows: Sequence[event_rows.Row]) -> View:
        """Alarms or events."""
        lines = [self._event(row) for row in rows]
        raised = any(
            one.flow == self.head.name and one.kind.name == "alarm-out" for one in self.engine.graph.nodes.values()
        )
        return self.base(tile, lines=lines, raised=raised, snippet=snippets.ALARMS)

    def _event(self, row: event_rows.Row) -> View:
        said = Said(row.text, row.kind in ENGINE_SAID)
        chips = [chip.word for chip in row.chips]
        if row.kind == "refusal":
            chips = [refusal(word, self.t) for word in chips]
        if row.kind == "alarm":
            why, said = alarm(row.text, self.t)
            chips = [*filter(None, [why]), *chips]
        return View(
            id=row.id, icon=row.icon, tone={"warn": "warning", "alarm": "critical"}.get(row.tone, "quiet"),
            title=row.title, text=said, at=row.at, time=row.time, alarm=row.alarm,
            href=row.order or next((part.href for part in row.parts if part.href), ""),
            more=" · ".join([*(part.text for part in row.parts), *chips]),
        )  # fmt: skip

    def text(self, tile: Tile) -> View:
        return self.base(tile, text="" if tile["text"] is None else self._named(tile["text"]))

    def chart(self, tile: Tile, told: Mapping[str, Any]) -> View:
        """``told``: as ``chart_views`` says it."""
        how = self.t("dashboard.no-history-how") if told["snippet"] else self.t("dashboard.nothing-then")
        snippet = f"nodes:\n  {told['snippet']}" if told["snippet"] else ""
        return self.base(tile, **{**told, "snippet": snippet}, cause=how)


def watch(one: Shown) -> Watch:
    """The value that a tile or a line shows."""
    return Watch(one["node"] or "", one["port"] or "out", one["field"] or "")
