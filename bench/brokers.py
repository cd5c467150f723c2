"""The MQTT driver with a broker and a runner on it: ours and Node-RED."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import mqtt, node_red
from bench.mqtt import BACK, TO, Measured
from tests.peers.mosquitto import Mosquitto

COUNT, WINDOW = 50_000, 500
PACED_S = 10
"""Seconds of paced messages."""


def window(qos: int, *, durable: bool = False) -> Measured:
    """As many as it can, ``WINDOW`` under way."""
    with _broker() as broker, mqtt.flowrunner(broker.url, qos, durable=durable) as process:
        return _many(broker, qos, process)


def red_window(qos: int) -> Measured:
    """The same by Node-RED. NotAtHand."""
    with _broker() as broker, node_red.serving(node_red.stream(broker.port, 2, qos)) as (_, process):
        return _many(broker, qos, process)


def paced(hertz: float) -> Measured:
    """So many a second, QoS 1."""
    with _broker() as broker, mqtt.flowrunner(broker.url, 1, durable=False) as process:
        return _few(broker, hertz, process)


def red_paced(hertz: float) -> Measured:
    """The same by Node-RED. NotAtHand."""
    with _broker() as broker, node_red.serving(node_red.stream(broker.port, 2, 1)) as (_, process):
        return _few(broker, hertz, process)


def _many(broker: Mosquitto, qos: int, process: int) -> Measured:
    found = mqtt.measure(broker.port, to=TO, back=BACK, count=COUNT, qos=qos, window=WINDOW, process=process)
    return _whole(found)


def _few(broker: Mosquitto, hertz: float, process: int) -> Measured:
    count = round(hertz * PACED_S)
    return _whole(mqtt.measure(broker.port, to=TO, back=BACK, count=count, qos=1, rate=hertz, process=process))


def _whole(found: Measured) -> Measured:
    if found.heard < found.sent:
        raise SystemExit(f"of {found.sent} messages {found.heard} came back")
    return found


@contextmanager
def _broker() -> Iterator[Mosquitto]:
    with tempfile.TemporaryDirectory() as folder:
        limits = ("max_queued_messages 0", "max_inflight_messages 0", "set_tcp_nodelay true")
        with Mosquitto(Path(folder) / "broker", lines=limits) as broker:
            yield broker
