"""What is measured, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from bench import brokers, chains, inside, keys, live, modbus, node_red, pages, programs, reloads, start, web
from bench.figure import Figure, Measure, Sample, Shared
from bench.mqtt import Measured
from bench.programs import BESS, command

LONG = 3
"""The most runs of a figure that takes many seconds."""
T = TypeVar("T")


def figures() -> Iterator[Figure]:
    """All of them."""
    yield from _programs()
    yield from _chains()
    yield from _brokers()
    yield from _web()
    yield from _sizes()
    yield from _reloads()
    yield from _many()
    yield from _pages()


def ms(measure: Callable[[], float]) -> Measure:
    """Seconds as milliseconds."""
    return lambda: measure() * 1000


def _programs() -> Iterator[Figure]:
    answer, red = Shared(programs.first_answer), Shared(lambda: start.nodered(0))
    yield Figure("python -c '' (for comparison)", "ms", ms(programs.python), warm=True)
    yield Figure("flowrunner --help", "ms", ms(lambda: command("--help")), warm=True)
    yield Figure("flowrunner validate flows/bess.yaml", "ms", ms(lambda: command("validate", str(BESS))), warm=True)
    yield Figure(
        "flowrunner run flows/bess.yaml, to the first answer", "ms", answer.figure(lambda one: one[0] * 1000),
        red.figure(lambda one: one[0] * 1000), 600, warm=True,
    )  # fmt: skip
    yield Figure("its memory at the first answer", "MB", answer.figure(lambda one: one[1]), warm=True)
    yield Figure("./x run, to the first merged record", "ms", ms(programs.first_record), warm=True)
    yield Figure(
        "battery flow, three inputs at 1 Hz, its page open",
        "%",
        programs.cpu_at_one_hertz,
        None,
        2,
        most=LONG,
    )
    yield Figure("validation of a file with 1,000 nodes", "ms", ms(inside.validation), warm=True)
    yield Figure("flowrunner test, the shipped flows", "s", lambda: command("test", str(BESS.parent)), warm=True)
    yield Figure("replay of a year, telemetry every hour", "s", lambda: programs.replay("1h"), warm=True)
    yield Figure("replay of a year, every minute (525,600 records)", "s", lambda: programs.replay("1min"), most=LONG)


def _chains() -> Iterator[Figure]:
    for kind, name, aim in (
        ("three", "chain of 3: scale, compute, filter", 400_000),
        ("ten", "chain of 10 of these", 150_000),
        ("own", "chain of 3 nodes of the user's own", 250_000),
        ("fan-out", "one to ten, deliveries", 1_000_000),
    ):

        def ours(kind: str = kind) -> Sample:
            return Sample(*chains.flowrunner(kind))

        def theirs(kind: str = kind) -> Sample:
            return Sample(*chains.nodered(kind))

        yield Figure(name, "messages/s", ours, theirs, aim, more=True)
    yield Figure(
        "memory that a source a hundred times too fast takes",
        "MB",
        chains.flooded,
        chains.nodered_flooded,
        20,
        most=LONG,
    )
    yield Figure("through a durable inbox, on disk", "messages/s", inside.durable_inbox, None, 5000, more=True)


def _brokers() -> Iterator[Figure]:
    def rate(one: Measured) -> Sample:
        return Sample(one.per_s, one.cpu_us)

    for qos, name, aim in (0, "QoS 0", 20_000), (1, "QoS 1", 10_500):
        ours, theirs = Shared(lambda qos=qos: brokers.window(qos)), Shared(lambda qos=qos: brokers.red_window(qos))
        name = f"MQTT to MQTT by scale and threshold, {name}"
        yield Figure(name, "messages/s", ours.figure(rate), theirs.figure(rate), aim, more=True, most=LONG)

    def kept() -> Sample:
        return rate(brokers.window(1, durable=True))

    yield Figure("the same at QoS 1, what waits is on disk", "messages/s", kept, more=True, most=LONG)
    for hertz in (200, 10):
        mine, red = Shared(lambda hz=hertz: brokers.paced(hz)), Shared(lambda hz=hertz: brokers.red_paced(hz))
        for part, aim in ("p50_ms", 1.0), ("p99_ms", 3.0):

            def get(one: Measured, part: str = part) -> float:
                return float(getattr(one, part))

            yield Figure(
                f"MQTT latency at {hertz}/s, QoS 1, {part[:3]}", "ms", mine.figure(get), red.figure(get), aim, most=LONG
            )


def _web() -> Iterator[Figure]:
    for connections, name, aim in (web.MANY, f"{web.MANY} connections", 25_000), (1, "one connection", 10_000):
        ours = Shared(lambda count=connections: web.through(web.flowrunner, count))
        theirs = Shared(lambda count=connections: web.through(web.nodered, count))

        def rate(one: web.Load) -> Sample:
            return Sample(one.per_s, one.cpu_us)

        name = f"HTTP by scale and threshold, {name}"
        yield Figure(name, "requests/s", ours.figure(rate), theirs.figure(rate), aim, more=True, most=LONG)
        if connections > 1:

            def late(one: web.Load) -> float:
                return one.p99_ms

            yield Figure("the same, p99", "ms", ours.figure(late), theirs.figure(late), 3, most=LONG)
    yield Figure(
        "HTTP while 1,000 messages wait at a slow node, p99", "ms",
        lambda: web.beside_a_slow_node(web.flowrunner).p99_ms, lambda: web.beside_a_slow_node(web.nodered).p99_ms, 50,
        most=LONG,
    )  # fmt: skip


def _sizes() -> Iterator[Figure]:
    for count, name, began, memory in (
        (0, "nothing to do", None, 60), (1_000, "1,000 nodes", None, 70), (10_000, "10,000 nodes", 1.3, 120)
    ):  # fmt: skip
        ours = Shared(lambda count=count: start.with_nodes(count))
        theirs = Shared(lambda count=count: start.nodered(count))
        if began is not None:
            yield Figure(
                f"start with {name}", "s", ours.figure(lambda one: one[0]), theirs.figure(lambda one: one[0]), began,
                most=LONG,
            )  # fmt: skip
        yield Figure(
            f"memory, {name}", "MB", ours.figure(lambda one: one[1]), theirs.figure(lambda one: one[1]), memory,
            most=LONG,
        )  # fmt: skip


def _reloads() -> Iterator[Figure]:
    for count, aim in (1_000, 33), (10_000, 150):
        ours = Shared(lambda count=count: reloads.with_one_changed(count))
        yield Figure(
            f"reload of one node in a flow of {count:,}", "ms", ours.figure(lambda one: one[0] * 1000),
            ms(lambda count=count: reloads.nodered_with_one_changed(count)), aim, most=LONG,
        )  # fmt: skip
        during = "longest delay of a message during " + ("it" if count == 1_000 else "that")
        yield Figure(during, "ms", ours.figure(lambda one: one[1] * 1000), most=LONG)
    yield Figure(
        "MQTT messages at QoS 1 lost in five reloads", "", lambda: reloads.lost_by(reloads.flowrunner),
        lambda: reloads.lost_by(node_red.running), 0, most=LONG,
    )  # fmt: skip


def _many() -> Iterator[Figure]:
    sites = Shared(lambda: keys.per_record(10_000))
    one, many = "a record of 10,000 sites through merge, threshold, rule", "memory per site and field"
    yield Figure(one, "us of CPU", sites.figure(lambda found: found[0] * 1e6), None, 100, most=LONG)
    most = Shared(lambda: keys.per_record(100_000, rounds=1))
    yield Figure(
        "the same with 100,000 sites", "us of CPU", most.figure(lambda found: found[0] * 1e6), None, 100, most=LONG
    )
    yield Figure(many, "bytes", sites.figure(lambda found: found[1]), None, 1000, most=LONG)
    traced = Shared(keys.rule_of_two)
    yield Figure(
        "rule of two clauses that decides, with its trace", "us", traced.figure(lambda found: found[0]), None, 5
    )
    yield Figure("the same where it decides nothing", "us", traced.figure(lambda found: found[1]), None, 1)
    polls = Shared(modbus.lateness)
    yield Figure("500 Modbus devices at 1 Hz, 50 dead: late, p99", "ms", polls.figure(lambda found: found[0] * 1000),
                 None, 200, most=LONG)  # fmt: skip
    yield Figure("its CPU, of one core", "%", polls.figure(lambda found: found[1]), most=LONG)


def _pages() -> Iterator[Figure]:
    readers = f"{live.READERS} readers of the live stream and {live.FROZEN} frozen"
    yield Figure(f"throughput lost to {readers}", "%", live.slowed_by_readers, None, 5, most=LONG)
    yield Figure("one frame of 1,000 nodes that all have changed", "ms", ms(live.frame))
    yield Figure("layout of a flow of 1,000 nodes", "ms", ms(pages.layout))
    yield Figure("dashboard, from the click to the first value", "ms", ms(pages.first_value), None, 500, warm=True)
    yield Figure(
        "frames while a flow of 300 nodes is moved", "per second", pages.frames, None, 50, more=True, most=LONG
    )
