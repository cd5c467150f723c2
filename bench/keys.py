"""Many sites in one flow: what a record costs, and what is kept of each, from one key to many."""

from __future__ import annotations

import gc
import time

from bench.inside import in_loop
from bench.programs import memory_mb
from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.registry import Registry
from flowrunner.store import Store

FLOW = """
flow: fleet
market: {name: epex_at}
nodes:
  meters: {type: inject, once: true, payload: {soc_percent: 20, price_eur_mwh: 30}}
  merged: {type: merge, from: meters, stale_after: 1h}
  hot: {type: threshold, from: merged, field: soc_percent, above: 90}
  buy:
    type: rule
    from: hot
    when: [soc_percent < 10, price_eur_mwh <= 60]
    then: {side: BUY, quantity_mwh: 1, limit_price_eur_mwh: price_eur_mwh}
  guard: {type: risk-guard, from: buy, stop_while: [hot], max_orders: {per_slot: 1}, max_quantity_mwh: 2}
"""
FIELDS = 2
CALLS = 20_000


def per_record(keys: int, rounds: int = 3) -> tuple[float, float]:
    """One record for each of so many keys, some times over, through merge, threshold and rule in front of a guard:
    seconds of the processor for each record, and bytes that are kept for each key and field."""

    async def run() -> tuple[float, float]:
        engine = await _started()
        context = engine.runtime.workers["fleet/meters"].ctx
        gc.collect()
        before, taken = memory_mb("self"), 0.0

        def record(number: int, at: str) -> Message:
            payload = {"soc_percent": 20 + number % 60, "price_eur_mwh": 30.5}
            return context.message(payload, position=at, key=f"site-{number}")

        try:
            for turn in range(rounds + 1):
                began = time.process_time()
                for number in range(keys):
                    await context.emit(record(number, f"{turn}:{number}"))
                await engine.runtime.drained()
                taken += time.process_time() - began if turn else 0.0  # the first round makes what is kept
            await engine.store.flush()
            workers = engine.runtime.workers
            refused = sum(sum(workers[f"fleet/{one}"].counters.errors.values()) for one in ("merged", "hot", "buy"))
            if refused:
                raise SystemExit(f"{refused} records were refused")
            gc.collect()
            return taken / (rounds * keys), (memory_mb("self") - before) * 1e6 / (keys * FIELDS)
        finally:
            await engine.stop()

    return in_loop(run)


def rule_of_two() -> tuple[float, float]:
    """Microseconds of a rule with two clauses for one record: where it decides, with its trace, and where it decides
    nothing."""

    async def run() -> tuple[float, float]:
        engine = await _started()
        try:
            rule, source = engine.runtime.workers["fleet/buy"], engine.runtime.workers["fleet/meters"].ctx
            found = []
            for soc in (5.0, 80.0):
                record = source.message({"soc_percent": soc, "price_eur_mwh": 30.0}, position="x")
                if bool(rule.process(record, rule.ctx)) != (soc < 10):
                    raise SystemExit("the rule does not decide as it is to")
                began = time.perf_counter()
                for _ in range(CALLS):
                    rule.process(record, rule.ctx)
                found.append((time.perf_counter() - began) / CALLS * 1e6)
            return found[0], found[1]
        finally:
            await engine.stop()

    return in_loop(run)


async def _started() -> Engine:
    checked = check_flows({"fleet.yaml": FLOW}, {}, Registry())
    if checked.graph is None:
        raise SystemExit("\n".join(map(str, checked.problems[:5])))
    engine = Engine(checked, store=Store.open(None), clock=LiveClock(), stubs=["fleet/meters"])
    await engine.start()
    return engine
