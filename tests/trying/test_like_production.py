"""A stub must not make a test green for what would go wrong in production."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowrunner.exchange.calls import REFUSED
from flowrunner.registry import Registry
from tests.trying.stage import AT, SOC, SOURCES, TRADE, case, passes, problems, suite, told

BROKEN = '''\
"""broken: a node whose code is wrong."""

from flowrunner.node import Context, Node
from flowrunner.message import Message


class Broken(Node):
    """Raise."""

    async def open(self, ctx: Context) -> None:
        WHERE == "open" and 1 / 0

    def process(self, message: Message, ctx: Context) -> Message | None:
        WHERE == "process" and 1 / 0
        return message
'''
WITH_BROKEN = "flow: own\nnodes:\n  go: {type: http-in, route: POST /x}\n  n: {type: broken, from: go}\n"
NEXT = "{at: 2025-01-25T02:10:00+01:00}"
DAY_AHEAD = TRADE.replace('source: exchange, url: "http://localhost:9100", every: 5min', "source: awattar, zone: AT")


@pytest.mark.parametrize("where", ["process", "open"])
def test_a_node_that_fails_inside_fails_a_test_that_expects_nothing_of_it(where: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN.replace("WHERE", repr(where)), encoding="utf-8")
    steps = "steps: [{emit: go, value: {x: 1}}, {advance: 1min}]\n"
    found = told(WITH_BROKEN, f"{steps}expect: [{{from: n, never: true}}]", registry=Registry([tmp_path]))
    assert "n failed inside (exception)" in found.failures[0].lines[0]
    assert "ZeroDivisionError" in found.failures[0].lines[0]
    if where == "process":
        passes(WITH_BROKEN, f"{steps}expect: [{{from: n.error}}]", registry=Registry([tmp_path]))


@pytest.mark.parametrize("status", [400, 403, 404, 422, 402, 408, 409, 423, 451, 500, 503])
def test_a_status_means_for_an_order_what_it_means_in_production(status: int) -> None:
    """What is refused is over; of anything else nobody knows, and the market is blocked."""
    refused = status in REFUSED
    steps = f"steps: [{SOC}, {{stub: {{exchange: accepts}}}}, {NEXT}, {{emit: price, value: 50}}, {SOC}]"
    code = "rejected" if refused else "unknown"
    passes(
        TRADE,
        f"""
        stub: {{price: 50, exchange: {{rejects: {status}}}}}
        {steps}
        expect: [{{from: exchange.error, where: code == "{code}"}}, {{from: exchange, count: {int(refused)}}}]
        """,
    )


def test_an_exchange_that_cannot_be_asked_leaves_it_to_a_person() -> None:
    body = '{side: "{side}", mwh: "{quantity_mwh}", from: "{delivery_start}", price: "{limit_price_eur_mwh}"}'
    described = TRADE.replace(
        "timeout: 5s}", f"timeout: 5s, adapter: http, http: {{path: /orders, body: {body}, id: id}}}}"
    )
    passes(
        described,
        f"""
        stub: {{price: 50, exchange: {{error: lost, stored: true}}}}
        steps: [{SOC}, {{advance: 2min}}]
        expect: [{{from: exchange, never: true}}, {{from: exchange.error, where: code == "unknown"}}]
        """,
    )


def test_a_day_ahead_price_is_not_known_before_it_is_published() -> None:
    passes(
        DAY_AHEAD,
        """
        stub: {price: 50}
        steps: [{advance: 1h}, {disconnect: price}, {advance: 20h}]
        expect: [{from: price.error, where: code == "no-price", never: true}]
        """,
    )
    passes(
        DAY_AHEAD,
        """
        stub: {price: 50}
        steps: [{advance: 1h}, {disconnect: price}, {advance: 23h}]
        expect: [{from: price.error, where: code == "no-price"}]
        """,
    )
    passes(
        DAY_AHEAD,
        """
        stub: {price: 50}
        steps: [{at: 2025-01-25T13:05:00+01:00}, {disconnect: price}, {advance: 20h}]
        expect: [{from: price.error, where: code == "no-price", never: true}]
        """,
    )


def test_registers_are_heard_as_a_device_has_them() -> None:
    scaled = SOURCES.replace("type: uint16, na: [65535]", "type: int16, scale: 0.01, na: [0x8000], max: 100")
    passes(
        scaled,
        """
        steps: [{emit: plc, value: {soc: 7500}}, {emit: plc, value: {soc: 0xFF9C}}, {emit: plc, value: {soc: 0x8000}}]
        expect:
          - {from: plc, equals: [{soc: 75.0}, {soc: -1.0}, {}]}
          - {from: plc.error, where: code == "not-connected", count: 1}
        """,
    )
    passes(scaled, "steps: [{emit: plc, value: {soc: 70000}, refused: true}]\nexpect: [{from: plc, never: true}]")


def test_no_secret_of_the_machine_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("of-the-machine")
    monkeypatch.setenv("FLOWRUNNER_SECRETS", str(tmp_path))
    flow = "flow: own\nnodes:\n  go: {type: inject, once: true, payload: {key: '${secret:key}'}}\n"
    passes(flow, "expect: [{from: go, equals: {key: made-up-key}}]")


def test_a_live_exchange_needs_a_stub() -> None:
    live = TRADE.replace("send: orders,", "send: orders, mode: live,")
    assert problems(live, "expect: [{from: guard, never: true}]") == [
        "2:11 tests[0].name: 'exchange' is in live mode, and no exchange answers it"
    ]


def test_a_slip_in_a_test_keeps_no_plant_from_running(tmp_path: Path) -> None:
    from flowrunner.files import check_files

    file = tmp_path / "flow.yaml"
    file.write_text(TRADE + case("expekt: [{from: buy}]"), encoding="utf-8")
    assert check_files([file], {}, Registry()).graph is not None
    assert suite(file.read_text(), f"tests:\n  - {{name: x, {AT}, expect: [{{from: buy}}]}}\n").is_bad


def test_a_name_that_no_message_has_is_a_slip_of_the_pen() -> None:
    flow = "flow: own\nnodes:\n  go: {type: http-in, route: POST /x}\n"
    found = told(flow, "steps: [{emit: go, value: {power: 99}}]\nexpect: [{from: go, where: powre > 5, never: true}]")
    assert "no message has a field 'powre'" in found.failures[0].lines[1]


def test_what_a_test_puts_into_a_mouth_is_not_covered() -> None:
    from flowrunner.testing.coverage import coverage_of

    flow = "flow: own\nnodes:\n  go: {type: http-in, route: POST /x}\n  s: {type: select, from: go, fields: [a]}\n"
    tests = case("steps: [{emit: s, value: {a: 1}}]\nexpect: [{from: s}]")
    outcome = told(flow, "steps: [{emit: s, value: {a: 1}}]\nexpect: [{from: s}]")
    assert {gap.text for gap in coverage_of(suite(flow, tests), [outcome]).gaps} == {
        "go: no message reached it", "go.out: nothing left it", "s: no message reached it", "s.out: nothing left it",
    }  # fmt: skip
