"""``/metrics`` in Prometheus' text format, read from the counters at the moment of the scrape."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from flowrunner import __version__
from flowrunner.engine import Engine
from flowrunner.orders import State
from flowrunner.shown import Result
from flowrunner.stderr import lost_lines
from flowrunner.store import StoreFailed
from flowrunner.units import SECOND

T = TypeVar("T")
log = logging.getLogger("flowrunner.web")
NODE = ["flow", "node", "type"]
UNSETTLED: tuple[State, ...] = ("sending", "unknown")


class _Orders(Collector):
    """``unsettled``: by market and state; None where the journal could not be read."""

    def __init__(self, engine: Engine, unsettled: Mapping[tuple[str, State], int] | None) -> None:
        self.engine = engine
        self.unsettled = unsettled

    def collect(self) -> Iterable[Metric]:
        stopped = GaugeMetricFamily("flowrunner_trading_stopped", "1 while no orders are made or sent.")
        stopped.add_metric([], float(self.engine.trading.switch.stopped is not None))
        yield stopped
        if self.unsettled is not None:
            about = "Orders that are being sent, and those of which nobody knows whether the exchange has them."
            orders = GaugeMetricFamily("flowrunner_orders", about, labels=["market", "state"])
            known = {node.market.name for node in self.engine.graph.nodes.values() if node.market is not None}
            for market in sorted(known.union(market for market, _ in self.unsettled)):
                for state in UNSETTLED:
                    orders.add_metric([market, state], self.unsettled.get((market, state), 0))
            yield orders


class _Reloads(Collector):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def collect(self) -> Iterable[Metric]:
        engine = self.engine
        count = CounterMetricFamily(
            "flowrunner_reload", "How often files were read again, by result.", labels=["result"]
        )
        for result in get_args(Result):
            count.add_metric([result], engine.reloads.get(result, 0))
        last = engine.last_reload
        good = GaugeMetricFamily("flowrunner_last_reload_successful", "0 while newer files do not run.")
        good.add_metric([], float(last is None or last.result in ("applied", "unchanged")))
        loaded = GaugeMetricFamily("flowrunner_loaded_timestamp_seconds", "When what runs began to run.")
        loaded.add_metric([], engine.loaded_at / SECOND)
        generation = GaugeMetricFamily("flowrunner_generation", "Counts the graphs that ran since the start.")
        generation.add_metric([], engine.generation)
        yield from (count, good, loaded, generation)


class _Nodes(Collector):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def collect(self) -> Iterable[Metric]:
        counter, gauge = CounterMetricFamily, GaugeMetricFamily
        received = counter("flowrunner_node_received", "Messages that a node took.", labels=NODE)
        sent = counter("flowrunner_node_sent", "Messages that left a node.", labels=NODE)
        errors = counter("flowrunner_node_errors", "Errors of a node by code.", labels=[*NODE, "code"])
        dropped = counter("flowrunner_node_dropped", "Messages left out, by reason.", labels=[*NODE, "reason"])
        seconds = counter("flowrunner_node_process_seconds", "Time spent in a node's process.", labels=NODE)
        restarts = counter("flowrunner_node_restarts", "How often a node was restarted.", labels=NODE)
        inbox = gauge("flowrunner_node_inbox_messages", "Messages that wait for a node.", labels=NODE)
        ready = gauge("flowrunner_node_ready", "1 when a node runs and its peer is there.", labels=NODE)
        age = gauge("flowrunner_node_last_message_age_seconds", "Since the last message.", labels=NODE)
        now = self.engine.clock.now()
        depths = self.engine.inbox_depths()
        for address, worker in self.engine.runtime.workers.items():
            counters = worker.counters
            labels = [worker.spec.flow, worker.spec.id, worker.spec.kind.name]
            received.add_metric(labels, counters.received)
            sent.add_metric(labels, counters.sent)
            seconds.add_metric(labels, counters.process_seconds)
            restarts.add_metric(labels, counters.restarts)
            inbox.add_metric(labels, depths[address])
            ready.add_metric(labels, float(counters.ready))
            for code, count in counters.errors.items():
                errors.add_metric([*labels, code], count)
            for reason, count in counters.drop(worker.inbox.dropped).items():
                dropped.add_metric([*labels, reason], count)
            if counters.last_at is not None:
                age.add_metric(labels, max(0, now - counters.last_at) / SECOND)
        info = gauge("flowrunner_info", "The running version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield from (received, sent, errors, dropped, seconds, restarts, inbox, ready, age, info)


class _Letters(Collector):
    """``kept`` and ``dropped``: None where the store could not be read."""

    def __init__(self, counts: tuple[int, int] | None) -> None:
        self.counts = counts

    def collect(self) -> Iterable[Metric]:
        if self.counts is None:
            return
        kept, dropped = self.counts
        about = "Rejected messages that lie among the dead letters."
        letters = GaugeMetricFamily("flowrunner_dead_letters", about, value=kept)
        about = "Dead letters that had to make room for newer ones, ever."
        yield from (letters, CounterMetricFamily("flowrunner_dead_letters_dropped", about, value=dropped))


class _Log(Collector):
    def collect(self) -> Iterable[Metric]:
        about = "Lines of the log that nobody read in time."
        yield CounterMetricFamily("flowrunner_log_lines_lost", about, value=lost_lines())


async def text(engine: Engine) -> tuple[bytes, str]:
    """The metrics and their content type."""
    store, registry = engine.store, CollectorRegistry(auto_describe=False)
    registry.register(_Nodes(engine))
    registry.register(_Reloads(engine))
    registry.register(_Log())
    unsettled = await _read("orders", engine.trading.journal.unsettled)
    letters = await _read("dead letters", lambda: (store.dead_letters_kept(), store.dead_letters_dropped()))
    registry.register(_Orders(engine, unsettled))
    registry.register(_Letters(letters))
    return generate_latest(registry), CONTENT_TYPE_LATEST


async def _read(what: str, read: Callable[[], T]) -> T | None:
    """In a thread: a commit to a slow disk holds it up. None where the store cannot be read: the other metrics are
    wanted all the more."""
    try:
        return await asyncio.to_thread(read)
    except StoreFailed as error:
        log.error("%s are left out of the metrics: %s", what, error)
        return None
