"""Ways round a check of the guard: a verdict that another node wrote, a value that was left out on the way."""

from __future__ import annotations

import pytest

from flowrunner.graph import check_flows
from flowrunner.message import FieldInfo
from flowrunner.registry import Registry
from flowrunner.testing import Rig, run_flow
from tests.orders.guarded import FLOW, blocked, orders, play, wish

SECOND = 10**9
STOP = "stop_while: [hot]"


def flow(nodes: str, last: str) -> str:
    """The flow with more nodes between the threshold and the rules, of which ``last`` is the one that they read."""
    return FLOW.replace("from: hot\n", f"from: {last}\n").replace("  buy:\n", f"{nodes}  buy:\n", 1)


POSTED = """\
  desk: {type: http-in, route: POST /desk, body: {hot: {type: text}}}
  state: {type: merge, from: [hot, desk]}
"""
RENAMED = """\
  other: {type: threshold, from: hot, field: mwh, above: 40}
  state:
    type: select
    from: other
    fields: {hot: other, soc_percent: soc_percent, mwh: mwh, price_eur_mwh: price_eur_mwh}
"""


def test_a_verdict_that_somebody_posted_is_none() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, hot=45)
        await rig.advance("1s")
        await rig.request("POST", "/desk", b'{"hot": "clear"}')
        assert orders(rig) == []
        await wish(rig, hot=25)
        assert len(orders(rig)) == 1

    play(STOP, story, flow=flow(POSTED, "state"))


def test_the_verdict_of_another_threshold_under_that_name_is_none() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, hot=45)
        assert orders(rig) == []

    play(STOP, story, flow=flow(RENAMED, "state"))


def test_values_left_out_on_the_way_bound_the_verdict_on_them() -> None:
    nodes = "  state: {type: select, from: hot, fields: [hot, soc_percent, mwh, price_eur_mwh]}\n"

    async def story(rig: Rig) -> None:
        old = FieldInfo(at=rig.now - 91 * SECOND, received_at=rig.now - 91 * SECOND, source="meter")
        await wish(rig, fields={"temperature_c": old})
        assert (orders(rig), [reason for reason, _ in blocked(rig)]) == ([], ["stopped"])
        await wish(rig)
        assert len(orders(rig)) == 1

    play(f"{STOP}, max_age: {{meter: 90s}}", story, flow=flow(nodes, "state"))


def test_the_words_of_one_rule_with_the_decision_of_another() -> None:
    """A merge that prefers one rule repeats its words whenever the other one decides."""
    text = FLOW.replace("from: [buy, sell]", "from: both").replace(
        "  guard:", "  both: {type: merge, from: [buy, sell], prefer: [sell, buy]}\n  guard:"
    )

    async def story(rig: Rig) -> None:
        await wish(rig, soc=80)
        await rig.advance("15min")
        await wish(rig, soc=20)
        assert [one.side for one in orders(rig)] == ["SELL"]
        assert rig.errors("guard") == {"not-an-intent": 1}

    play("", story, flow=text)


def test_a_doubtful_value_with_a_limit_of_age_that_only_a_threshold_looks_at() -> None:
    async def story(rig: Rig) -> None:
        doubtful = FieldInfo(at=rig.now, received_at=rig.now, source="meter", quality="uncertain")
        await wish(rig, fields={"temperature_c": doubtful})
        assert (orders(rig), [reason for reason, _ in blocked(rig)]) == ([], ["uncertain"])

    play("limit_while: {hot: {max_quantity_mwh: 0.5}}, max_age: {meter: 90s}", story)


@pytest.mark.parametrize("soc", [7500, 100.1, -0.1])
def test_a_state_of_charge_that_cannot_be(soc: float) -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, soc=soc, mwh=0.001)
        assert (orders(rig), [reason for reason, _ in blocked(rig)]) == ([], ["bad"])

    play("energy: {capacity_mwh: 10}", story)


OTHER = """
flow: other
nodes:
  meter: {type: manual-in, fields: {soc_percent: {unit: "%"}, temperature_c: {}, price_eur_mwh: {}, mwh: {}}}
"""


def test_a_limit_of_age_for_a_node_of_another_flow() -> None:
    near = FLOW.partition("  meter:")[0] + "  hot:" + FLOW.partition("  hot:")[2]
    text = near.replace("from: meter", "from: other/meter").replace("OPTIONS", "max_age: {other/meter: 90s}")
    checked = check_flows({"site.yaml": text, "other.yaml": OTHER}, {}, Registry())
    assert checked.graph is not None, checked.problems
    about = checked.graph.nodes["site/guard"].about["other/meter"]
    assert list(about.fields) == ["soc_percent", "temperature_c", "price_eur_mwh", "mwh"]


def test_a_value_that_was_renamed_past_its_limit_of_age_is_refused() -> None:
    text = """
flow: site
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  meter: {type: manual-in, fields: {soc_percent: {}, eur: {}}}
  named: {type: compute, from: meter, fields: {soc: soc_percent}}
  buy:
    type: rule
    from: named
    when: soc < 30
    then: {side: BUY, quantity_mwh: 1, limit_price_eur_mwh: 50}
  guard: {type: risk-guard, from: buy, manual: allow, max_age: {meter: 90s}}
"""

    async def story(rig: Rig) -> list[str]:
        await rig.emit("meter", {"soc_percent": 20, "eur": 50})
        return [one["reason"] for one in rig.payloads("guard", "blocked")]

    assert run_flow(text, story) == ["no-max-age"]
