"""The client against a real broker: in and out, reconnecting, sharing, back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from flowrunner.errors import NotConnected
from flowrunner.mqtt.client import Announcement, Client, HungUp, Packet
from flowrunner.mqtt.outbox import MAXIMUM
from tests.mqtt.conftest import PATIENCE_S, Inbox, MakeClient, States, settled, up
from tests.peers.mosquitto import Mosquitto, free_port

pytestmark = pytest.mark.anyio

ONE_LOOP = pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
"""For tests that have to wait for real seconds."""


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_goes_out_and_comes_in(
    broker: Mosquitto, client_of: MakeClient, protocol: str, qos: int
) -> None:
    client, inbox = client_of(broker, protocol=protocol), Inbox()
    client.subscribe("plant/+/power", qos, inbox)
    await up(client)
    for number in range(50):
        await client.publish("plant/7/power", b"%d" % number, qos)
    packets = await inbox.until(50)
    assert [int(packet.payload) for packet in packets] == list(range(50))
    assert {(packet.topic, packet.qos, packet.retain, packet.dup) for packet in packets} == {
        ("plant/7/power", qos, False, False)
    }
    assert [packet.received for packet in packets] == list(range(1, 51))


async def test_properties_travel_with_mqtt_5(broker: Mosquitto, client_of: MakeClient) -> None:
    client, inbox = client_of(broker), Inbox()
    client.subscribe("a", 1, inbox)
    await up(client)
    await client.publish("a", b"1", 1, expiry_s=60, properties={"content_type": "x/y", "user": {"k": "v"}})
    (packet,) = await inbox.until(1)
    assert packet.properties == {"content_type": "x/y", "expiry_s": 60, "user": {"k": "v"}}
    with pytest.raises(ValueError, match="'colour' is not known"):
        await client.publish("a", b"1", 1, properties={"colour": 1})


async def test_expiry_needs_mqtt_5(broker: Mosquitto, client_of: MakeClient) -> None:
    client = client_of(broker, protocol="3.1.1")
    with pytest.raises(ValueError, match='set protocol: "5"'):
        await client.publish("a", b"1", expiry_s=60)


async def test_publish_refuses_what_is_no_topic(broker: Mosquitto, client_of: MakeClient) -> None:
    with pytest.raises(ValueError, match="stand only in filters"):
        await client_of(broker).publish("a/#", b"1")


async def test_many_large_messages_at_once(broker: Mosquitto, client_of: MakeClient, protocol: str) -> None:
    """More than the window of unacknowledged messages and the socket's buffers hold."""
    client, inbox = client_of(broker, protocol=protocol), Inbox()
    client.subscribe("a", 1, inbox)
    await up(client)
    await asyncio.gather(*(client.publish("a", bytes([n]) * 100_000, 1) for n in range(250)))
    assert sorted(payload[0] for payload in (p.payload for p in await inbox.until(250))) == list(range(250))


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_many_under_way_at_once_keep_their_order(
    broker: Mosquitto, client_of: MakeClient, protocol: str, qos: int
) -> None:
    client, inbox, ends, most = client_of(broker, protocol=protocol), Inbox(), list[Exception | None](), 0
    client.subscribe("a", qos, inbox)
    await up(client)
    for number in range(500):
        await client.room(qos)
        client.send("a", b"%d" % number, qos, False, ends.append)
        most = max(most, number + 1 - len(ends))
    packets = await inbox.until(500)
    await settled(client)
    assert [int(packet.payload) for packet in packets] == list(range(500))
    assert ends == [None] * 500
    assert most == 1 if (protocol, qos) == ("3.1.1", 2) else 1 < most <= (MAXIMUM if qos else 500)


async def wishing(client: Client, count: int, qos: Sequence[int] = (1,)) -> list[asyncio.Task[None]]:
    """Publishes that have got as far as they get without the broker; ``qos``: of one after the other, in turn."""
    begun = asyncio.Semaphore(0)

    async def publish(number: int) -> None:
        begun.release()  # whoever hears of it has its turn when this one waits for the broker
        await client.publish("a", b"%d" % number, qos[number % len(qos)])

    tasks = [asyncio.create_task(publish(number)) for number in range(count)]
    for _ in tasks:
        await begun.acquire()
    return tasks


async def test_who_waits_for_room_and_gives_up_takes_nobody_elses_turn(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client, ends = client_of(broker, protocol=protocol), list[Exception | None]()
    await up(client)
    broker.freeze()
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 1000:
            async with asyncio.timeout(0.05):
                await client.room(1)
            client.send("a", b"", 1, False, ends.append)
            sent += 1
    assert 0 < sent <= MAXIMUM
    waiting = await wishing(client, 5)
    for one in waiting[:-1]:
        one.cancel()
    broker.thaw()
    async with asyncio.timeout(PATIENCE_S):
        await waiting[-1]
    assert ends == [None] * sent


async def test_publish_says_when_there_is_no_connection(client_of: MakeClient) -> None:
    client = client_of(f"mqtt://127.0.0.1:{free_port()}")
    with pytest.raises(NotConnected, match="not connected"):
        await client.publish("a", b"1", 1)
    states = States(client)
    client.start()
    reason = await states.until(False)
    assert "connection refused; is the broker running" in reason
    assert client.last_error == reason
    with pytest.raises(NotConnected, match="connection refused"):
        await client.publish("a", b"1")


async def test_what_waits_for_an_answer_hears_when_the_broker_dies(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client = client_of(broker, protocol=protocol)
    await up(client)
    broker.freeze()
    waiting = await wishing(client, 150, qos=(1, 2))
    broker.kill()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {NotConnected, HungUp}
    assert [type(result) for result in results].count(HungUp) == 1  # only the oldest is under suspicion
    assert not client.connected


async def test_it_comes_back_and_subscribes_again_when_the_broker_does(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client, inbox = client_of(broker, protocol=protocol), Inbox()
    client.subscribe("a/#", 1, inbox)
    states = await up(client)
    broker.kill()
    assert "the connection broke" in (reason := await states.until(False)) or "closed" in reason
    await states.until(False, "connection refused")
    broker.start()
    await states.until(True)
    assert client.last_error == ""
    await client.publish("a/b", b"again", 1)
    assert (await inbox.until(1))[0].payload == b"again"


@ONE_LOOP
async def test_a_broker_that_falls_silent_is_noticed(broker: Mosquitto, client_of: MakeClient) -> None:
    client = client_of(broker, keepalive=1)
    states = await up(client)
    broker.freeze()
    assert "the broker is silent for" in await states.until(False)
    broker.thaw()
    await states.until(True)


@ONE_LOOP
async def test_a_quiet_connection_is_kept_alive(tmp_path: Path, client_of: MakeClient) -> None:
    """Mosquitto throws out who says nothing for one and a half keepalives; also while nothing is read."""
    with Mosquitto(tmp_path, lines=["log_type debug"]) as broker:
        reader, paused = (client_of(broker, keepalive=1, client_id=name) for name in ("reader", "paused"))
        states = [await up(reader), await up(paused)]
        paused.pause()
        async with asyncio.timeout(PATIENCE_S):  # a ping comes after half a keepalive at the earliest
            await asyncio.to_thread(broker.until_said, "PINGREQ from reader", "PINGREQ from paused", times=4)
        assert reader.connected
        assert paused.connected
        assert [one.seen for one in states] == [[], []]


async def test_retained_messages_are_seen_as_such(broker: Mosquitto, client_of: MakeClient, protocol: str) -> None:
    client, inbox = client_of(broker, protocol=protocol), Inbox()
    await up(client)
    await client.publish("a", b"old", 1, retain=True)
    client.subscribe("a", 1, inbox)
    await inbox.until(1)
    await client.publish("a", b"new", 1, retain=True)
    assert [(p.payload, p.retain) for p in await inbox.until(2)] == [(b"old", True), (b"new", False)]


async def test_a_late_subscriber_of_a_filter_gets_the_retained_and_the_elder_not_again(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client, elder, late = client_of(broker, protocol=protocol), Inbox(), Inbox()
    client.subscribe("a/#", 1, elder)
    await up(client)
    await client.publish("a/b", b"kept", 1, retain=True)
    await elder.until(1)
    client.subscribe("a/#", 1, late)
    assert [p.payload for p in await late.until(1)] == [b"kept"]
    await client.publish("a/b", b"live", 1)
    await asyncio.gather(elder.until(2), late.until(2))
    assert elder.payloads == late.payloads == [b"kept", b"live"]


async def test_shared_subscriptions_split(broker: Mosquitto, client_of: MakeClient, protocol: str) -> None:
    inboxes, both = (Inbox(), Inbox()), Inbox()
    for inbox in inboxes:
        worker = client_of(broker, protocol=protocol)

        def receive(packet: Packet, inbox: Inbox = inbox) -> None:
            inbox(packet)
            both(packet)

        worker.subscribe("$share/g/job/+", 1, receive)
        await up(worker)
        await settled(worker)
    sender = client_of(broker)
    await up(sender)
    for number in range(20):
        await sender.publish("job/x", b"%d" % number, 1)
    await both.until(20)
    assert sorted(map(int, both.payloads)) == list(range(20))
    assert all(inbox.packets for inbox in inboxes)


async def test_overlapping_filters_hand_each_message_once_to_each(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client = client_of(broker, protocol=protocol)
    patterns = ["a/#", "a/b", "a/+", "a/b", "c"]
    inboxes = [Inbox() for _ in patterns]
    for pattern, inbox in zip(patterns, inboxes, strict=True):
        client.subscribe(pattern, 1, inbox)
    await up(client)
    for topic in ("a/b", "a/c", "c"):
        await client.publish(topic, topic.encode(), 1)
        await client.publish(topic, topic.encode(), 1)  # a true repeat is no copy
    await asyncio.gather(*(inbox.until(2) for inbox in inboxes))
    await settled(client)
    got = [[payload.decode() for payload in inbox.payloads] for inbox in inboxes]
    ab, ac = ["a/b", "a/b"], ["a/c", "a/c"]
    assert got == [ab + ac, ab, ab + ac, ab, ["c", "c"]]


async def test_filters_that_cross_need_mqtt_5(broker: Mosquitto, client_of: MakeClient) -> None:
    new, old = client_of(broker), client_of(broker, protocol="3.1.1")
    inboxes = [Inbox() for _ in range(4)]
    subscriptions = [
        client.subscribe(pattern, 1, inbox)
        for (client, pattern), inbox in zip(
            [(new, "a/+"), (new, "+/b"), (old, "a/+"), (old, "+/b")], inboxes, strict=True
        )
    ]
    states = await up(old)
    await up(new)
    await settled(old)
    await settled(new)
    await new.publish("a/b", b"1", 1)
    await asyncio.gather(*(inbox.until(1) for inbox in inboxes[:3]))
    await settled(new)
    await settled(old)
    assert [len(inbox.packets) for inbox in inboxes] == [1, 1, 1, 0]
    assert "filter '+/b' crosses 'a/+'" in subscriptions[3].error
    assert subscriptions[3].error in [reason for _, reason in states.seen]
    assert [one.error for one in subscriptions[:3]] == ["", "", ""]


async def test_a_closed_subscription_gets_nothing_and_the_others_go_on(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    client, first, second = client_of(broker, protocol=protocol), Inbox(), Inbox()
    one = client.subscribe("a/#", 1, first)
    client.subscribe("a/b", 1, second)
    await up(client)
    await client.publish("a/b", b"1", 1)
    await asyncio.gather(first.until(1), second.until(1))
    one.close()
    one.close()
    await settled(client)
    await client.publish("a/b", b"2", 1)
    await client.publish("a/c", b"3", 1)
    await second.until(2)
    await settled(client)
    assert first.payloads == [b"1"]
    assert second.payloads == [b"1", b"2"]


async def test_the_last_user_of_a_filter_unsubscribes(broker: Mosquitto, client_of: MakeClient, protocol: str) -> None:
    client, inbox = client_of(broker, protocol=protocol), Inbox()
    users = [client.subscribe("a", 1, inbox) for _ in range(2)]
    await up(client)
    for user in users:
        user.close()
    await settled(client)
    await client.publish("a", b"1", 1)
    await settled(client)
    assert (inbox.payloads, client.dropped) == ([], {})


async def test_a_refused_subscription_says_so(tmp_path: Path, client_of: MakeClient, protocol: str) -> None:
    with Mosquitto(tmp_path, no_subscribe=["secret/#"]) as broker:
        client, inbox = client_of(broker, protocol=protocol), Inbox()
        refused = client.subscribe("secret/x", 1, inbox)
        good = client.subscribe("open/x", 1, inbox)
        states = await up(client)
        reason = await states.until(True, "refuses the subscription to 'secret/x'")
        assert (refused.error, good.error) == (reason, "")
        await client.publish("open/x", b"1", 1)
        await inbox.until(1)


async def test_while_paused_nothing_is_handed_on_and_nothing_lost(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    reader, sender, inbox = client_of(broker, protocol=protocol), client_of(broker), Inbox()
    reader.subscribe("a", 1, inbox)
    await up(reader)
    await up(sender)
    await settled(reader)
    reader.pause("flow")
    reader.pause("other")
    for number in range(30):
        await sender.publish("a", bytes([number]) * 50_000, number % 2)
    reader.resume("other")
    await settled(sender)
    assert inbox.packets == []
    reader.resume("flow")
    # Across QoS 0 and 1 a broker need not keep the order.
    assert sorted(p.payload[0] for p in await inbox.until(30)) == list(range(30))


async def test_pausing_from_inside_a_subscriber_stops_at_once(broker: Mosquitto, client_of: MakeClient) -> None:
    client, got = client_of(broker), Inbox()

    def receive(packet: Packet) -> None:
        got(packet)
        client.pause()

    client.subscribe("a", 0, receive)
    await up(client)
    for number in range(5):
        await client.publish("a", b"%d" % number)
    for number in range(5):
        await got.until(number + 1)
        await client.publish("b", b"", 1)  # its answer comes after all five, which wait meanwhile
        assert len(got.packets) == number + 1
        client.resume()
    assert got.payloads == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_paused_client_still_hears_the_answers_to_what_it_publishes(
    broker: Mosquitto, client_of: MakeClient, protocol: str
) -> None:
    """A flow that reads and writes by one connection must not stop itself."""
    client, sender, inbox = client_of(broker, protocol=protocol), client_of(broker), Inbox()
    client.subscribe("a", 1, inbox)
    await up(client)
    await up(sender)
    await settled(client)
    client.pause()
    for number in range(10):
        await sender.publish("a", b"%d" % number, 1)
    async with asyncio.timeout(3):
        await client.publish("b", b"", 2)
    assert inbox.packets == []
    client.resume()
    assert [int(p.payload) for p in await inbox.until(10)] == list(range(10))


async def test_a_payload_beyond_the_cap_is_dropped_and_told(broker: Mosquitto, client_of: MakeClient) -> None:
    client, inbox = client_of(broker, max_payload=1000), Inbox()
    client.subscribe("a", 1, inbox)
    states = await up(client)
    await client.publish("a", b"x" * 1001, 1)
    await client.publish("a", b"x" * 1000, 1)
    (packet,) = await inbox.until(1)
    assert len(packet.payload) == 1000
    assert client.dropped == {"too-large": 1}
    assert "message on 'a' dropped: 1001 bytes; 1000 are allowed" in await states.until(True, "dropped")


async def test_a_subscriber_that_raises_harms_nobody(
    broker: Mosquitto, client_of: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client, inbox = client_of(broker), Inbox()

    def broken(packet: Packet) -> None:
        raise RuntimeError("a bug")

    client.subscribe("a", 1, broken)
    client.subscribe("a", 1, inbox)
    await up(client)
    await client.publish("a", b"1", 1)
    await client.publish("a", b"2", 1)
    await inbox.until(2)
    assert "a subscriber of 'a' failed" in caplog.text
    assert "a bug" in caplog.text


async def test_will_and_birth(broker: Mosquitto, client_of: MakeClient, protocol: str) -> None:
    watcher, inbox = client_of(broker), Inbox()
    watcher.subscribe("state", 1, inbox)
    await up(watcher)
    await settled(watcher)
    client = client_of(
        broker,
        protocol=protocol,
        client_id="x",
        birth=Announcement("state", b"on", 1),
        will=Announcement("state", b"off", 1),
    )
    states = await up(client)
    await inbox.until(1)
    await up(client_of(broker, protocol=protocol, client_id="x"))  # takes the place of the other
    assert (await inbox.until(2), inbox.payloads) == (inbox.packets, [b"on", b"off"])
    # Newer brokers name the reason in MQTT 5, this one just closes; both texts point to the client id.
    assert "the client id 'x'" in await states.until(False)


async def test_start_and_close_can_be_repeated(broker: Mosquitto, client_of: MakeClient) -> None:
    client, inbox = client_of(broker), Inbox()
    client.subscribe("a", 1, inbox)
    await client.close()
    for _ in range(2):
        client.start()
        await up(client)
        await client.publish("a", b"1", 1)
        await client.close()
        await client.close()
        assert not client.connected
    assert inbox.payloads == [b"1", b"1"]


async def test_closing_while_connecting_leaves_nothing_behind(client_of: MakeClient) -> None:
    """A server that takes the connection and says nothing."""
    taken = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    client = client_of(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    client.start()
    await taken.wait()
    async with asyncio.timeout(1):
        await client.close()
    server.close()


YES = b"\x20\x02\x00\x00"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n" + b"Server: none\r\n" * 10,
        YES + b"\x30\xff\xff\xff\xff\xff",  # no length
        YES + b"\x30\x04\x00\x02\xff\xfe",  # a topic that is not UTF-8
        YES + b"\x30\x04\xff\xffab",  # a topic longer than its packet
    ],
)
async def test_a_peer_that_does_not_speak_mqtt(client_of: MakeClient, said: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    client = client_of(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", protocol="3.1.1")
    states = States(client)
    client.start()
    assert "sent what is not MQTT 3.1.1" in await states.until(False)
    await client.close()
    server.close()
