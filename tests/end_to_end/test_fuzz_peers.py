"""Peers that talk nonsense: no node dies of it, and no nonsense becomes a value."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.end_to_end.living import living, publish
from tests.end_to_end.test_three_ways import environment
from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto

pytestmark = pytest.mark.anyio

NONSENSE = [
    b"", b"\x00", b"\xff\xfe", b"nan", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"null", b"true", b"[]", b"{}",
    b'"75"', b'{"value": null}', b'{"value": "75"}', b'{"value": true}', b'{"value": NaN}', b'{"value": [1]}',
    b'{"value": {"value": 1}}', b'{"value": 1e999}', b'{"value": 101}', b'{"value": -0.1}', b'{"value": 7, "unit": 5}',
    b'{"value": 7, "unit": "MW"}', b'{"value": 7, "timestamp": "yesterday"}', b'{"value": 7, "timestamp": {}}',
    b'{"value": 7, "timestamp": "2025-01-25T20:30:00"}', b'{"val": 7}', b"{" * 5000, b"[" * 100_000,
    b"9" * 5000, b'{"value": ' + b"9" * 5000 + b"}", b'{"value": 7', "７５".encode(), b"75,5", b"0x4B",
    b"\xef\xbb\xbf75",
]  # fmt: skip


async def test_mqtt_payloads_of_nonsense_never_become_a_value(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  (fuzz, the same every time)
    payloads = [*NONSENSE, *(chance.randbytes(chance.randrange(1, 60)) for _ in range(40))]
    with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
        async with living(tmp_path / "data", environment=environment(broker=broker)) as flow:
            await broker.subscribed("bess/soc", "bess/power")
            await publish(broker.port, "bess/soc", "50")
            for payload in payloads:
                await publish(broker.port, "bess/soc", payload)
            await publish(broker.port, "bess/power", "1.25")
            await flow.until_status(lambda one: one["active_power_mw"] == 1.25, "everything before it was judged")
            values = [one.payload["soc_percent"] for one in flow.seen["mqtt"] if "soc_percent" in one.payload]
            assert values == [50]
            assert sum(flow.node("mqtt")["errors"].values()) == len(payloads)
            assert flow.node("mqtt")["restarts"] == 0
            await publish(broker.port, "bess/soc", "51")
            await flow.until_status(lambda one: one["soc_percent"] == 51, "good values still count")


async def test_a_device_that_talks_nonsense_gives_no_value(tmp_path: Path) -> None:
    chance = random.Random(11)  # noqa: S311  (fuzz, the same every time)
    answered = 0

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        while head := await reader.read(12):
            answered += 1
            kind = answered % 6
            good = head[:2] + b"\x00\x00\x00\x09" + head[6:8] + b"\x06" + bytes(6)
            answer = {
                0: chance.randbytes(chance.randrange(1, 40)),
                1: good[:-3],  # cut off
                2: head[:2] + b"\x00\x00\x00\x05" + head[6:8] + b"\x02\x00\x01",  # one register of three
                3: b"\xff\xff" + good[2:],  # another transaction
                4: good[:7] + b"\x04" + good[8:],  # another function
                5: head[:2] + b"\x00\x00\x00\x03" + head[6:7] + b"\x83\x63",  # an exception that does not exist
            }[kind]
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = f"""
flow: odd
nodes:
  device:
    type: modbus-in
    host: 127.0.0.1
    port: {port}
    every: 20ms
    timeout: 60ms
    retry: {{first: 10ms, max: 20ms}}
    registers: {{a: {{address: 0}}, b: {{address: 1, type: int16}}, c: {{address: 2}}}}
"""
    try:
        async with living(tmp_path / "data", text=text) as flow:
            await flow.until(lambda: answered >= 40, "forty answers of nonsense")
            assert [one.payload for one in flow.seen.get("device", ()) if one.payload] == []
            assert sum(flow.node("device", "odd")["errors"].values()) > 0
    finally:
        server.close()
