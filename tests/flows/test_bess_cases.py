"""The tests that ship beside the battery's flow: all of them hold, nothing is left out, and each limit is guarded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from flowrunner.registry import Registry
from flowrunner.testing.coverage import coverage_of
from flowrunner.testing.playing import play
from flowrunner.testing.suite import Suite, Trial
from flowrunner.trying import read_suites, run_tests

BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"
LINES = BESS.read_text(encoding="utf-8").splitlines()
REGISTRY = Registry()


@cache
def suite() -> Suite:
    (found,) = read_suites([BESS], REGISTRY)
    return found


def trial(name: str) -> Trial:
    """The one whose name begins so."""
    (found,) = [one for one in suite().trials if one.case.name.startswith(name)]
    return found


def of(text: str, one: Trial) -> Trial:
    """The same test of another text of the flow."""
    return replace(one, texts={str(BESS): text}, graph=None)


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def block(path: str) -> range:
    """The lines of one block of the flow: ``guard``, or ``modbus/registers/soc_percent``."""
    found = range(len(LINES))
    for key in path.split("/"):
        named = [number for number in found if LINES[number].lstrip().startswith(f"{key}:")]
        begin = min(named, key=lambda number: indent(LINES[number]))
        behind = (n for n in found if n > begin and LINES[n].strip() and indent(LINES[n]) <= indent(LINES[begin]))
        found = range(begin, next(behind, found.stop))
    return found


def changed(path: str, old: str, new: str) -> str:
    """The flow with one line of one block changed; without what it said where ``new`` is nothing."""
    (place,) = [number for number in block(path) if old in LINES[number]]
    assert LINES[place].count(old) == 1
    line = LINES[place].replace(old, new)
    return "\n".join([*LINES[:place], *([line] if line.strip() else []), *LINES[place + 1 :], ""])


def test_all_hold_and_nothing_is_left_out() -> None:
    said: list[str] = []
    code = run_tests([BESS], registry=lambda: REGISTRY, coverage=True, say=said.append)
    assert code == 0, "\n".join(line for line in said if not line.startswith("  ok"))
    assert said[-2] == f"coverage of {BESS}: nodes 18 of 18, ports 26 of 26, clauses 4 of 4"


def test_without_a_test_its_part_of_the_flow_is_left_out() -> None:
    outcomes = [play(one, REGISTRY) for one in suite().trials if "MQTT is lost" not in one.case.name]
    assert [one.text for one in coverage_of(suite(), outcomes).gaps] == ["mqtt.error: nothing left it"]


MUTATIONS = [
    ("market", "slot: 15min", "slot: 1h", "orders once for each quarter-hour"),
    ("market", "closure: 5min", "closure: 6min", "buys once when cheap and empty"),
    ("market", "closure: 5min", "closure: 4min", "the gate closes 5 minutes before"),
    ("timezone", "Europe/Vienna", "UTC", "buys no more than 10 MWh net for a day"),
    ("vars/cheap", "60", "60.01", "60 EUR are cheap"),
    ("vars/cheap", "60", "59", "60 EUR are cheap"),
    ("vars/cheap", "BUY_BELOW", "BUY_UNDER", "other limits hold"),
    ("vars/dear", "120", "119", "120 EUR are dear"),
    ("vars/dear", "120", "120.01", "120 EUR are dear"),
    ("modbus/every", "30}s", "300}s", "buys once when cheap and empty"),
    ("modbus/registers/soc_percent", "na: [0xFFFF]", "", "the register that says 0xFFFF"),
    ("modbus/registers/active_power_mw", "na: [0x8000]", "", "the register that says 0x8000 has no power"),
    ("modbus/registers/temperature_c", "na: [0x8000]", "", "the register that says 0x8000 has no temperature"),
    ("modbus-units/fields/soc_percent", "0.01", "0.1", "buys once when cheap and empty"),
    ("modbus-units/fields/soc_percent", "max: 100", "max: 101", "a register beyond"),
    ("modbus-units/fields/soc_percent", "min: 0", "min: 1", "a register beyond"),
    ("modbus-units/fields/active_power_mw", "0.001", "0.01", "a register beyond"),
    ("modbus-units/fields/active_power_mw", "min: -20", "min: -21", "a register beyond"),
    ("modbus-units/fields/active_power_mw", "max: 20", "max: 70", "a register beyond"),
    ("modbus-units/fields/temperature_c", "max: 120", "max: 121", "a register beyond"),
    ("modbus-units/fields/temperature_c", "min: -40", "min: -41", "a register beyond"),
    ("mqtt", "max: 100", "max: 101", "what no battery can say"),
    ("mqtt", "max: 20", "max: 21", "what no battery can say"),
    ("mqtt", "min: -40", "min: -41", "what no battery can say"),
    ("rest/body/soc_percent", "max: 100", "max: 101", "what no battery can say"),
    ("rest/body/active_power_mw", "min: -20", "min: -21", "what no battery can say"),
    ("rest/body/temperature_c", "max: 120", "max: 121", "what no battery can say"),
    ("manual/fields/soc_percent", "max: 100", "max: 101", "what no battery can say"),
    ("manual/fields/active_power_mw", "max: 20", "max: 21", "what no battery can say"),
    ("manual/fields/temperature_c", "min: -40", "min: -41", "what no battery can say"),
    ("manual", "expires_after: 2h", "expires_after: 3h", "what a person typed counts"),
    ("telemetry", "prefer: [modbus-units, mqtt", "prefer: [mqtt, modbus-units", "Modbus counts before MQTT"),
    (
        "telemetry",
        "prefer: [modbus-units, mqtt, rest",
        "prefer: [modbus-units, rest, mqtt",
        "Modbus counts before MQTT",
    ),
    ("telemetry", "stale_after: 90s", "stale_after: 1h", "does not trade on older values"),
    ("telemetry", "stale_after: 90s", "stale_after: 60s", "values count for 90 seconds"),
    ("status", "reply_with: telemetry", "reply_with: state", "the status shows what is known"),
    ("overheated", "above: 40", "above: 41", "trades at 40.0"),
    ("overheated", "above: 40", "above: 39.9", "trades at 40.0"),
    ("overheated", "clear_below: 38", "", "trades again"),
    ("overheated", "clear_below: 38", "clear_below: 38.1", "trades again"),
    ("overheated", "clear_after: 5min", "", "trades again"),
    ("overheated", "clear_after: 5min", "clear_after: 4min", "a gap of the sensor"),
    ("power-limit", "magnitude: true", "magnitude: false", "beyond 5 MW"),
    ("power-limit", "above: 5", "above: 5.1", "is free at 5.0 MW"),
    ("power-limit", "above: 5", "above: 4.9", "is free at 5.0 MW"),
    ("price", "every: 5min", "every: 30min", "hears of another price"),
    ("state", "soc_percent,", "", "does not trade when the state of charge"),
    ("state", "active_power_mw,", "", "does not trade when the power"),
    ("state", "temperature_c,", "", "does not trade when only"),
    ("state", ", price_eur_mwh", "", "does not trade without a price"),
    ("buy", "< 30", "<= 30", "30.0 % is not empty"),
    ("buy", "< 30", "< 29.9", "30.0 % is not empty"),
    ("buy", "<= cheap", "< cheap", "60 EUR are cheap"),
    ("buy", "BUY", "SELL", "buys once when cheap and empty"),
    ("buy", "1.0", "1.5", "buys once when cheap and empty"),
    ("buy", "limit_price_eur_mwh: price_eur_mwh", "limit_price_eur_mwh: cheap", "a price of zero"),
    ("sell", "> 70", ">= 70", "70.0 % is not full"),
    ("sell", ">= dear", "> dear", "120 EUR are dear"),
    ("sell", "SELL", "BUY", "sells once when dear and full"),
    ("sell", "1.0", "0.9", "sells once when dear and full"),
    ("guard", "[buy, sell]", "[buy]", "sells once when dear and full"),
    ("guard", "stop_while: [overheated]", "", "does not trade at 45"),
    ("guard", "{max_quantity_mwh: 0.5}", "{max_quantity_mwh: 1.0}", "beyond 5 MW"),
    ("guard", "telemetry: 90s", "telemetry: 60s", "values count for 90 seconds"),
    ("guard", "price: 10min", "price: 11min", "does not trade on a price that was heard"),
    ("guard", "price: 10min", "price: 9min", "a price counts for 10 minutes"),
    ("guard", "per_day: 48", "per_day: 49", "makes 48 orders a day"),
    ("guard", "max_quantity_mwh: 1.0", "max_quantity_mwh: 0.9", "buys once when cheap and empty"),
    ("guard", "max_position_mwh: 10", "max_position_mwh: 11", "buys no more than 10 MWh"),
    ("guard", "min: -500", "min: -501", "buys at -500 EUR"),
    ("guard", "max: 4000", "max: 4001", "sells at 4000 EUR"),
    ("guard", "max_quantity_mwh: 1.0", "manual: allow", "what a person typed does not trade"),
    ("guard", "capacity_mwh: 10", "capacity_mwh: 1", "buys once when cheap and empty"),
    ("guard", "min_soc: 5", "min_soc: 80", "sells once when dear and full"),
    ("guard", "max_soc: 95", "max_soc: 29", "30.0 % is not empty"),
    ("exchange", "-paper", "-live", "sends nothing on paper"),
    ("history", "[state, exchange]", "[state]", "what was decided"),
    ("history", "[state, exchange]", "[exchange]", "what was decided"),
    ("alarms", "overheated.above,", "", "does not trade at 45"),
    ("alarms", "power-limit.above,", "", "beyond 5 MW"),
    ("alarms", "guard.blocked,", "", "does not trade at 45"),
    ("alarms", "exchange.error,", "", "a refused order"),
    ("alarms", "modbus.error,", "", "when Modbus is lost"),
    ("alarms", "mqtt.error,", "", "when MQTT is lost"),
    ("alarms", ", price.error", "", "while the prices are away"),
]
"""A block of the flow, what is changed there into what (nothing: it is left out), and how the name of a test begins
that notices it. Not among them, as it makes no difference: ``per_slot`` of more than 1 (the guard makes one order for
each side of a slot, and refuses the other side), and ``max_age`` of ``telemetry`` beyond ``stale_after``."""


@pytest.mark.parametrize(("path", "old", "new", "name"), MUTATIONS)
def test_no_limit_can_be_moved_unnoticed(path: str, old: str, new: str, name: str) -> None:
    outcome = play(of(changed(path, old, new), trial(name)), REGISTRY)
    assert outcome.graphs, f"that is no flow any more: {outcome.failures[0].lines}"
    assert not outcome.ok
