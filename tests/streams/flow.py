"""The broker between the peers and the program, and how deliveries are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto
from tests.peers.mqtt_stream import Heard

LOSES_NOTHING = (
    "max_queued_messages 0",  # no limits: what the broker drops by itself is no finding about us
    "max_queued_bytes 0",
    "max_inflight_messages 0",
    "persistent_client_expiration 1d",
)


def broker_of(folder: Path, *lines: str) -> Mosquitto:
    """A broker that keeps everything, and writes into ``folder/broker.log`` who comes and goes.

    It may be stopped and started, never killed: Mosquitto acknowledges a message before it saves it, however often
    it is told to save.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = (f"log_dest file {folder / 'broker.log'}", "log_type notice", "log_timestamp false")
    return Mosquitto(
        folder, persistence=True, lines=(*LOSES_NOTHING, *log, *TELLS_WHO_LISTENS, "connection_messages true", *lines)
    )


def connects(broker_folder: Path, client: str) -> int:
    """How often the client of this name has connected."""
    lines = (broker_folder / "broker.log").read_text("utf-8").splitlines()
    return sum("New client connected" in line and f" as {client} " in line for line in lines)


def key_of(topic: str) -> str:
    """``plant/out/a`` → ``a``."""
    return topic.rpartition("/")[2]


def arrivals(heard: Sequence[Heard], branch: str) -> list[tuple[str, int]]:
    """The deliveries on ``branch/…`` as (key, number)."""
    return [(key_of(one.topic), one.number) for one in heard if one.topic.startswith(f"{branch}/")]


def promised(acknowledged: Mapping[str, Sequence[int]], branch: str) -> dict[str, Sequence[int]]:
    """What the broker took from the publisher for ``branch/…``, by key."""
    return {key_of(topic): numbers for topic, numbers in acknowledged.items() if topic.startswith(f"{branch}/")}
