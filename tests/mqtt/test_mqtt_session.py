"""What the broker keeps for us, and acknowledgements: nothing is lost, nothing is confirmed too early."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flowrunner.mqtt.client import CLAIM_S, Client
from tests.mqtt.conftest import PATIENCE_S, Inbox, MakeClient, settled, up
from tests.peers.mosquitto import Mosquitto
from tests.peers.proxy import Proxy

pytestmark = pytest.mark.anyio

KEPT = {"persistent": True, "client_id": "plant"}


@pytest.mark.parametrize("qos", [1, 2])
async def test_messages_of_the_time_away_arrive(
    broker: Mosquitto, client_of: MakeClient, protocol: str, qos: int
) -> None:
    first = client_of(broker, protocol=protocol, **KEPT)
    first.subscribe("a", qos, Inbox())
    await up(first)
    await settled(first)
    await first.close()
    sender = client_of(broker)
    await up(sender)
    for number in range(30):
        await sender.publish("a", b"%d" % number, qos)
    second, inbox = client_of(broker, protocol=protocol, **KEPT), Inbox()
    second.subscribe("a", qos, inbox)
    await up(second)
    assert [int(p.payload) for p in await inbox.until(30)] == list(range(30))


async def test_they_also_survive_a_restart_of_the_broker(tmp_path: Path, client_of: MakeClient, protocol: str) -> None:
    with Mosquitto(tmp_path, persistence=True) as broker:
        client, sender, inbox = client_of(broker, protocol=protocol, **KEPT), client_of(broker), Inbox()
        client.subscribe("a", 1, inbox)
        states = await up(client)
        sending = await up(sender)
        await settled(client)
        broker.stop()
        await states.until(False)
        broker.start()
        await sending.until(True)
        await states.until(True)
        await sender.publish("a", b"1", 1)
        assert (await inbox.until(1))[0].payload == b"1"


async def test_what_a_kept_session_brings_waits_for_its_subscriber(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    """Nodes open one after the other, and share the connection: the first must not lose the others' messages."""
    away = client_of(broker, protocol=protocol, **KEPT)
    away.subscribe("a", 1, Inbox())
    away.subscribe("b", 1, Inbox())
    await up(away)
    await settled(away)
    await away.close()
    sender = client_of(broker)
    await up(sender)
    for topic in ("a", "b", "a", "b"):
        await sender.publish(topic, topic.encode(), 1)
    client, first, second = client_of(broker, protocol=protocol, **KEPT), Inbox(), Inbox()
    client.subscribe("b", 1, second)
    await up(client)
    await second.until(2)
    client.subscribe("a", 1, first)
    await first.until(2)
    assert (first.payloads, second.payloads, client.dropped) == ([b"a", b"a"], [b"b", b"b"], {})


async def test_with_the_session_there_it_does_not_subscribe_again(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    """Else the retained messages would come again and look like news."""
    async with Proxy(broker.port) as line:
        client, inbox = client_of(f"mqtt://127.0.0.1:{line.port}", protocol=protocol, **KEPT), Inbox()
        states = await up(client)
        await client.publish("a", b"kept", 1, retain=True)
        client.subscribe("a", 1, inbox)
        await inbox.until(1)
        await settled(client)  # so that the acknowledgement is out
        line.cut()
        await states.until(False)
        await states.until(True)
        await client.publish("a", b"live", 1)
        await inbox.until(2)
        assert inbox.payloads == [b"kept", b"live"]
        await client.close()


async def redelivered(client: Client, broker: Mosquitto, client_of: MakeClient, protocol: str) -> Inbox:
    """What the broker brings again to the next client of the session; a last message shows the end."""
    await client.close()
    sender, successor, inbox = client_of(broker), client_of(broker, protocol=protocol, **KEPT), Inbox()
    await up(sender)
    await sender.publish("a", b"end", 1)
    successor.subscribe("a", 2, inbox)
    await up(successor)
    async with asyncio.timeout(5):
        while b"end" not in inbox.payloads:
            await inbox.until(len(inbox.packets) + 1)
    await settled(successor)
    await successor.close()
    return inbox


@pytest.mark.parametrize("qos", [1, 2])
async def test_unacknowledged_messages_come_again(
    broker: Mosquitto, client_of: MakeClient, protocol: str, qos: int
) -> None:
    client, inbox = client_of(broker, protocol=protocol, **KEPT), Inbox(ack=False)
    client.subscribe("a", 2, inbox)
    await up(client)
    for number in range(4):
        await client.publish("a", b"%d" % number, qos)
    packets = await inbox.until(4)
    packets[0].ack()
    packets[0].ack()
    packets[3].ack()  # has to wait for 1 and 2
    packets[2].ack()
    again = await redelivered(client, broker, client_of, protocol)
    assert again.payloads == [b"1", b"2", b"3", b"end"]
    assert [p.dup for p in again.packets] == [True, True, True, False]
    for packet in packets:
        packet.ack()  # the connection that they came by is gone: no effect, no error


@pytest.mark.parametrize("qos", [1, 2])
async def test_acknowledged_messages_do_not_come_again(
    broker: Mosquitto, client_of: MakeClient, protocol: str, qos: int
) -> None:
    client, inbox = client_of(broker, protocol=protocol, **KEPT), Inbox(ack=False)
    client.subscribe("a", 2, inbox)
    await up(client)
    for number in range(60):  # more than a broker has under way at once: each answer makes room
        await client.publish("a", b"%d" % number, qos)
        if number % 7 == 6:
            await inbox.until(number + 1)
            for packet in reversed(inbox.packets):
                packet.ack()
    for packet in await inbox.until(60):
        packet.ack()
    assert (await redelivered(client, broker, client_of, protocol)).payloads == [b"end"]


async def test_an_abandoned_message_holds_back_nobody_and_comes_again(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client, inbox = client_of(broker, protocol=protocol, **KEPT), Inbox(ack=False)
    client.subscribe("a", 1, inbox)
    await up(client)
    for number in range(3):
        await client.publish("a", b"%d" % number, 1)
    first, second, third = await inbox.until(3)
    third.ack()
    first.abandon()
    second.ack()
    assert (await redelivered(client, broker, client_of, protocol)).payloads == [b"0", b"end"]


async def test_the_broker_hears_it_when_all_receivers_are_done(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client, quick, slow = client_of(broker, protocol=protocol, **KEPT), Inbox(), Inbox(ack=False)
    client.subscribe("a", 1, quick)
    client.subscribe("a", 1, slow)
    await up(client)
    await client.publish("a", b"1", 1)
    await asyncio.gather(quick.until(1), slow.until(1))
    assert (await redelivered(client, broker, client_of, protocol)).payloads == [b"1", b"end"]


async def test_a_qos_2_message_whose_answer_got_lost_is_not_handed_on_twice(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    async with Proxy(broker.port) as line:
        client, inbox = client_of(f"mqtt://127.0.0.1:{line.port}", protocol=protocol, **KEPT), Inbox(ack=False)
        sender = client_of(broker)
        client.subscribe("a", 2, inbox)
        states = await up(client)
        await up(sender)
        await settled(client)
        line.garble("to_server", lambda _: b"")
        await sender.publish("a", b"once", 2)
        (packet,) = await inbox.until(1)
        packet.ack()
        line.cut()
        line.garble("to_server", None)
        await states.until(False)
        await states.until(True)
        await sender.publish("a", b"next", 2)
        _, following = await inbox.until(2)
        following.ack()
        assert inbox.payloads == [b"once", b"next"]
        await client.close()
    assert (await redelivered(client, broker, client_of, protocol)).payloads == [b"end"]


async def test_a_message_with_qos_1_whose_answer_got_lost_comes_again_marked(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    async with Proxy(broker.port) as line:
        client, inbox = client_of(f"mqtt://127.0.0.1:{line.port}", protocol=protocol, **KEPT), Inbox(ack=False)
        sender = client_of(broker)
        client.subscribe("a", 1, inbox)
        states = await up(client)
        await up(sender)
        await settled(client)
        await sender.publish("a", b"1", 1)
        (packet,) = await inbox.until(1)
        line.cut()
        await states.until(False)
        await states.until(True)
        _, again = await inbox.until(2)
        packet.ack()  # of the old connection: must not count for the new one
        assert (again.payload, again.dup) == (b"1", True)
        await client.close()
    assert (await redelivered(client, broker, client_of, protocol)).payloads == [b"1", b"end"]


async def test_who_leaves_before_the_end_keeps_what_comes_meanwhile(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    """At a clean stop sources leave first, and the connection ends when all is handed on: what the broker has from
    then on is for the next run."""
    first, inbox = client_of(broker, protocol=protocol, **KEPT), Inbox()
    subscriptions = [first.subscribe(topic, 1, inbox) for topic in ("a", "b")]
    await up(first)
    await settled(first)
    sender = client_of(broker)
    await up(sender)
    for one in subscriptions:
        one.close()
    await settled(first)
    await sender.publish("a", b"1", 1)
    await first.close()
    await sender.publish("b", b"2", 1)
    second = client_of(broker, protocol=protocol, **KEPT)
    for topic in ("a", "b"):
        second.subscribe(topic, 1, inbox)
    await up(second)
    assert [one.payload for one in await inbox.until(2)] == [b"1", b"2"]


@pytest.mark.parametrize("kept", [KEPT, {}], ids=["kept", "not-kept"])
async def test_who_is_ended_hears_of_it_and_the_broker_keeps_nothing_more_for_it(
    broker: Mosquitto, client_of: MakeClient, protocol: str, kept: dict[str, Any]
) -> None:
    """Also the last one of its connection: a source whose successor listens by another connection."""
    first, inbox, ended = client_of(broker, protocol=protocol, **kept), Inbox(), asyncio.Event()
    one = first.subscribe("a", 1, inbox)
    await up(first)
    await settled(first)
    sender = client_of(broker)
    await up(sender)
    await sender.publish("a", b"1", 1)
    one.end(ended.set)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    assert inbox.payloads == [b"1"]
    await sender.publish("a", b"2", 1)
    await settled(first)
    await first.close()
    second = client_of(broker, protocol=protocol, **kept)
    second.subscribe("a", 1, inbox)
    await up(second)
    await settled(second)
    assert inbox.payloads == [b"1"]


async def test_what_waits_for_its_subscriber_holds_up_no_end(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    """A resumed session brings for ten seconds what others may want; who is ended meanwhile does not wait for them."""
    away = client_of(broker, protocol=protocol, **KEPT)
    for topic in ("a", "b"):
        away.subscribe(topic, 1, Inbox())
    await up(away)
    await settled(away)
    await away.close()
    sender = client_of(broker)
    await up(sender)
    await sender.publish("b", b"for nobody yet", 1)
    client, inbox, ended = client_of(broker, protocol=protocol, **KEPT), Inbox(), asyncio.Event()
    one = client.subscribe("a", 1, inbox)
    await up(client)
    await settled(client)
    one.end(ended.set)
    async with asyncio.timeout(CLAIM_S / 2):
        await ended.wait()
