"""Why: the newest decision of a rule, a guard and a threshold, with its numbers as of its instant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.site import Site, site

pytestmark = pytest.mark.anyio
FLOW = """flow: site
timezone: Europe/Vienna
market: {name: epex_at, slot: 15min, gate_closure: 5min}
vars: {cheap: 60}
nodes:
  hand:
    type: manual-in
    fields: {soc_percent: {min: 0, max: 100, unit: "%"}, temperature_c: {unit: °C}, price_eur_mwh: {}}
  hot: {type: threshold, from: hand, field: temperature_c, above: 40, clear_below: 38}
  buy:
    type: rule
    from: hot
    when: [soc_percent < 30, price_eur_mwh <= cheap]
    then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard:
    type: risk-guard
    from: buy
    stop_while: [hot]
    max_orders: {per_slot: 1}
    price: {min: -500, max: 50}
    manual: allow
  orders: {type: log, from: [guard, guard.blocked]}
"""
BUY = {"soc_percent": 20, "temperature_c": 25, "price_eur_mwh": 48.5}


@pytest.fixture
async def plant() -> AsyncIterator[Site]:
    async with site(FLOW) as running:
        yield running


async def enter(web: Site, **values: float | None) -> None:
    before = web.engine.runtime.workers["site/hot"].counters.received
    answer = await web.http.post("/api/v1/flows/site/nodes/hand/values", json={"values": BUY | values})
    assert answer.status_code == 200, answer.text
    await web.until(lambda: web.engine.runtime.workers["site/hot"].counters.received > before, "it came through")


async def why(web: Site, node: str) -> Any:
    answer = await web.http.get(f"/api/v1/flows/site/nodes/{node}/why")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def judged(web: Site) -> None:
    guard = web.engine.runtime.workers["site/guard"]
    await web.until(lambda: guard.at_rest and guard.counters.received > 0, "the guard has judged")


async def test_before_anything_was_decided_nothing_is_told(plant: Site) -> None:
    for node in ("buy", "guard", "hot"):
        told = await why(plant, node)
        assert (told["decided"], told["outcome"], told["at"], told["reason"]) == (False, None, None, "")


async def test_a_rule_tells_each_clause_with_its_numbers(plant: Site) -> None:
    await enter(plant)
    await judged(plant)
    told = await why(plant, "buy")
    assert (told["type"], told["decided"], told["outcome"], told["reason"]) == ("rule", True, "wish", "")
    assert told["detail"]["clauses"] == [
        {"text": "soc_percent < 30", "value": 20, "op": "<", "limit": 30, "outcome": True, "reason": ""},
        {"text": "price_eur_mwh <= cheap", "value": 48.5, "op": "<=", "limit": 60, "outcome": True, "reason": ""},
    ]
    assert told["detail"]["then"] == {"side": "BUY", "quantity_mwh": 1.0, "limit_price_eur_mwh": 48.5}
    assert told["detail"]["guard"]["outcome"] == "passed"
    assert told["at"] <= told["now"]


async def test_a_rule_that_wishes_nothing_says_which_clause_did_not_hold(plant: Site) -> None:
    await enter(plant, soc_percent=55)
    told = await why(plant, "buy")
    assert (told["outcome"], told["reason"]) == ("no wish", "")
    assert [one["outcome"] for one in told["detail"]["clauses"]] == [False, True]
    assert told["detail"]["guard"] == {"node": "site/guard", "decided": False}


async def test_a_rule_that_cannot_judge_says_why(plant: Site) -> None:
    await enter(plant, price_eur_mwh=None)
    told = await why(plant, "buy")
    assert told["outcome"] == "cannot be judged"
    assert "price_eur_mwh" in told["reason"]
    assert [one["outcome"] for one in told["detail"]["clauses"]] == [True, None]


async def test_what_was_decided_stays_as_it_was_when_values_grow_old() -> None:
    """An hour later the value is stale; why it was decided then has not changed."""
    text = FLOW.replace("price_eur_mwh: {}}\n", "price_eur_mwh: {}}\n    expires_after: 10min\n")
    async with site(text, speed=3600.0) as plant:
        await enter(plant)
        told = await why(plant, "buy")
        later = plant.engine.clock.now() + 3600 * 1_000_000_000
        await plant.until(lambda: plant.engine.clock.now() > later, "an hour is over")
        again = await why(plant, "buy")
        assert {**again, "now": told["now"], "detail": {**again["detail"], "guard": None}} == {
            **told, "detail": {**told["detail"], "guard": None},
        }  # fmt: skip
        assert again["outcome"] == "wish"


async def test_a_guard_tells_what_it_made_of_each_wish(plant: Site) -> None:
    await enter(plant)
    await judged(plant)
    told = await why(plant, "guard")
    assert (told["outcome"], told["reason"]) == ("passed", "")
    detail = told["detail"]
    assert (detail["rule"], detail["side"], detail["quantity_mwh"], detail["limit_price_eur_mwh"]) == (
        "buy", "BUY", 1.0, 48.5,
    )  # fmt: skip
    assert detail["order"].startswith("epex_at")
    assert detail["delivery_start"].endswith("Z")
    received = plant.engine.runtime.workers["site/guard"].counters.received
    await enter(plant)
    await plant.until(lambda: plant.engine.runtime.workers["site/guard"].counters.received > received, "again")
    await judged(plant)
    again = await why(plant, "guard")
    # it waits to be sent: the same wish, or in the very next slot a new one
    assert again["outcome"] in ("repeat", "passed")
    assert again["detail"]["rules"]["buy"]["outcome"] == again["outcome"]


@pytest.mark.parametrize(
    ("values", "reason", "number"),
    [({"price_eur_mwh": 55}, "price", "55"), ({"temperature_c": 45.5}, "stopped", "hot is above")],
)
async def test_a_guard_tells_why_it_blocked(plant: Site, values: dict[str, float], reason: str, number: str) -> None:
    for _ in range(2):  # the second is no news for the journal, and no other decision
        received = plant.engine.runtime.workers["site/guard"].counters.received
        await enter(plant, **values)
        await plant.until(lambda: plant.engine.runtime.workers["site/guard"].counters.received > received, "it came")  # noqa: B023  (waited for in this turn)
        await judged(plant)
        told = await why(plant, "guard")
        assert told["outcome"] == "blocked"
        assert reason in told["reason"]
        assert number in told["detail"]["text"]
        said = (await why(plant, "buy"))["detail"]["guard"]
        assert (said["outcome"], said["text"]) == ("blocked", told["detail"]["text"])


async def test_a_threshold_tells_its_verdict_and_since_when(plant: Site) -> None:
    await enter(plant, temperature_c=45)
    first = await why(plant, "hot")
    assert (first["outcome"], first["detail"]["value"], first["detail"]["limit"]) == ("above", 45, 40)
    assert first["detail"]["clears_at"] == 38
    await enter(plant, temperature_c=39)
    told = await why(plant, "hot")
    assert (told["outcome"], told["detail"]["value"], told["detail"]["unit"]) == ("above", 39, "°C")
    assert told["detail"]["since"] == first["detail"]["since"] <= told["at"]
    await enter(plant, temperature_c=None)
    gone = await why(plant, "hot")
    assert (gone["outcome"], gone["detail"]["value"], gone["detail"]["since"]) == ("unknown", None, None)
    assert gone["reason"].startswith("temperature_c:")
    await enter(plant, temperature_c=30)
    clear = await why(plant, "hot")
    assert (clear["outcome"], clear["detail"]["limit"]) == ("clear", 40)


async def test_who_decides_nothing_is_no_place_for_the_question(plant: Site) -> None:
    for node, detail in (("hand", "site/hand decides nothing"), ("nobody", "there is no node 'nobody'")):
        answer = await plant.http.get(f"/api/v1/flows/site/nodes/{node}/why")
        assert answer.status_code == 404
        assert detail in answer.json()["detail"]


OWN = '''"""traffic-light: go or stop."""

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class TrafficLight(Node):
    """Go or stop."""

    class Options(NodeOptions):
        pass

    def process(self, message: Message, ctx: Context) -> Message:
        return message

    def why(self, ctx: Context) -> dict:
        return {"outcome": "go", "reason": "the key is hidden-key", "extra": {"hidden-key": ["hidden-key", 3]}}
'''


async def test_a_node_of_ones_own_may_say_why_and_no_secret_leaves(tmp_path: Path) -> None:
    (tmp_path / "traffic_light.py").write_text(OWN, "utf-8")
    text = FLOW + "  light: {type: traffic-light, from: hand}\n"
    text += "  door: {type: http-in, route: GET /x, api_key: '${API_KEY}'}\n"
    text += "dashboard:\n  tiles: [{tile: why, from: [light, buy]}]\n"
    async with site(text, nodes=[tmp_path], environment={"API_KEY": "hidden-key"}) as web:
        told = await why(web, "light")
        assert (told["outcome"], told["reason"]) == ("go", "the key is ***")
        assert told["detail"] == {"extra": {"***": ["***", 3]}}
