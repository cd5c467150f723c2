"""rule: when a record becomes a wish, and what the wish says."""

from __future__ import annotations

from typing import Any

import pytest

from flowrunner.message import FieldInfo
from flowrunner.testing import Rig, run_flow

FLOW = """
flow: site
timezone: Europe/Vienna
vars: {cheap: 60}
nodes:
  meter: {type: manual-in, fields: {soc_percent: {}, price_eur_mwh: {}, name: {}}}
  buy:
    type: rule
    from: meter
    when: [soc_percent < 30, price_eur_mwh <= cheap]
    then: {side: BUY, quantity_mwh: 1, limit_price_eur_mwh: price_eur_mwh}
    OPTIONS
"""
SECOND = 10**9


def play(story: Any, *, flow: str = FLOW, options: str = "note: none", **run: Any) -> Any:
    return run_flow(flow.replace("OPTIONS", options), story, stubs=["meter"], **run)


async def see(rig: Rig, soc: Any = 20, price: Any = 50, **more: Any) -> int:
    """One record; how many wishes came of it."""
    before = len(rig.out("buy"))
    await rig.emit("meter", {"soc_percent": soc, "price_eur_mwh": price}, **more)
    return len(rig.out("buy")) - before


def test_a_wish_is_the_record_and_what_is_wanted() -> None:
    async def story(rig: Rig) -> None:
        info = FieldInfo(at=rig.now - 5, received_at=rig.now, source="meter", unit="%")
        assert await see(rig, fields={"soc_percent": info}, meta={"reply": "kept"}, key="north") == 1
        (wish,) = rig.out("buy")
        assert wish.payload == {
            "soc_percent": 20, "price_eur_mwh": 50, "side": "BUY", "quantity_mwh": 1, "limit_price_eur_mwh": 50,
            "order_type": "LIMIT", "time_in_force": "GFD", "rule": "buy",
        }  # fmt: skip
        assert (wish.key, wish.info("soc_percent")) == ("north", info)
        assert wish.meta is not None
        assert wish.meta["reply"] == "kept"
        decision = wish.meta["decision"]
        assert decision["rule"] == "buy"
        assert decision["uses"] == ["soc_percent", "price_eur_mwh"], "vars are no inputs"
        assert [(one["text"], one["value"], one["limit"], one["outcome"]) for one in decision["clauses"]] == [
            ("soc_percent < 30", 20, 30, True), ("price_eur_mwh <= cheap", 50, 60, True),
        ]  # fmt: skip

    play(story)


def test_ten_records_ten_wishes() -> None:
    async def story(rig: Rig) -> None:
        assert [await see(rig) for _ in range(10)] == [1] * 10
        assert [await see(rig, soc) for soc in (30, 30.0, 29.999)] == [0, 0, 1]
        assert rig.errors("buy") == {}

    play(story)


@pytest.mark.parametrize(
    ("soc", "price", "said"),
    [
        (None, 50, "soc_percent is null"), ("20", 50, "text"), (True, 50, ""), ([20], 50, "not a single value"),
        (float("nan"), 50, "not a finite number"), (80, float("inf"), "not a finite number"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_judged_is_an_error_also_where_another_condition_is_false(
    soc: Any, price: Any, said: str
) -> None:
    async def story(rig: Rig) -> None:
        assert await see(rig, soc, price) == 0
        assert rig.errors("buy") == {"expression": 1}
        assert said in rig.worker("buy").counters.last_error

    play(story)


@pytest.mark.parametrize("changes", [{"quality": "uncertain"}, {"quality": "bad"}, {"valid_until": 1}, {"at": 2**62}])
def test_a_value_that_must_not_be_used_is_an_error(changes: dict[str, Any]) -> None:
    async def story(rig: Rig) -> None:
        about: dict[str, Any] = {"at": rig.now, "received_at": rig.now, "source": "meter"} | changes
        assert await see(rig, fields={"price_eur_mwh": FieldInfo(**about)}) == 0
        assert rig.errors("buy") == {"expression": 1}

    play(story)


def test_a_missing_field_is_an_error_and_a_payload_that_is_no_record_too() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", {"soc_percent": 20})
        await rig.emit("meter", 20)
        assert rig.errors("buy") == {"expression": 2}
        assert rig.out("buy") == []

    play(story)


def test_for_counts_from_the_first_of_records_that_all_hold() -> None:
    async def story(rig: Rig) -> None:
        seen = []
        for soc in (20, 20, 20, 20, 40, 20, 20, None, 20, 20, 20):
            seen.append(await see(rig, soc))
            await rig.advance("30s")
        assert seen == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1]

    play(story, options="for: 1min")


def test_for_is_kept_for_each_key_and_over_a_restart() -> None:
    async def story(rig: Rig) -> None:
        assert await see(rig, key="north") == 0
        await rig.advance("30s")
        await rig.restart()
        assert await see(rig, key="south") == 0
        await rig.advance("30s")
        assert (await see(rig, key="north"), await see(rig, key="south")) == (1, 0)

    play(story, options="for: 1min")


def test_after_a_wish_it_rests() -> None:
    async def story(rig: Rig) -> None:
        seen = []
        for _ in range(6):
            seen.append(await see(rig))
            await rig.advance("30s")
            await rig.restart()
        assert seen == [1, 0, 1, 0, 1, 0]
        assert await see(rig, key="other") == 1

    play(story, options="cooldown: 1min")


def test_numbers_may_be_computed() -> None:
    computed = FLOW.replace("quantity_mwh: 1, limit_price_eur_mwh: price_eur_mwh",
                            "quantity_mwh: (30 - soc_percent) / 10, limit_price_eur_mwh: cheap + 1")  # fmt: skip

    async def story(rig: Rig) -> None:
        await see(rig, soc=20)
        (wish,) = rig.payloads("buy")
        assert (wish["quantity_mwh"], wish["limit_price_eur_mwh"]) == (1.0, 61)

    play(story, flow=computed)


@pytest.mark.parametrize(
    ("quantity", "code", "said"),
    [
        ("soc_percent - 20", "quantity", "then.quantity_mwh is 0: it cannot be ordered"),
        ("soc_percent - 30", "quantity", "then.quantity_mwh is -10: it cannot be ordered"),
        ("1 / (soc_percent - 20)", "expression", "then.quantity_mwh: "),
    ],
)
def test_a_quantity_that_cannot_be_ordered_is_an_error(quantity: str, code: str, said: str) -> None:
    async def story(rig: Rig) -> None:
        assert await see(rig) == 0
        assert list(rig.errors("buy")) == [code]
        assert said in rig.worker("buy").counters.last_error

    play(story, flow=FLOW.replace("quantity_mwh: 1,", f"quantity_mwh: {quantity},"), options="cooldown: 1h")


def test_a_price_for_the_next_delivery_may_be_judged_before_it_begins() -> None:
    market = FLOW.replace("vars:", "market: {name: epex_at, slot: 15min, gate_closure: 5min}\nvars:")

    async def story(rig: Rig) -> None:
        start = rig.now + 900 * SECOND
        for shift, count in ((0, 1), (900, 0)):
            info = FieldInfo(at=rig.now, received_at=rig.now, source="price", valid_from=start + shift * SECOND,
                             valid_until=start + (shift + 900) * SECOND)  # fmt: skip
            assert await see(rig, fields={"price_eur_mwh": info}) == count
        assert "price_eur_mwh is not valid yet" in rig.worker("buy").counters.last_error

    play(story, flow=market)


def test_a_silence_in_which_a_value_ran_out_starts_for_again() -> None:
    flow = FLOW_FOR_SILENCE

    async def story(rig: Rig) -> list[int]:
        counts = []
        for wait in ("0s", "60s", "60s", "10min", "60s", "60s", "60s"):
            await rig.advance(wait)
            await rig.emit("site", {"soc_percent": 20})
            counts.append(len(rig.out("buy")))
        return counts

    assert run_flow(flow, story) == [0, 0, 1, 1, 1, 2, 3]


FLOW_FOR_SILENCE = """
flow: t
nodes:
  site: {type: manual-in, fields: {soc_percent: {}}}
  state: {type: merge, from: site, stale_after: 90s}
  buy:
    type: rule
    from: state
    for: 2min
    when: soc_percent < 30
    then: {side: BUY, quantity_mwh: 1, limit_price_eur_mwh: 50}
"""
