"""When a simulation begins: at any time of the year shortly before there is something to trade."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from flowrunner.market.year import shifted
from flowrunner.simulate import opening
from flowrunner.units import SECOND, Duration, parse_instant
from tests.simulate.living_world import MARKET

DAY, MINUTE = 86_400 * SECOND, 60 * SECOND
FIRST = parse_instant("2026-01-01T00:00:00Z")
TIMES = st.integers(FIRST, FIRST + 400 * DAY)


def state(eur_mwh: float, cheap: float, dear: float) -> str:
    return "BUY" if eur_mwh <= cheap else "SELL" if eur_mwh >= dear else ""


@given(TIMES, st.sampled_from([Duration.parse(one) for one in ("10s", "2min", "20min", "5h")]))
@example(parse_instant("2026-03-29T01:00:00Z"), Duration.parse("2min"))
def test_it_begins_within_a_week_and_trades_after_the_run_up(now: int, run_up: int) -> None:
    found = opening(now, MARKET, run_up=run_up)
    assert now - 7 * DAY <= found.start <= now
    if found.slot is None:
        assert (found.start, found.side, found.soc_percent) == (now, "", 50)
        return
    trades = found.start + run_up
    assert MARKET.delivery(trades - 1).end == found.slot.start
    assert MARKET.delivery(trades) == found.slot
    price, before = shifted(found.slot.start).eur_mwh, shifted(found.slot.start - 1).eur_mwh
    assert price == found.eur_mwh
    assert state(price, 60, 120) == found.side != state(before, 60, 120)
    assert found.soc_percent == (18 if found.side == "BUY" else 82)


def test_there_is_something_to_trade_on_each_day_of_the_year() -> None:
    """So that a newcomer sees an order, whenever he comes."""
    sides = [opening(FIRST + day * DAY + day * MINUTE, MARKET).side for day in range(366)]
    assert "" not in sides
    assert set(sides) == {"BUY", "SELL"}


@given(TIMES)
def test_limits_that_no_price_meets(now: int) -> None:
    assert opening(now, MARKET, cheap=-10_000, dear=10_000) == (now, 50, "", None, None)


@given(TIMES, st.floats(-20, 100), st.floats(100, 300))
def test_limits_of_the_flow(now: int, cheap: float, dear: float) -> None:
    found = opening(now, MARKET, cheap=cheap, dear=dear)
    assert found.side == ("" if found.eur_mwh is None else state(found.eur_mwh, cheap, dear))
