"""What a person should know who sees no orders, or few: sentences for the end of the report. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

from flowrunner.message import JSON
from flowrunner.units import parse_instant, to_datetime

QUIET_DAYS = 7
"""With no order for that long something holds the rules back."""


def remarks(result: dict[str, JSON]) -> list[str]:
    """Of a result as far as it is made."""
    return [*_of_rules(result), *_of_the_rest(result), *_of_deliveries(result)]


def _of_rules(result: dict[str, JSON]) -> Iterator[str]:
    for name, rule in result["rules"].items():
        records, conditions = rule["records"], rule["conditions"]
        if not records:
            yield f"rule {name} has got no record: what it reads from never had all that it requires."
        elif not rule["wished"]:
            never = [one["text"] for one in conditions if not one["held"]]
            if never:
                yield f"rule {name} wished nothing: {' and '.join(f'`{one}`' for one in never)} never held."
            else:
                yield f"rule {name} wished nothing: its conditions never held at the same time, or not for long enough."
        lost = max((one["not_judged"] for one in conditions), default=0)
        if lost * 4 > records:
            yield (
                f"rule {name} could not judge {lost} of {records} records: a value was missing or too old by then. "
                f"Values "
                f"come every {result['step']} here; a shorter --step, or a longer 'stale_after' in the flow, changes "
                f"that."
            )


def _of_the_rest(result: dict[str, JSON]) -> Iterator[str]:
    """A battery that nobody wants anything of any more."""
    zone = ZoneInfo(result["zone"])
    filled = [one for one in result["orders"] if one["status"] == "filled"]
    begin = datetime.combine(date.fromisoformat(result["from"]), datetime.min.time(), zone)
    last = max((to_datetime(parse_instant(one["delivery_end"]), zone) for one in filled), default=begin)
    days = (date.fromisoformat(result["to"]) - last.date()).days
    if days < QUIET_DAYS or not result["rules"] or "site_mwh" in result["energy"]:
        return
    since = f"From {last:%Y-%m-%d %H:%M} on" if filled else "All the time"
    soc = result["battery"]["soc_end_percent"]
    yield (
        f"{since} no order was filled, for {days} days: the battery stayed at {soc:.1f} %, and nothing else charges or "
        "discharges it here. If no rule wishes anything at that state of charge, it stays there for ever; another "
        "--soc, "
        "or --site for a battery that also feeds its own site, shows more."
    )


def _of_deliveries(result: dict[str, JSON]) -> Iterator[str]:
    short = sum(result["energy"]["undelivered_mwh"].values())
    if short > 1e-6:
        yield (
            f"{short:.3f} MWh were traded and did not flow, because the battery was full, empty or too hot. The "
            f"profit counts "
            "them as traded; what an exchange or a grid operator charges for such an imbalance is not known here."
        )
    slots = result["slots"]
    if slots["without_price"]:
        share = f"{slots['without_price']} of {slots['count']}"
        yield f"{share} delivery slots have no price; an order for one of them is not filled."
    if result["silent"]:
        yield f"Not heard, because nothing is recorded of them: {', '.join(result['silent'])} (--data NODE=FILE)."
