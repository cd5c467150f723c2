"""The battery's flow, as it ships, in virtual time: what the first user got wrong once stays right."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.errors import Reject
from flowrunner.message import JSON, FieldInfo
from flowrunner.modbus import decode
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow

BESS = (Path(__file__).resolve().parents[2] / "flows" / "bess.yaml").read_text(encoding="utf-8")
EVERYTHING = {"BESS_MODBUS_ENABLED": "true", "BESS_MQTT_ENABLED": "true", "BESS_API_KEY": "key-of-the-tests"}
GOOD = {"soc_percent": 55.0, "active_power_mw": 1.0, "temperature_c": 25.0}


def play(story: Any, **run: Any) -> Any:
    return run_flow(BESS, story, environment=EVERYTHING, stubs=["modbus", "mqtt", "price", "mirror"], **run)


async def rest(rig: Rig, **values: JSON) -> int:
    body = msgspec.json.encode(values)
    answer = await rig.request("POST", "/api/bess/telemetry", body, x_api_key="key-of-the-tests")
    return answer.status


async def status(rig: Rig) -> dict[str, Any]:
    answer = await rig.request("GET", "/api/bess/status", x_api_key="key-of-the-tests")
    assert answer.status == 200
    assert isinstance(answer.body, dict)
    return answer.body


async def modbus(rig: Rig, *values: int | None) -> None:
    """A poll of registers 0 to 2, decoded as the flow's own register map says; None is the device's "no value"."""
    registers = rig.worker("modbus").node.options.registers
    readings = {
        name: decode(one, [(nothing if value is None else value) & 0xFFFF])
        for (name, one), value, nothing in zip(registers.items(), values, (0xFFFF, 0x8000, 0x8000), strict=True)
    }
    infos = {
        name: FieldInfo(at=rig.now, received_at=rig.now, source="modbus", quality=one.quality)
        for name, one in readings.items()
    }
    payload = {name: one.value for name, one in readings.items() if one.quality == "good"}
    await rig.emit("modbus", payload, fields=infos)


def record(rig: Rig) -> JSON:
    """The record behind both thresholds."""
    return rig.payloads("power-limit")[-1]


def verdicts(rig: Rig) -> tuple[str, str]:
    return record(rig)["overheated"], record(rig)["power_limit"]


# ---- the first user's mistakes ------------------------------------------------------------------------------------


def test_negative_power_is_not_63_mw() -> None:
    async def story(rig: Rig) -> None:
        await modbus(rig, 7500, 0xF63C, 283)
        assert rig.payloads("telemetry") == [{"soc_percent": 75.0, "active_power_mw": -2.5, "temperature_c": 28.3}]
        assert verdicts(rig) == ("clear", "clear")
        without_sign = {"soc_percent": 7500, "active_power_mw": 0xF63C, "temperature_c": 283}
        await rig.emit("modbus", without_sign)  # should anybody read it like that again
        assert record(rig) == {
            "soc_percent": 75.0, "temperature_c": 28.3, "overheated": "clear", "power_limit": "unknown",
        }  # fmt: skip
        assert rig.errors("modbus-units") == {"not-believed": 1}
        assert (await status(rig))["active_power_mw"] is None

    play(story)


def test_no_missing_value_becomes_0() -> None:
    async def story(rig: Rig) -> None:
        before = await status(rig)
        assert (before["status"], before["soc_percent"]) == ("offline", None)
        await modbus(rig, None, None, None)  # 0xFFFF, 0x8000, 0x8000
        assert rig.payloads("telemetry") == [{}]
        assert verdicts(rig) == ("unknown", "unknown")
        assert rig.errors("modbus-units") == {}, "it was no value from the start, not one that had to be disbelieved"
        assert await rest(rig, soc_percent=20) == 200
        assert record(rig) == {"soc_percent": 20, "overheated": "unknown", "power_limit": "unknown"}
        shown = await status(rig)
        assert [shown[name] for name in GOOD] == [20, None, None]
        assert await rest(rig, soc_percent=0, active_power_mw=0) == 200
        assert record(rig)["soc_percent"] == 0, "0 itself is a value"
        assert verdicts(rig) == ("unknown", "clear")

    play(story)


def test_one_topic_alone_does_not_wipe_the_others() -> None:
    async def story(rig: Rig) -> None:
        for field, value in GOOD.items():
            await rig.emit("mqtt", {field: value})
        assert rig.payloads("telemetry")[-1] == GOOD
        for value in (56.0, 57.0):
            await rig.advance("30s")
            await rig.emit("mqtt", {"soc_percent": value})
            assert rig.payloads("telemetry")[-1] == GOOD | {"soc_percent": value}
        fields = (await status(rig))["fields"]
        assert {name: fields[name]["age_s"] for name in GOOD} == {
            "soc_percent": 0.0, "active_power_mw": 60.0, "temperature_c": 60.0,
        }  # fmt: skip

    play(story)


def test_a_wrong_key_is_a_401_and_changes_nothing() -> None:
    async def story(rig: Rig) -> None:
        body = b'{"soc_percent": 1}'
        for key in ("", "key-of-the-test", "key-of-the-tests "):
            answer = await rig.request("POST", "/api/bess/telemetry", body, x_api_key=key)
            assert answer.status == 401
            assert (await rig.request("GET", "/api/bess/status", b"", x_api_key=key)).status == 401
        assert (await rig.request("POST", "/api/bess/telemetry", body)).status == 401
        assert rig.out("telemetry") == []

    play(story)


# ---- which source counts -------------------------------------------------------------------------------------------


def test_modbus_before_mqtt_before_rest_before_a_person() -> None:
    async def story(rig: Rig) -> None:
        seen = []
        await rig.enter("manual", {"soc_percent": 10})
        await rest(rig, soc_percent=20)
        await rig.emit("mqtt", {"soc_percent": 30.0})
        await modbus(rig, 4000, None, None)
        seen = [one.get("soc_percent") for one in rig.payloads("telemetry")]
        assert seen == [10, 20, 30.0, 40.0]
        await rest(rig, soc_percent=21)
        await rig.emit("mqtt", {"soc_percent": 31.0})
        assert record(rig)["soc_percent"] == 40.0
        await modbus(rig, None, None, None)
        assert record(rig)["soc_percent"] == 31.0, "what modbus has no value for, mqtt has"
        await rig.advance("60s")
        await rest(rig, soc_percent=22)
        await rig.advance("30s")
        assert record(rig)["soc_percent"] == 22, "mqtt has run out"
        await rig.advance("60s")
        assert record(rig)["soc_percent"] == 10
        own = (await status(rig))["fields"]["soc_percent"]
        assert (own["source"], own["origin"], own["stale"]) == ("manual", "manual", False)
        await rig.advance("2h")
        assert (await status(rig))["fields"]["soc_percent"]["stale"] is True

    play(story)


def test_stale_after_90_s_then_fresh_again() -> None:
    async def story(rig: Rig) -> None:
        await rest(rig, **GOOD)
        assert ((await status(rig))["status"], verdicts(rig)) == ("online", ("clear", "clear"))
        await rig.advance("89s")
        assert ((await status(rig))["status"], verdicts(rig)) == ("online", ("clear", "clear"))
        await rig.advance("1s")
        shown = await status(rig)
        assert (shown["status"], shown["soc_percent"]) == ("stale", 55.0)
        assert shown["fields"]["soc_percent"]["reason"] == "stale"
        assert verdicts(rig) == ("unknown", "unknown"), "without anybody sending anything"
        await rig.advance("5min")
        assert (await status(rig))["status"] == "offline"
        await rest(rig, **GOOD)
        assert ((await status(rig))["status"], verdicts(rig)) == ("online", ("clear", "clear"))
        assert [rig.out(node, port) for node in ("overheated", "power-limit") for port in ("above", "cleared")] == [
            []
        ] * 4

    play(story)


@pytest.mark.parametrize("quality", ["uncertain", "ahead"])
def test_a_retained_message_and_a_time_in_the_future_are_shown_and_not_trusted(quality: str) -> None:
    async def story(rig: Rig) -> None:
        if quality == "ahead":
            await rig.emit("mqtt", GOOD, at=rig.now + 3600 * 10**9)
        else:
            await rig.emit("mqtt", GOOD, quality="uncertain")
        assert record(rig) == GOOD | {"overheated": "unknown", "power_limit": "unknown"}
        shown = await status(rig)
        assert (shown["status"], shown["fields"]["soc_percent"]["quality"]) == ("stale", "uncertain")
        await rest(rig, soc_percent=60)
        assert record(rig)["soc_percent"] == 60, "the next source in line is trusted"

    play(story)


# ---- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "power", "expected"),
    [
        (40.0, 0, ("clear", "clear")),
        (40.1, 0, ("above", "clear")),
        (45, 0, ("above", "clear")),
        (-40, 0, ("clear", "clear")),
        (25, 5.0, ("clear", "clear")),
        (25, 5.1, ("clear", "above")),
        (25, 5.2, ("clear", "above")),
        (25, -5.0, ("clear", "clear")),
        (25, -5.2, ("clear", "above")),
        (41, -20, ("above", "above")),
    ],
)
def test_limits_are_strict(temperature: float, power: float, expected: tuple[str, str]) -> None:
    async def story(rig: Rig) -> None:
        assert await rest(rig, temperature_c=temperature, active_power_mw=power) == 200
        assert verdicts(rig) == expected
        await modbus(rig, 5000, round(power * 1000), round(temperature * 10))
        assert verdicts(rig) == expected, "the same by registers"

    play(story)


def test_overheated_until_below_38_for_5_minutes_whatever_a_person_types() -> None:
    async def story(rig: Rig) -> None:
        await modbus(rig, 5000, 0, 450)
        await rig.enter("manual", {"temperature_c": 25})
        assert (record(rig)["temperature_c"], verdicts(rig)[0]) == (45.0, "above")
        for raw in [399, 381] + [379] * 5 + [None, 380] + [379] * 10:
            await rig.advance("30s")
            await modbus(rig, 5000, 0, raw)
            assert verdicts(rig)[0] == "above"
        await rig.advance("30s")
        await modbus(rig, 5000, 0, 379)
        assert verdicts(rig)[0] == "clear"
        assert [len(rig.out("overheated", port)) for port in ("above", "cleared")] == [1, 1]

    play(story)


def test_a_sensor_that_dies_while_hot_does_not_cool_the_battery() -> None:
    async def story(rig: Rig) -> None:
        await modbus(rig, 5000, 0, 450)
        for _ in range(60):
            await rig.advance("30s")
            await modbus(rig, 5000, 0, None)
            assert verdicts(rig)[0] == "unknown"
        await modbus(rig, 5000, 0, 300)
        assert verdicts(rig)[0] == "above", "five minutes of values, not of silence"

    play(story)


def test_heat_is_remembered_over_a_restart() -> None:
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await modbus(rig, 5000, 0, 450)

    async def after(rig: Rig) -> None:
        assert rig.out("telemetry") == rig.out("overheated") == []
        shown = await status(rig)
        assert shown["temperature_c"] == 45.0
        await modbus(rig, 5000, 0, 300)
        assert verdicts(rig)[0] == "above"
        assert rig.out("overheated", "above") == [], "it was said before"

    play(before, store=store)
    play(after, store=store, start="2025-01-25T02:01:00+01:00")


def test_each_beginning_of_trouble_is_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        for power in (4, 6, 7, 4, 4):
            await rest(rig, active_power_mw=power)
            await rig.advance("1s")

    with caplog.at_level(logging.INFO, logger="flowrunner.alarm"):
        play(story)
    found = [one.getMessage() for one in caplog.records if one.name == "flowrunner.alarm"]
    assert [line for line in found if "power-limit" in line] == [
        "bess/alarms: power-limit.above: active_power_mw 6 MW, overheated unknown, power_limit above"
    ]


@pytest.mark.parametrize("values", [{"soc_percent": 101}, {"active_power_mw": -20.1}, {"temperature_c": 121}])
def test_what_is_not_believable_comes_in_by_no_door(values: dict[str, float]) -> None:
    async def story(rig: Rig) -> None:
        assert await rest(rig, **values) == 422
        with pytest.raises(Reject, match=r"is (above|below)"):
            await rig.enter("manual", values)
        assert rig.out("telemetry") == []

    play(story)


def test_by_default_only_rest_and_the_person_are_there() -> None:
    async def story(rig: Rig) -> None:
        assert (await rig.request("POST", "/api/bess/telemetry", b'{"soc_percent": 75.5}')).status == 200
        assert rig.payloads("telemetry") == [{"soc_percent": 75.5}]
        assert set(rig.engine.graph.disabled) == {"bess/modbus", "bess/modbus-units", "bess/mqtt"}

    run_flow(BESS, story, stubs=["price", "mirror"])
