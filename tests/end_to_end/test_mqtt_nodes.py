"""mqtt-out and mqtt-in through a real broker: users, TLS, versions, sessions, waiting while it is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.end_to_end.living import living, publish
from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto
from tests.peers.until import until

pytestmark = pytest.mark.anyio

ROUND = """
flow: round
nodes:
  values: {{type: http-in, route: POST /values}}
  out: {{type: mqtt-out, from: values, {broker}, topic: "plant/{{site}}/state", qos: {qos}, retry: {{first: 100ms}}}}
  in: {{type: mqtt-in, {broker}, topic: plant/+/state, qos: {qos}, key: "{{topic_2}}"}}
"""


def flow_text(broker: str, qos: int = 1) -> str:
    return ROUND.format(broker=broker, qos=qos)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_round_trip(tmp_path: Path, protocol: str, qos: int) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        text = flow_text(f"broker: {broker.url}, protocol: '{protocol}'", qos)
        async with living(tmp_path / "data", text=text) as flow:
            await flow.until(lambda: flow.node("in", "round")["connected"] is True, "connected")
            for number in range(20):
                answer = await flow.http.post("/values", json={"site": "north", "number": number})
                assert answer.status_code == 200
            await flow.until(lambda: len(flow.seen.get("in", ())) >= 20, "all came back")
            assert [one.payload["number"] for one in flow.seen["in"]] == list(range(20))
            assert {one.key for one in flow.seen["in"]} == {"north"}


async def test_users_and_tls(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", users={"bess": "correct horse"}, tls=True) as broker:
        common = f"broker: {broker.url}, ca_file: {broker.ca_file}, username: bess"
        async with living(tmp_path / "data", text=flow_text(f"{common}, password: correct horse")) as flow:
            await flow.until(lambda: flow.node("in", "round")["connected"] is True, "logged in")
            await flow.http.post("/values", json={"site": "north", "number": 1})
            await flow.until(lambda: bool(flow.seen.get("in")), "it came back")
        async with living(tmp_path / "data", text=flow_text(f"{common}, password: battery staple")) as flow:
            await flow.until(lambda: flow.node("in", "round")["last_error"] is not None, "refused")
            error = flow.node("in", "round")["last_error"]
            assert "not authori" in error.lower() or "password" in error.lower()
            assert "battery staple" not in str(await flow.get("/api/v1/config"))
            assert "battery staple" not in error


async def test_messages_wait_while_the_broker_is_away(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        async with living(tmp_path / "data", text=flow_text(f"broker: {broker.url}")) as flow:
            await flow.until(lambda: flow.node("in", "round")["connected"] is True, "connected")
            broker.kill()
            await flow.until(lambda: flow.node("out", "round")["connected"] is False, "the broker is missed")
            for number in range(10):
                assert (await flow.http.post("/values", json={"site": "s", "number": number})).status_code == 200
            broker.start()
            await flow.until(lambda: flow.node("out", "round")["inbox"] == 0, "all are published")
            await flow.until(lambda: flow.node("out", "round")["connected"] is True, "connected again")
            assert flow.node("out", "round")["dropped"] == {}


HURRIED = """
flow: round
nodes:
  {name}: {{type: {kind}, broker: "mqtt://127.0.0.1:{port}", topic: news, retry: {{first: 10ms, max: 20ms}}{more}}}
  {other}
"""


@pytest.mark.parametrize(
    ("kind", "more", "other"),
    [("mqtt-in", "", ""), ("mqtt-out", ", from: tick", "tick: {type: inject, every: 1h, payload: 1}")],
)
async def test_a_connection_waits_no_longer_than_retry_says(tmp_path: Path, kind: str, more: str, other: str) -> None:
    """However often it was lost. A dozen waits that double from 0.2 s on are minutes."""
    tries = 0

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")  # welcome
        writer.close()

    async with await asyncio.start_server(hangs_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        text = HURRIED.format(name="node", kind=kind, port=port, more=more, other=other)
        async with living(tmp_path / "data", text=text):
            await until(lambda: tries >= 12, lambda: f"12 tries; there were {tries}")


PERSISTENT = """
flow: kept
nodes:
  in: {{type: mqtt-in, broker: "{url}", topic: news, qos: 1, persistent: true, client_id: flow-kept}}
"""


async def test_a_persistent_session_misses_nothing(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
        text = PERSISTENT.format(url=broker.url)
        async with living(tmp_path / "data", text=text) as flow:
            await broker.subscribed("news")
            await publish(broker.port, "news", "first")
            await flow.until(lambda: len(flow.seen.get("in", ())) == 1, "the first came")
        for number in range(5):
            await publish(broker.port, "news", f"while away {number}")
        async with living(tmp_path / "data", text=text) as flow:
            await flow.until(lambda: len(flow.seen.get("in", ())) == 5, "what was said meanwhile came")
            assert [one.payload for one in flow.seen["in"]] == [f"while away {number}" for number in range(5)]


RETAINED = """
flow: old
nodes:
  accept: {{type: mqtt-in, broker: "{url}", topic: state, retained: accept}}
  mark: {{type: mqtt-in, broker: "{url}", topic: state}}
  ignore: {{type: mqtt-in, broker: "{url}", topic: state, retained: ignore}}
"""


async def test_retained_policies(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        await publish(broker.port, "state", '{"old": 1}', retain=True)
        async with living(tmp_path / "data", text=RETAINED.format(url=broker.url)) as flow:
            await flow.until(lambda: {"accept", "mark"} <= set(flow.seen), "the retained message came")
            await flow.until(lambda: flow.node("ignore", "old")["dropped"] == {"retained": 1}, "one ignored it")
            assert flow.seen["accept"][0].quality == "good"
            assert flow.seen["mark"][0].quality == "uncertain"
            await publish(broker.port, "state", '{"new": 1}')
            await flow.until(lambda: bool(flow.seen.get("ignore")), "the live message came")
            assert flow.seen["ignore"][0].payload == {"new": 1}
            await flow.until(lambda: flow.seen["mark"][-1].payload == {"new": 1}, "to all of them")
            assert flow.seen["mark"][-1].quality == "good"


@pytest.mark.parametrize(("protocol", "said"), [("5", "the broker takes 1000"), ("3.1.1", "the broker hung up on it")])
async def test_a_message_too_large_does_not_block_those_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: str, said: str
) -> None:
    with Mosquitto(tmp_path / "broker", lines=["max_packet_size 1000"]) as broker:
        async with living(tmp_path / "data", text=flow_text(f"broker: {broker.url}, protocol: '{protocol}'")) as flow:
            await flow.until(lambda: flow.node("in", "round")["connected"] is True, "connected")
            await flow.http.post("/values", json={"site": "large", "text": "x" * 2000})
            await flow.http.post("/values", json={"site": "north", "number": 1})
            await flow.until(lambda: bool(flow.seen.get("in")), "the next one went through")
            assert flow.seen["in"][0].payload["number"] == 1
            (line,) = [one for one in caplog.messages if "round/out: mqtt-refused: " in one]
            assert said in line


async def test_a_text_just_too_large_for_a_message_stops_nobody_on_the_connection(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
        text = f"""
flow: round
nodes:
  a: {{type: mqtt-in, broker: {broker.url}, protocol: "3.1.1", topic: a}}
  b: {{type: mqtt-in, broker: {broker.url}, protocol: "3.1.1", topic: b}}
"""
        async with living(tmp_path / "data", text=text) as flow:
            await broker.subscribed("a", "b")
            await publish(broker.port, "a", "x" * (1 << 20))
            for number in range(40):  # more than the broker has out unacknowledged
                await publish(broker.port, "b", str(number))
            await flow.until(lambda: len(flow.seen.get("b", ())) >= 40, "all of the other one came")
            await flow.until(lambda: flow.node("a", "round")["errors"] == {"too-large": 1}, "and it is said")


async def test_the_one_that_the_broker_hangs_up_on_is_found_among_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Many are on their way at once when it ends the connection; none of the others is taken for the cause."""
    with Mosquitto(tmp_path / "broker", lines=["max_packet_size 1000"]) as broker:
        async with living(tmp_path / "data", text=flow_text(f"broker: {broker.url}, protocol: '3.1.1'")) as flow:
            await flow.until(lambda: flow.node("in", "round")["connected"] is True, "connected")
            broker.freeze()
            for number in range(30):
                text = "x" * 2000 if number == 7 else ""
                await flow.http.post("/values", json={"site": "north", "number": number, "text": text})
            broker.thaw()
            await flow.until(
                lambda: any(one.payload["number"] == 29 for one in flow.seen.get("in", ())), "the last went through"
            )
            numbers = list(dict.fromkeys(one.payload["number"] for one in flow.seen["in"]))
            assert [one for one in numbers if one > 7] == list(range(8, 30))
            refused = [one for one in caplog.messages if "round/out: mqtt-refused: " in one]
            assert [("the broker hung up on it" in one) for one in refused] == [True]
            assert flow.node("out", "round")["errors"]["mqtt-refused"] == 1


ONE_NAME = """
flow: twice
nodes:
  one: {{type: mqtt-in, broker: "{url}", topic: a, client_id: same}}
  alike: {{type: mqtt-in, broker: "{url}", topic: b, client_id: same}}
  other: {{type: mqtt-in, broker: "{url}", topic: a, client_id: same, protocol: "3.1.1"}}
"""


async def test_one_client_id_with_two_settings_is_refused(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
        async with living(tmp_path / "data", text=ONE_NAME.format(url=broker.url)) as flow:
            names = ("one", "alike", "other")

            def error_of(name: str) -> str | None:
                error: str | None = flow.node(name, "twice")["last_error"]
                return error

            await flow.until(
                lambda: all(flow.node(name, "twice")["connected"] or error_of(name) for name in names), "all have tried"
            )
            # Who comes first has the name; those with equal settings have it together.
            refused = {name for name in names if error_of(name)}
            assert refused in ({"one", "alike"}, {"other"})
            for name in refused:
                assert "uses the client id 'same' with other settings (protocol)" in str(error_of(name))
            await broker.subscribed("a")
            await publish(broker.port, "a", "1")
            works = "other" if "one" in refused else "one"
            await flow.until(lambda: bool(flow.seen.get(works)), "the first works undisturbed")
            assert error_of(works) is None
