"""Orders as the dashboard says them: one line each, and the story behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

from flowrunner.fields import is_number
from flowrunner.message import JSON, Instant
from flowrunner.orders import Order
from flowrunner.units import iso
from flowrunner.web.pages import formats
from flowrunner.web.pages.event_times import Translate, Zone

CHIPS = {"filled": "ok", "partly-filled": "ok", "accepted": "line", "paper": "line", "intent": "line",
         "sending": "line", "rejected": "alarm", "unknown": "warn"}  # fmt: skip


class OrderRow(NamedTuple):
    """One line of the table."""

    id: str
    href: str
    day: str
    """Of the delivery, where that is another one than today."""
    delivery: str
    side: str
    tone: str
    icon: str
    quantity: str
    price: str
    state: str
    chip: str
    time: str
    facts: list[str]


class StepRow(NamedTuple):
    """One step of an order's story."""

    at: str
    time: str
    state: str
    text: str
    facts: list[str]


def order_row(one: Order, *, t: Translate, lang: str, zone: str, now: Instant) -> OrderRow:
    """``now``: of which day the times are told without a date."""
    at, buys = Zone(ZoneInfo(zone), zone), one.side == "BUY"
    today = at.day(now)
    price = (
        t("dashboard.any-price")
        if one.limit_price_eur_mwh is None
        else formats.number(one.limit_price_eur_mwh, lang, 2)
    )
    day = "" if at.day(one.delivery_start) == today else f"{at.day(one.delivery_start):%d.%m.}"
    delivery = f"{at.minutes(one.delivery_start)}–{at.minutes(one.delivery_end)}"
    traded = {"filled": formats.number(one.filled_mwh, lang), "quantity": formats.number(one.quantity_mwh, lang)}
    facts = [
        " ".join(part for part in (t("dashboard.delivery-head"), day, delivery) if part),
        t("dashboard.mode-paper") if one.mode == "paper" else "",
        t("dashboard.filled", **traded) if one.filled_mwh > 0 else "",
        t("dashboard.limited-by", node=one.limited_by) if one.limited_by else "",
        t("dashboard.why-rule", node=one.rule) if one.rule else "",
        one.exchange_id,
    ]
    return OrderRow(
        id=one.id, href=f"/orders/{quote(one.id, safe='')}", day=day, delivery=delivery,
        side=t("dashboard.buy" if buys else "dashboard.sell"), tone="ch" if buys else "di",
        icon="down" if buys else "up", quantity=formats.number(one.quantity_mwh, lang, 1), price=price,
        state=state_word(one.state, t), chip=CHIPS.get(one.state, ""), time=at.minutes(one.created_at, today),
        facts=[fact for fact in facts if fact],
    )  # fmt: skip


def state_word(state: str, t: Translate) -> str:
    """A state of orders in the reader's words."""
    return t("dashboard.state-unknown-order" if state == "unknown" else f"dashboard.state-{state}")


def step_rows(
    steps: Iterable[Mapping[str, JSON]], *, t: Translate, lang: str, zone: str, now: Instant
) -> list[StepRow]:
    at = Zone(ZoneInfo(zone), zone)
    found = []
    for step in steps:
        when: Instant = step["at"]
        day = "" if at.day(when) == at.day(now) else f"{at.day(when):%d.%m.} "
        detail = step["detail"] if isinstance(step["detail"], dict) else {}
        facts = [clause_fact(clause, lang) for clause in detail.get("clauses") or [] if isinstance(clause, dict)]
        found.append(
            StepRow(iso(when), day + at.seconds(when), state_word(str(step["state"]), t), str(step["reason"]), facts)
        )
    return found


def clause_fact(clause: Mapping[str, JSON], lang: str) -> str:
    """``soc_percent < 30: 22,4``: a clause with what it was judged by."""
    return f"{clause.get('text', '')}: {clause.get('reason') or figure(clause.get('value'), lang)}"


def figures(clause: Mapping[str, JSON], lang: str) -> str:
    """``75,5 > 70``: value, comparison and limit in the reader's numbers; the reason where there is no outcome."""
    if clause.get("reason"):
        return str(clause["reason"])
    limit = clause.get("limit")
    limits = [figure(one, lang) for one in limit] if isinstance(limit, list) else [figure(limit, lang)]
    return f"{figure(clause.get('value'), lang)} {clause.get('op', '')} {' … '.join(limits)}"


def figure(value: JSON, lang: str) -> str:
    """One value."""
    if value is None:
        return "–"
    return formats.number(value, lang) if is_number(value) else str(value)[:60]
