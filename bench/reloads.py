"""Reloads of a running program, with messages on their way: how long they take, what they delay, what they lose."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from bench import node_red
from bench.flows import many_nodes, stream
from bench.programs import client, seconds
from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto
from tests.peers.mqtt_stream import Listener, Publisher
from tests.peers.program import Program
from tests.streams.account import account
from tests.streams.flow import arrivals, promised

DEPLOYS = 5
BETWEEN = 100
"""Messages that go through before the first change, between two, and after the last."""
PATIENCE_S = 5.0
"""What has not come so long after the last message was published does not come."""
TRANSPORT_S = 120.0

Runner = Callable[[Mosquitto], AbstractContextManager[Callable[[float], None]]]
"""Something that runs the stream's flow on a broker; what it gives changes the flow's factor, and returns when that
is applied."""


def with_one_changed(nodes: int) -> tuple[float, float]:
    """One of so many nodes changes while 200 messages a second run through others: seconds from the request to the
    answer that it is applied, and the longest delay of one of those messages, from publisher to listener (s)."""
    with _broker() as broker, Listener(broker.port, "plant/out/#") as sink:
        lines = stream(broker.url, 2)
        with _saved(many_nodes(nodes, every="1h", more=lines)) as save, _source(broker) as source:
            sink.until_more(BETWEEN)
            before, began = len(sink.heard), time.perf_counter()
            save(many_nodes(nodes, every="1h", more=lines, changed=41))
            took = time.perf_counter() - began
            sink.until_more(BETWEEN)
            source.stop()
        return took, max(one.delay_s for one in sink.heard[before:])


def nodered_with_one_changed(nodes: int) -> float:
    """Seconds of a deploy of the changed node in a flow of so many, by Node-RED. NotAtHand."""
    with node_red.serving(node_red.many_nodes(nodes)) as (port, _):
        node_red.deploy(port, node_red.many_nodes(nodes), "nodes")  # from now on it knows what it runs
        changed = node_red.many_nodes(nodes, limit=41)
        return seconds(lambda: node_red.deploy(port, changed, "nodes"))


def lost_by(runner: Runner) -> int:
    """Messages of QoS 1, 200 a second, that do not come out of a flow which is changed five times on the way."""
    with _broker() as broker, Listener(broker.port, "plant/out/#") as sink, runner(broker) as change:
        with _source(broker) as source:
            for number in range(DEPLOYS):
                sink.until_more(BETWEEN)
                change(3.0 + number)
            sink.until_more(BETWEEN)
            source.stop()

        def lost() -> int:
            found = account(promised(source.acknowledged, "plant/in"), arrivals(sink.heard, "plant/out"))
            return len(found.lost)

        with suppress(AssertionError):
            sink.until(lambda: not lost(), "nothing is lost", PATIENCE_S)
        return lost()


@contextmanager
def flowrunner(broker: Mosquitto) -> Iterator[Callable[[float], None]]:
    """A ``Runner``: the program as a user starts it."""

    def text(factor: float) -> str:
        return f"flow: stream\nnodes:\n{stream(broker.url, factor)}"

    with _saved(text(2)) as save:
        yield lambda factor: save(text(factor))


@contextmanager
def _saved(text: str) -> Iterator[Callable[[str], None]]:
    """The program with this flow; what it gives saves another one, asks for a reload and waits for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "flow.yaml"
        file.write_text(text, "utf-8")
        with Program(file, "--no-watch", data=folder / "data") as program:

            def save(changed: str) -> None:
                file.write_text(changed, "utf-8")
                answer = client().post(f"{program.url}/api/v1/reload", timeout=TRANSPORT_S)
                if answer.json().get("result") != "applied":
                    raise SystemExit(f"the flow was not reloaded: {answer.text}")

            yield save


@contextmanager
def _broker() -> Iterator[Mosquitto]:
    with tempfile.TemporaryDirectory() as folder:
        limits = ("max_queued_messages 0", "max_inflight_messages 0")  # the broker itself drops nothing
        with Mosquitto(Path(folder) / "broker", lines=(*TELLS_WHO_LISTENS, *limits)) as broker:
            yield broker


@contextmanager
def _source(broker: Mosquitto) -> Iterator[Publisher]:
    """Publishes as soon as the flow listens."""
    broker.until_said(" plant/in/+\n", times=1)
    with Publisher(broker.port, ["plant/in/{key}"]) as source:
        yield source
