"""A real year: what a battery that buys cheap and sells dear would have earned, checked by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.replay import Result
from tests.peers.program import environment, run
from tests.replay.playing import FLOWS, begin, cents, play, prices

YEAR = "DE-LU-2024.csv"
QUARTERS = "DE-LU-2025-12-15min.csv"


@pytest.fixture(scope="module")
def year() -> Result:
    return play("cycle", step="1h")


@pytest.fixture(scope="module")
def december() -> Result:
    return play("quarters", step="15min", prices=f"shipped:{QUARTERS}")


def check_balance(result: Result) -> None:
    energy = result["energy"]
    left = energy["bought_mwh"] - energy["sold_mwh"] - energy.get("site_mwh", 0.0) - energy["losses_mwh"]
    assert left == pytest.approx(energy["stored_change_mwh"], rel=1e-9, abs=1e-9)
    battery = result["battery"]
    moved = (battery["soc_end_percent"] - battery["soc_start_percent"]) / 100 * battery["capacity_mwh"]
    assert energy["stored_change_mwh"] == pytest.approx(moved, abs=1e-6)  # as the percentages are rounded


def test_the_energy_of_a_year_is_all_there(year: Result) -> None:
    check_balance(year)
    energy = year["energy"]
    assert energy["bought_mwh"] > 500
    assert energy["losses_mwh"] == pytest.approx(0.05 * energy["bought_mwh"] + (1 / 0.95 - 1) * energy["sold_mwh"])


def test_the_profit_is_that_of_its_orders(year: Result) -> None:
    earned = [cents(order) for order in year["orders"]]
    assert round(year["profit_eur"], 2) == round(math.fsum(earned), 2)
    assert year["revenue_eur"] == pytest.approx(math.fsum(one for one in earned if one > 0), abs=1e-6)
    assert year["cost_eur"] == pytest.approx(-math.fsum(one for one in earned if one < 0), abs=1e-6)
    assert year["revenue_eur"] - year["cost_eur"] == pytest.approx(year["profit_eur"], abs=2e-6)


def test_each_order_was_paid_at_the_price_of_its_slot(year: Result) -> None:
    of = prices(YEAR)
    for order in year["orders"]:
        price = of[begin(order, 60)]
        limit = order["limit_price_eur_mwh"]
        allowed = price <= limit if order["side"] == "BUY" else price >= limit
        assert (order["status"], order["price_eur_mwh"]) == (("filled", price) if allowed else ("unfilled", None))
        assert (price <= 40) == (order["side"] == "BUY")


def test_negative_prices_are_traded_and_pay_the_buyer(year: Result) -> None:
    paid_to_buy = [one for one in year["orders"] if one["side"] == "BUY" and (one["price_eur_mwh"] or 0) < 0]
    assert len(paid_to_buy) > 20
    assert year["revenue_eur"] > sum(cents(one) for one in year["orders"] if one["side"] == "SELL")


def test_the_days_when_clocks_change(year: Result) -> None:
    days = {one["date"]: one for one in year["days"]}
    assert len(days) == 366
    assert days["2024-03-31"]["hours"] == 23
    assert days["2024-10-27"]["hours"] == 25
    assert {one["hours"] for name, one in days.items() if name not in ("2024-03-31", "2024-10-27")} == {24}
    assert sum(one["hours"] for one in days.values()) == year["limits"]["hours"] == 8784


def test_days_and_months_add_up_to_the_year(year: Result) -> None:
    for part in ("days", "months"):
        for name, whole in (
            ("profit_eur", year["profit_eur"]),
            ("bought_mwh", year["energy"]["bought_mwh"]),
            ("sold_mwh", year["energy"]["sold_mwh"]),
            ("orders", len(year["orders"])),
        ):
            assert sum(one[name] for one in year[part]) == pytest.approx(whole, abs=1e-3)
    assert [one["month"] for one in year["months"]] == [f"2024-{month:02}" for month in range(1, 13)]
    assert sum(one["cycles"] for one in year["months"]) == pytest.approx(year["battery"]["full_cycles"], abs=1e-4)


def test_the_series_tells_the_same_story(year: Result) -> None:
    slots = year["series"]["slots"]
    assert {len(column) for column in slots.values()} == {8784}
    assert slots["start"][1] - slots["start"][0] == 3600
    assert slots["price_eur_mwh"] == list(prices(YEAR).values())
    assert slots["profit_eur"][-1] == pytest.approx(year["profit_eur"], abs=0.01)
    assert slots["soc_percent"][-1] == pytest.approx(year["battery"]["soc_end_percent"], abs=1e-3)
    given = sum(slots["power_mw"])  # hours: MWh
    assert given == pytest.approx(year["energy"]["sold_mwh"] - year["energy"]["bought_mwh"], abs=1e-3)


def test_the_guard_keeps_the_battery_within_its_limits(year: Result) -> None:
    assert min(year["series"]["slots"]["soc_percent"]) >= 5
    assert max(year["series"]["slots"]["soc_percent"]) <= 95
    assert year["energy"]["undelivered_mwh"] == {"bought": 0.0, "sold": 0.0}
    assert year["blocked"]["energy"]["slots"] > 100
    assert year["blocked"]["energy"]["times"] >= year["blocked"]["energy"]["slots"]


def test_quarter_hours(december: Result) -> None:
    check_balance(december)
    of = prices(QUARTERS)
    filled = [one for one in december["orders"] if one["status"] == "filled"]
    assert len(filled) > 100
    assert any(not one["delivery_start"].endswith("00:00.000Z") for one in filled)
    for order in filled:
        assert order["price_eur_mwh"] == of[begin(order, 15)]
    assert len(december["series"]["slots"]["start"]) == 31 * 96
    assert december["series"]["slots"]["price_eur_mwh"] == list(of.values())


def test_a_second_run_writes_the_same_bytes(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"step": "15min", "first": "2024-05-01", "last": "2024-05-14"}
    texts = [msgspec.json.encode(play("cycle", **chosen)) + b"\n" for _ in range(2)]
    assert texts[0] == texts[1]
    arguments = ["--step", "15min", "--from", "2024-05-01", "--to", "2024-05-14", "--json", str(tmp_path / "x.json")]
    other = run("replay", str(FLOWS / "cycle.yaml"), *arguments, env={**environment(), "PYTHONHASHSEED": "7"})
    assert other.returncode == 0, other.stderr
    found, own = msgspec.json.decode((tmp_path / "x.json").read_bytes()), msgspec.json.decode(texts[0])
    assert found.pop("file") == own.pop("file")
    assert found == own
