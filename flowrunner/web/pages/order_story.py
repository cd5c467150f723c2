"""``/orders/{order}``: what an order is, why it was decided, and every step since."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from flowrunner.fields import is_number
from flowrunner.message import JSON, Instant
from flowrunner.orders import Journal, Order
from flowrunner.units import iso
from flowrunner.web.events.shown import node_page
from flowrunner.web.pages import formats
from flowrunner.web.pages.event_rows import STATES, Chip, StepLine
from flowrunner.web.pages.event_times import Translate, Zone, long_date, zone_of
from flowrunner.web.pages.face import Face, Page
from flowrunner.web.pages.order_words import WORDS

__all__ = ["WORDS", "pages"]

OUTCOMES = {True: ("check", "y", "story.true"), False: ("x", "w", "story.false"), None: ("info", "", "story.unclear")}
UNSENT = ("intent", "paper", "expired")
"""States of orders that no exchange has heard of; of an old one that has, its address may not be kept."""
DETAIL_CAP = 4000
"""Characters of the exchange's answer."""


class Fact(NamedTuple):
    name: str
    text: str
    href: str = ""


class Clause(NamedTuple):
    icon: str
    tone: str
    word: str
    text: str
    figures: str


class Input(NamedTuple):
    """One value that a decision rests on."""

    field: str
    figure: str
    unit: str
    age: str
    source: str
    origin: str
    manual: bool


class Decision(NamedTuple):
    """Why: as far as the journal has it."""

    clauses: list[Clause]
    inputs: list[Input]
    verdicts: list[tuple[str, str]]
    lineage: str
    digest: str


class StoryStep(NamedTuple):
    line: StepLine
    detail: str


def pages(face: Face) -> list[Page]:
    """The page of this module."""
    return [Page("/orders/{order}", _Story(face).page)]


class _Story:
    def __init__(self, face: Face) -> None:
        self.face = face

    async def page(self, request: Request) -> Response:
        """One order of the journal."""
        engine, t, lang = self.face.engine, self.face.t(request), self.face.lang(request)
        name: str = request.path_params["order"]
        found = await asyncio.to_thread(Journal(engine.store).story, name)
        if found is None:
            return self.face.html(
                request, "order.html", title=t("story.title", order=name[:100]), status=404, order=None,
                name=name[:100],
            )  # fmt: skip
        order, steps = found
        zone = zone_of(engine, [order.flow] if order.flow in engine.graph.flows else engine.graph.flows)
        teller = _Teller(zone, lang, t)
        return self.face.html(
            request, "order.html", title=t("story.title", order=order.id), order=order.id,
            side="di" if order.side == "SELL" else "ch", icon_name="up" if order.side == "SELL" else "down",
            head=teller.head(order), state=teller.state(order.state), paper=order.mode == "paper", zone=zone.name,
            facts=teller.facts(order, self._guard_link(order)), decision=teller.decision(steps[0] if steps else {}),
            steps=[teller.step(one, first=n == 0) for n, one in enumerate(steps)],
        )  # fmt: skip

    def _guard_link(self, order: Order) -> str:
        if f"{order.flow}/{order.guard}" not in self.face.engine.graph.nodes:
            return ""
        return node_page(order.flow, order.guard)


class _Teller:
    """Says an order in one language and zone."""

    def __init__(self, zone: Zone, lang: str, t: Translate) -> None:
        self.zone, self.lang, self.t = zone, lang, t

    def head(self, order: Order) -> str:
        """``Sell 1 MWh at 180.00 €/MWh``."""
        price = order.limit_price_eur_mwh
        key = f"events.title.order.{order.side}"
        return self.t(
            key if price is not None else f"{key}.any-price",
            quantity_mwh=self._number(order.quantity_mwh), price_eur_mwh=self._number(price, 2),
            delivery_start=self._moment(order.delivery_start), delivery_end=self.zone.minutes(order.delivery_end),
        )  # fmt: skip

    def state(self, state: str) -> Chip:
        return Chip(STATES.get(state, ""), self.t(f"events.state-{state}"))

    def facts(self, order: Order, guard_link: str) -> list[Fact]:
        """The order as the journal has it. What it does not have is left out, or said."""
        t = self.t
        quantity = f"{self._number(order.quantity_mwh)} MWh"
        if order.limited_by:
            wanted = f"{self._number(order.requested_mwh)} MWh"
            quantity += f" ({t('story.requested', requested=wanted, limit=order.limited_by)})"
        price = order.limit_price_eur_mwh
        filled = t("story.nothing-filled")
        if order.filled_mwh:
            filled = f"{self._number(order.filled_mwh)} MWh"
            if order.average_price_eur_mwh is not None:
                average = f"{self._number(order.average_price_eur_mwh, 2)} €/MWh"
                filled = t("story.filled-at", quantity=filled, price=average)
        start = self.zone.day(order.delivery_start)
        delivery = f"{self._moment(order.delivery_start)} – {self.zone.minutes(order.delivery_end, start)}"
        found = [
            (t("story.mode"), t(f"story.{order.mode}"), ""),
            (t("story.delivery"), f"{delivery}, {long_date(start, self.lang)}", ""),
            (t("story.quantity"), quantity, ""),
            (t("story.limit"), t("story.any-price") if price is None else f"{self._number(price, 2)} €/MWh", ""),
            (t("story.kind"), f"{order.order_type} · {order.time_in_force}", ""),
            (t("story.filled"), filled, ""),
            (t("story.open"), f"{self._number(order.open_mwh)} MWh", ""),
            (t("story.good-until"), self._moment(order.good_until, start) if order.good_until else "", ""),
            (t("story.market"), order.market, ""),
            (t("story.exchange"), order.venue or (t("story.not-sent") if order.state in UNSENT else ""), ""),
            (t("story.exchange-id"), order.exchange_id, ""),
            (t("story.rule"), order.rule, ""),
            (t("story.guard"), f"{order.flow}/{order.guard}", guard_link),
        ]
        return [Fact(*one) for one in found if one[1]]

    def decision(self, first: Mapping[str, JSON]) -> Decision | None:
        """Of the first step. What a journal of another version has in another form is left to the raw detail."""
        detail = first.get("detail")
        if not isinstance(detail, dict):
            return None
        clauses = [self._clause(one) for one in detail.get("clauses") or [] if isinstance(one, dict)]
        inputs = [self._input(name, one) for name, one in (detail.get("inputs") or {}).items() if isinstance(one, dict)]
        verdicts = [(str(name), self._verdict(said)) for name, said in (detail.get("verdicts") or {}).items()]
        return Decision(
            clauses, inputs, verdicts, str(detail.get("lineage") or ""), str(detail.get("flow_digest") or "")
        )

    def step(self, step: Mapping[str, JSON], *, first: bool) -> StoryStep:
        """One step; the first one's detail is the decision, which is told on its own."""
        at: Instant = step["at"]
        detail = step.get("detail")
        raw = "" if first or detail in (None, {}) else msgspec.json.encode(detail, enc_hook=repr).decode()
        pretty = msgspec.json.format(raw, indent=2)[:DETAIL_CAP] if raw else ""
        time = f"{self.zone.day(at):%d.%m.} {self.zone.seconds(at)}"
        return StoryStep(StepLine(iso(at), time, self.state(str(step["state"])), str(step["reason"])), pretty)

    def _clause(self, one: Mapping[str, JSON]) -> Clause:
        outcome = one.get("outcome")
        icon, tone, word = OUTCOMES[outcome if isinstance(outcome, bool) else None]
        parts = [self._figure(one[name]) if name != "op" else str(one[name]) for name in ("value", "op", "limit")
                 if one.get(name) is not None]  # fmt: skip
        figures = str(one.get("reason") or "") or " ".join(parts)
        return Clause(icon, tone, self.t(word), str(one.get("text") or ""), figures)

    def _input(self, name: str, one: Mapping[str, JSON]) -> Input:
        age, origin = one.get("age_s"), str(one.get("origin") or "automatic")
        told = f"story.{origin}"
        return Input(
            name, self._figure(one.get("value")), str(one.get("unit") or ""),
            formats.duration(age, self.lang) if is_number(age) else "", str(one.get("source") or ""),
            self.t(told) if told in WORDS else origin, origin == "manual",
        )  # fmt: skip

    def _verdict(self, said: JSON) -> str:
        key = f"story.verdict-{said}"
        return self.t(key) if key in WORDS else str(said)

    def _figure(self, value: JSON) -> str:
        return formats.number(value, self.lang) if is_number(value) else "–" if value is None else str(value)[:200]

    def _number(self, value: float | None, decimals: int | None = None) -> str:
        return "" if value is None else formats.number(value, self.lang, decimals)

    def _moment(self, instant: Instant, of: date | None = None) -> str:
        return self.zone.minutes(instant, of)
