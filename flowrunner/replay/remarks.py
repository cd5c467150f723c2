"""What a person should know who sees no orders, or few: sentences for the end of the report. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

from flowrunner.message import JSON
from flowrunner.units import DURATION_UNITS, Duration, parse_instant, to_datetime

SHOWN_MWH = 0.0005
"""Less is rounding, as the report shows it."""
AUCTION, NOON = ZoneInfo("Europe/Berlin"), datetime(2024, 6, 1, 12)
QUIET_DAYS = 7
"""With no order for that long something holds the rules back."""


COUNTED = "expression"
"""The code of an error that the rules' own lines tell of."""


def remarks(result: dict[str, JSON]) -> list[str]:
    """Of a result as far as it is made; what weighs most comes first."""
    return [*_of_energy(result), *_of_errors(result), *_of_rules(result), *_of_the_rest(result), *_of_inputs(result)]


def _of_errors(result: dict[str, JSON]) -> Iterator[str]:
    for name, errors in result["errors"].items():
        codes = {code: count for code, count in errors["codes"].items() if code != COUNTED}
        if codes:
            counts = ", ".join(f"{count} × {code}" for code, count in codes.items())
            yield f"{name} reported errors ({counts}), the last: {errors['last']}"


def _of_rules(result: dict[str, JSON]) -> Iterator[str]:
    lost: dict[str, str] = {}
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
        missing = max((one["not_judged"] for one in conditions), default=0)
        if missing * 4 > records:
            lost[name] = f"{missing} of {records} records"
    step, slot = Duration.parse(result["step"]), result["slots"]["minutes"] * DURATION_UNITS["min"]
    if step > slot and lost:
        yield (
            f"The steps of {result['step']} are longer than a delivery slot ({result['slots']['minutes']} min): about "
            f"{1 - slot / step:.0%} of the slots were never looked at with fresh telemetry, and no order was made for "
            f"them. Take --step {result['slots']['minutes']}min or less for figures that count."
        )
    elif step <= slot and lost and not any(one["wished"] for one in result["rules"].values()):
        told = " and ".join(f"{name} {count}" for name, count in lost.items())
        yield f"Not judged, because a value was missing or too old by then: by rule {told}."


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
        "--soc, or --site for a battery that also feeds its own site, shows more."
    )


def _of_energy(result: dict[str, JSON]) -> Iterator[str]:
    short = sum(result["energy"]["undelivered_mwh"].values())
    if short > SHOWN_MWH:
        yield (
            f"{short:.3f} MWh were traded and did not flow, because the battery was full, empty or too hot. The profit "
            f"counts them as traded; without them it is {result['profit_of_what_flowed_eur']:,.2f} EUR. What an "
            "exchange or a grid operator charges for such an imbalance is not known here."
        )


def _of_inputs(result: dict[str, JSON]) -> Iterator[str]:
    slots = result["slots"]
    if slots["without_price"]:
        share = f"{slots['without_price']} of {slots['count']}"
        yield f"{share} delivery slots have no price; an order for one of them is not filled."
    if result["silent"]:
        yield f"Not heard, because nothing is recorded of them: {', '.join(result['silent'])} (--data NODE=FILE)."
    if (zone := ZoneInfo(result["zone"])).utcoffset(NOON) != AUCTION.utcoffset(NOON):
        yield (
            f"The flow's zone is {zone.key}: its days are not those of the day-ahead auction, and the prices of each "
            "counted as known from 12:45 of the day before by that zone."
        )
