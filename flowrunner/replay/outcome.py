"""What came out of a run, as ``--json`` writes it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from flowrunner.engine import Engine
from flowrunner.graph import ERROR_PORT
from flowrunner.market import Slot
from flowrunner.market.price_file import CREDIT, SHIPPED
from flowrunner.message import JSON
from flowrunner.orders import Journal
from flowrunner.orders.book import REFUSALS_KEPT
from flowrunner.replay import figures
from flowrunner.replay.clauses import Tally
from flowrunner.replay.figures import Result, rounded
from flowrunner.replay.plant import Limits
from flowrunner.replay.remarks import remarks
from flowrunner.units import SECOND

if TYPE_CHECKING:
    from flowrunner.replay.world import Stage


def outcome(stage: Stage, engine: Engine) -> Result:
    """All figures; the run must be over, the store still open."""
    plant, zone, span, setup = stage.plant, stage.zone, stage.span, stage.setup
    head = next(iter(stage.graph.flows.values()))
    settings, slot_ns = plant.battery.settings, stage.market.slot_ns
    orders = sorted(Journal(stage.store).orders(limit=None), key=lambda one: (one.delivery_start, one.id))
    days = figures.by_day(orders, plant.slots, span.first, span.last, zone)
    money = figures.Money.of(orders)
    prices = [stage.prices.at(Slot(one.start, one.start + slot_ns)) for one in plant.slots]
    result: Result = {
        "flow": head.name,
        **({"title": head.title} if head.title else {}),
        "file": head.file,
        "file_digest": head.digest,
        "prices": setup.prices,
        **({"credit": CREDIT} if setup.prices.startswith(SHIPPED) else {}),
        "from": span.first.isoformat(),
        "to": span.last.isoformat(),
        "step": str(setup.step),
        "zone": zone.key,
        "market": stage.market.name,
        "profit_eur": rounded(money.profit),
        "revenue_eur": rounded(money.revenue),
        "cost_eur": rounded(money.cost),
        "profit_of_what_flowed_eur": rounded(figures.profit_of_what_flowed(orders, plant.slots)),
        "energy": figures.energy(plant, site=setup.site),
        "battery": {
            "capacity_mwh": settings.capacity_mwh,
            "power_mw": settings.power_mw,
            "efficiency": setup.efficiency,
            "soc_start_percent": rounded(stage.begin_soc),
            "soc_end_percent": rounded(plant.battery.soc_percent),
            "full_cycles": rounded(plant.account.from_cells / settings.capacity_mwh),
        },
        "orders": figures.orders_shown(orders),
        "months": figures.months(days, settings.capacity_mwh),
        "days": figures.daily(days, zone, settings.capacity_mwh),
        "blocked": _blocked(stage),
        "rules": _rules(stage, engine),
        "limits": _limits(plant.limits),
        "slots": {"minutes": slot_ns // (60 * SECOND), "count": len(prices), "without_price": prices.count(None)},
        "telemetry": _telemetry(stage),
        "errors": _errors(engine),
        "silent": [stage.graph.nodes[one].id for one in stage.cast.silent],
    }
    result["remarks"] = [*_of_the_guard(stage), *remarks(result)]
    if stage.store.read(lambda sql: sql.execute("SELECT COUNT(*) FROM refusals").fetchone()[0]) >= REFUSALS_KEPT:
        result["remarks"].append(f"Of what was blocked only the last {REFUSALS_KEPT} refusals are counted.")
    result["series"] = figures.series(plant.slots, prices, orders, slot_ns)
    return result


def _of_the_guard(stage: Stage) -> list[str]:
    """Where it reckons with another battery than the one in the loop."""
    energy, settings = stage.cast.energy, stage.plant.battery.settings
    if energy is None:
        return ["No risk-guard has an 'energy': nothing keeps the orders within what the battery can take and give."]
    found = []
    if energy.capacity_mwh != settings.capacity_mwh:
        found.append(f"a capacity of {energy.capacity_mwh:g} MWh, the battery here has {settings.capacity_mwh:g}")
    if energy.efficiency != stage.setup.efficiency:
        found.append(
            f"an efficiency of {energy.efficiency:g} each way, the battery here has {stage.setup.efficiency:g} "
            "(--efficiency)"
        )
    return [f"The risk-guard reckons with {'; and with '.join(found)}."] if found else []


def _errors(engine: Engine) -> JSON:
    """Of each node that reported any: how often, by code, and what it said last."""
    return {
        worker.spec.id: {"codes": dict(sorted(counters.errors.items())), "last": counters.last_error}
        for worker in engine.runtime.workers.values()
        if (counters := worker.counters).errors
    }


def _telemetry(stage: Stage) -> JSON:
    nodes, cast = stage.graph.nodes, stage.cast
    by = {"battery_as": nodes[cast.speaker].id} if cast.speaker else {}
    return {"node": nodes[cast.telemetry].id, **by, "recorded": stage.spoken}


def _limits(limits: Limits) -> JSON:
    return {
        "hours": rounded(limits.hours),
        "at_full_power_h": rounded(limits.full_power),
        "at_min_soc_h": rounded(limits.at_min_soc),
        "at_max_soc_h": rounded(limits.at_max_soc),
        "derated_by_heat_h": rounded(limits.derated_by_heat),
    }


def _rules(stage: Stage, engine: Engine) -> JSON:
    """Of each rule: what it judged, and how each of its conditions came out."""
    found: dict[str, JSON] = {}
    for address in stage.cast.rules:
        worker, spec = engine.runtime.workers[address], stage.graph.nodes[address]
        told = sum(worker.counters.errors.values()) if worker.out.readers[ERROR_PORT] else 0
        when = spec.node.options.when
        known = stage.tallies.get(address, {})
        tallies = [known.get(text.strip()) or Tally(text) for text in ([when] if isinstance(when, str) else when)]
        found[spec.id] = {
            "records": worker.counters.received,
            "wished": worker.counters.sent - told,
            "conditions": [
                {"text": one.text, "held": one.held, "not_held": one.failed, "not_judged": one.unjudged}
                for one in tallies
            ],
        }
    return found


def _blocked(stage: Stage) -> JSON:
    """By reason: of how many slots, and how often."""

    def ask(sql: sqlite3.Connection) -> list[tuple[str, int, int, str]]:
        return sql.execute(
            "SELECT reason, COUNT(DISTINCT delivery_start), SUM(count), MIN(text) FROM refusals"
            " GROUP BY reason ORDER BY 3 DESC, reason"
        ).fetchall()

    return {
        reason: {"slots": slots, "times": times, "example": text}
        for reason, slots, times, text in stage.store.read(ask)
    }
