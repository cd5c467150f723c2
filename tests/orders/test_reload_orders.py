"""What a reload must never do with orders (DOMAIN: live orders begin with a restart)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.testing import Rig, run_flow
from tests.runtime.kit import types

BESS = (Path(__file__).parents[2] / "flows" / "bess.yaml").read_text()
PAPER = {"BESS_TRADING_MODE": "paper"}
LIVE = {"BESS_TRADING_MODE": "live", "EXCHANGE_URL": "http://127.0.0.1:9"}
OUTSIDE = ["price", "mirror"]


def checked(text: str, environment: dict[str, str]) -> Any:
    found = check_flows({"flow.yaml": text}, environment, Registry())
    assert found.graph is not None, found.problems
    return found


def test_a_reload_never_turns_paper_into_live() -> None:
    async def story(rig: Rig) -> None:
        before = rig.worker("exchange").node
        outcome = await rig.reload(checked(BESS, LIVE))
        assert outcome.result == "refused"
        wrong = [one for one in outcome.problems if one.severity == "error"]
        assert {(one.code, one.path) for one in wrong} == {("needs-restart", "nodes.exchange")}
        assert {one.message for one in wrong} == {"a reload never begins to send live orders"}
        assert rig.worker("exchange").node is before
        assert not before.live

    run_flow(BESS, story, environment=PAPER, stubs=OUTSIDE)


def test_from_live_to_paper_needs_no_restart_and_the_market_of_live_orders_does() -> None:
    async def story(rig: Rig) -> None:
        other = BESS.replace("name: epex_at", "name: epex_de")
        outcome = await rig.reload(checked(other, LIVE))
        assert (outcome.result, outcome.reason.endswith("runs on")) == ("refused", True)
        assert "a reload never changes the market of live orders" in outcome.reason
        assert (await rig.reload(checked(BESS, PAPER))).result == "applied"
        assert not rig.worker("exchange").node.live
        assert (await rig.reload(checked(BESS, LIVE))).result == "refused"  # and back only by a restart

    run_flow(BESS, story, environment=LIVE, stubs=OUTSIDE)


def test_the_limits_of_a_guard_that_changes_count_on() -> None:
    """One order per slot, whatever is reloaded in between: limits count from the journal."""

    async def story(rig: Rig) -> None:
        await rig.emit("price", {"price_eur_mwh": 50.0, "price_now_eur_mwh": 50.0})
        for again in ("rules as they are", "another limit", "another rule"):
            record = {"soc_percent": 20.0, "active_power_mw": 0.0, "temperature_c": 25.0}
            await rig.emit("rest", record)
            await rig.advance("1s")
            if again == "rules as they are":
                assert len(rig.out("exchange")) == 1
                text = BESS.replace("per_day: 48", "per_day: 47")
                assert (await rig.reload(checked(text, PAPER))).changed == ["bess/guard"]
            elif again == "another limit":
                text = BESS.replace("soc_percent < 30", "soc_percent < 31")
                assert "bess/buy" in (await rig.reload(checked(text, PAPER))).changed
        assert len(rig.out("exchange")) == 1
        assert len(rig.engine.trading.journal.orders()) == 1

    run_flow(BESS, story, environment=PAPER, stubs=OUTSIDE)


def test_while_orders_may_hang_on_it_a_damaged_file_is_never_replaced() -> None:
    """Also after a reload to a flow without orders that failed: the old one, with its orders, runs on."""

    async def story(rig: Rig) -> None:
        store = rig.engine.store
        telemetry = "flow: bess\nnodes:\n  tick: {type: inject, every: 1h, payload: 1}\n"
        store.may_start_fresh = False
        bad = telemetry + "  bad: {type: moody, opens: [error], from: tick}\n"
        seen: list[bool] = []
        rig.engine.runtime.on_worker = lambda worker: seen.append(store.may_start_fresh)
        assert (await rig.reload(check_flows({"flow.yaml": bad}, {}, types()))).result == "failed"
        assert seen == [False, False]  # while both are there, both count
        fresh = [store.may_start_fresh]
        for text in (telemetry, BESS):
            assert (await rig.reload(checked(text, PAPER))).result == "applied"
            fresh.append(store.may_start_fresh)
        assert fresh == [False, True, False]

    run_flow(BESS, story, environment=PAPER, stubs=OUTSIDE)


def test_what_a_node_quotes_when_it_does_not_open_is_masked() -> None:
    text = "flow: f\nnodes:\n  tick: {type: inject, every: 1h, payload: 1}\n"
    bad = text + "  bad: {type: talkative, api_key: '${secret:key}', from: tick}\n"

    async def story(rig: Rig) -> None:
        outcome = await rig.reload(check_flows({"flow.yaml": bad}, {"FLOWRUNNER_SECRETS": str(folder)}, registry))
        assert outcome.result == "failed"
        assert "does not open" in outcome.reason
        assert "hunter2hunter2" not in outcome.reason

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "key").write_text("hunter2hunter2")
        (folder / "talkative.py").write_text(TALKATIVE)
        registry = Registry([folder])
        run_flow(text, story)


TALKATIVE = """
from typing import Annotated
from flowrunner.node import Node, NodeOptions
from flowrunner.schema import Secret


class Talkative(Node):
    'Says its key.'

    class Options(NodeOptions):
        api_key: Secret = ""

    async def open(self, ctx):
        raise ValueError(f"{self.options.api_key} is wrong")

    def process(self, message, ctx):
        return None
"""


def test_a_reload_never_puts_a_guard_of_paper_in_front_of_live_orders() -> None:
    guard = BESS[BESS.index("  guard:") : BESS.index("  # ---- out")]
    trial = guard.replace("  guard:", "  guard-2:")
    trial += "  trial: {type: exchange-out, from: guard-2, send: orders, mode: paper, adapter: paper}\n\n"
    paper = BESS.replace("  # ---- out", trial + "  # ---- out", 1)
    live = paper.replace("    from: guard\n    send: orders", "    from: [guard, guard-2]\n    send: orders", 1)
    assert live != paper

    async def story(rig: Rig) -> None:
        outcome = await rig.reload(checked(live, LIVE))
        assert [one.path for one in outcome.problems if one.severity == "error"] == ["nodes.guard-2"]
        assert rig.worker("guard-2").node.mode == "paper"  # type: ignore[attr-defined]  # of a risk-guard

    run_flow(paper, story, environment=LIVE, stubs=OUTSIDE)


def test_another_exchange_for_live_orders_needs_a_restart_and_another_key_does_not() -> None:
    async def story(rig: Rig) -> None:
        other = LIVE | {"EXCHANGE_URL": "http://127.0.0.1:8"}
        assert "never sends live orders to another exchange" in (await rig.reload(checked(BESS, other))).reason
        key = LIVE | {"EXCHANGE_API_KEY": "another-key-of-the-exchange"}
        assert "bess/exchange" in (await rig.reload(checked(BESS, key))).changed

    run_flow(BESS, story, environment=LIVE, stubs=OUTSIDE)
