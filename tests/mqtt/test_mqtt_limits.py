"""Messages beyond what a broker takes: refused one by one, and the connection lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from flowrunner.errors import Reject
from flowrunner.message import JSON, Message
from flowrunner.mqtt.client import HungUp, Suspicion
from flowrunner.node import Context, InFlight
from flowrunner.template import Text
from nodes.mqtt_out import MqttOut
from tests.mqtt.conftest import Inbox, MakeClient, up
from tests.peers.mosquitto import Mosquitto

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_size_limit_is_exact(tmp_path: Path, client_of: MakeClient, qos: int) -> None:
    """The broker itself is the judge of what fits: it would end the connection on one byte more."""
    with Mosquitto(tmp_path, lines=["max_packet_size 1000"]) as broker:
        client, inbox = client_of(broker), Inbox()
        client.subscribe("a", 0, inbox)
        states = await up(client)
        extra = {"expiry_s": 60, "properties": {"user": {"k": "v"}}}
        head = 3 + 2 + 1 + (2 if qos else 0) + 1
        properties = 5 + 1 + 2 + 1 + 2 + 1
        await client.publish("a", bytes(1000 - head - properties), qos, **extra)  # type: ignore[arg-type]  # mixed
        with pytest.raises(Reject, match="it has 1001 bytes and the broker takes 1000") as refused:
            await client.publish("a", bytes(1001 - head), qos)
        assert refused.value.code == "mqtt-refused"
        await client.publish("a", b"next", 1)
        assert (await inbox.until(2))[-1].payload == b"next"
        assert states.seen == []  # no change since it came up


async def test_many_refusals_do_not_use_up_the_window(tmp_path: Path, client_of: MakeClient) -> None:
    with Mosquitto(tmp_path, lines=["max_packet_size 1000"]) as broker:
        client = client_of(broker)
        await up(client)
        for _ in range(150):
            with pytest.raises(Reject):
                await client.publish("a", bytes(1000), 1)
        await client.publish("a", b"fits", 1)


async def test_retain_where_the_broker_keeps_none(tmp_path: Path, client_of: MakeClient) -> None:
    with Mosquitto(tmp_path, lines=["retain_available false"]) as broker:
        client = client_of(broker)
        states = await up(client)
        with pytest.raises(Reject, match="keeps no retained messages; set retain: false"):
            await client.publish("a", b"1", 1, retain=True)
        await client.publish("a", b"1", 1)
        assert states.seen == []


async def test_qos_above_the_brokers(tmp_path: Path, client_of: MakeClient) -> None:
    with Mosquitto(tmp_path, lines=["max_qos 1"]) as broker:
        client = client_of(broker)
        states = await up(client)
        with pytest.raises(Reject, match="takes QoS 1 at most and this has 2; set qos: 1"):
            await client.publish("a", b"1", 2)
        await client.publish("a", b"1", 1)
        assert states.seen == []


async def test_mqtt_3_tells_which_message_it_hung_up_on(tmp_path: Path, client_of: MakeClient) -> None:
    with Mosquitto(tmp_path, lines=["max_packet_size 1000"]) as broker:
        client = client_of(broker, protocol="3.1.1")
        states = await up(client)
        with pytest.raises(HungUp):
            await client.publish("a", bytes(2000), 1)
        await states.until(True)
        await client.publish("a", b"next", 1)


def test_suspicion_needs_three_in_a_row_for_one_message() -> None:
    suspicion = Suspicion()
    assert [suspicion.hung_up(one) for one in ("a", "a", "b", "a", "a", "a")] == [False] * 5 + [True]
    suspicion.clear()
    assert not suspicion.hung_up("a")


def test_after_a_hang_up_as_many_leave_alone_as_were_on_their_way() -> None:
    suspicion = Suspicion()
    suspicion.beside()  # of a connection that broke for another reason
    assert not suspicion
    suspicion.hung_up("a")
    suspicion.beside()
    suspicion.beside()
    for _ in range(3):
        assert suspicion
        suspicion.passed()
    assert not suspicion


class Sky:
    """What mqtt-out needs of a context while it processes."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def in_flight(self) -> InFlight:
        return self

    def done(self) -> None:
        self.over.set_result(None)

    def failed(self, error: Exception) -> None:
        self.over.set_exception(error)


async def test_a_payload_that_is_no_text_is_not_the_topics_fault(broker: Mosquitto, client_of: MakeClient) -> None:
    """As a text it cannot be sent; in a record JSON can escape it."""
    node = MqttOut("out", MqttOut.Options(broker=broker.url, topic="a"))
    node.client, node.topic, node.suspicion, node.expiry_s = client_of(broker), Text("a"), Suspicion(), None
    inbox = Inbox()
    node.client.subscribe("a", 1, inbox)
    await up(node.client)

    async def process(payload: JSON) -> None:
        sky = Sky()
        await node.process(Message(payload=payload, at=0, received_at=0, source="test"), cast(Context, sky))
        await sky.over

    with pytest.raises(Reject, match="lone surrogate") as refused:
        await process("\ud800")
    assert refused.value.code == "payload"
    await process({"text": "\ud800"})
    assert [one.payload for one in await inbox.until(1)] == [b'{"text":"\\ud800"}']
