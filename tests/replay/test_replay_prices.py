"""No price is seen before it was published: 12:45 of the day before, by the clock on the wall."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.errors import UsageError
from flowrunner.market import Curve, Market, Price, Slot, local_day, midnight
from flowrunner.message import Instant
from flowrunner.replay.prices import Published, published
from flowrunner.replay.voices import PriceVoice
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND, Duration, parse_instant

VIENNA = ZoneInfo("Europe/Vienna")
HOUR = 3600 * SECOND
MARKET = Market(name="test", slot_ns=HOUR, gate_closure_ns=Duration.parse("5min"))


def known(zone: ZoneInfo = VIENNA) -> Published:
    """A year of hours whose price is their number."""
    begin = midnight(date(2024, 1, 1), zone)
    hours = (begin + number * HOUR for number in range(366 * 24))
    return Published(Curve(tuple(Price(at, at + HOUR, float(n)) for n, at in enumerate(hours))), MARKET, zone)


def hours_of(day: date) -> list[Slot]:
    return list(MARKET.of_day(day, VIENNA))


@pytest.mark.parametrize(
    ("before", "day", "offset", "hours"),
    [
        (date(2024, 1, 9), date(2024, 1, 10), "+01:00", 24),
        (date(2024, 3, 30), date(2024, 3, 31), "+01:00", 23),  # the day of the change is told on the day before
        (date(2024, 3, 31), date(2024, 4, 1), "+02:00", 24),
        (date(2024, 10, 26), date(2024, 10, 27), "+02:00", 25),
        (date(2024, 10, 27), date(2024, 10, 28), "+01:00", 24),
    ],
)
def test_a_day_is_known_from_a_quarter_to_one_of_the_day_before(
    before: date, day: date, offset: str, hours: int
) -> None:
    prices, slots = known(), hours_of(day)
    at = parse_instant(f"{before}T12:45:00{offset}")
    assert len(slots) == hours
    assert [prices.seen(slot, at - 1) for slot in slots] == [None] * hours
    assert [prices.seen(slot, at - SECOND) for slot in slots] == [None] * hours  # 12:44:59
    assert [prices.seen(slot, at) for slot in slots] == [prices.at(slot) for slot in slots]
    assert None not in [prices.at(slot) for slot in slots]
    after = MARKET.current(slots[-1].end)
    assert prices.seen(after, at) is None  # one day, and not an hour more


@given(
    now=st.integers(parse_instant("2024-01-02T00:00:00Z"), parse_instant("2024-12-28T00:00:00Z")),
    ahead=st.integers(-48, 72),
)
def test_what_is_seen_was_published(now: Instant, ahead: int) -> None:
    prices, slot = known_once, MARKET.current(now + ahead * HOUR)
    day_before = local_day(slot.start, VIENNA).toordinal() - 1
    local = local_day(now, VIENNA).toordinal()
    minutes = (now - midnight(local_day(now, VIENNA), VIENNA)) // (60 * SECOND)
    if local < day_before:
        assert prices.seen(slot, now) is None
    elif local > day_before:
        assert prices.seen(slot, now) == prices.at(slot)
    elif minutes < 11 * 60 + 45:  # an hour less: on a day when clocks change midnight is that far off
        assert prices.seen(slot, now) is None
    elif minutes >= 13 * 60 + 45:
        assert prices.seen(slot, now) == prices.at(slot)


known_once = known()

FAR = """
flow: far
timezone: Europe/Vienna
market: {name: day_ahead, slot: 1h, gate_closure: 13h}
nodes:
  price: {type: price-in, source: csv, file: prices.csv, every: 1h}
  kept: {type: log, from: price}
"""


def test_a_flow_does_not_see_a_price_before_it_is_published() -> None:
    """Its orders are for 13 hours ahead: shortly before one o'clock that is the next day."""

    async def story(rig: Rig) -> list[tuple[dict[str, float], str]]:
        spec = rig.engine.graph.nodes["far/price"]
        assert spec.market is not None
        base = known()
        voice = PriceVoice(rig.worker("price"), Published(base._curve, spec.market, VIENNA))
        seen: list[tuple[dict[str, float], str]] = []
        for time in ("12:30:00", "12:44:59", "12:45:00"):
            await rig.clock.sleep_until(parse_instant(f"2024-06-10T{time}+02:00"))
            voice._due = 0
            voice.speak(rig.now)
            await rig.settle()
            message = rig.out("price")[-1]
            seen.append((message.payload, message.info("price_eur_mwh").quality))
        return seen

    start = "2024-06-10T12:00:00+02:00"
    before, second_before, at = run_flow(FAR, story, start=start, stubs=["price", "kept"])
    price = known().at(Slot(parse_instant("2024-06-11T02:00:00+02:00"), parse_instant("2024-06-11T03:00:00+02:00")))
    assert set(before[0]) == set(second_before[0]) == {"price_now_eur_mwh"}
    assert before[1] == second_before[1] == "bad"
    assert at[0]["price_eur_mwh"] == price
    assert at[1] == "good"


def test_a_voice_speaks_when_what_is_known_changes() -> None:
    """Without being asked for anything but the time: it knows of the publication itself."""

    async def story(rig: Rig) -> list[int]:
        spec = rig.engine.graph.nodes["far/price"]
        assert spec.market is not None
        voice = PriceVoice(rig.worker("price"), Published(known()._curve, spec.market, VIENNA))
        for second in range(40 * 60):
            await rig.clock.sleep_until(parse_instant("2024-06-10T12:20:00+02:00") + second * SECOND)
            voice.speak(rig.now)
        await rig.settle()
        return [message.at for message in rig.out("price")]

    found = run_flow(FAR, story, start="2024-06-10T12:00:00+02:00", stubs=["price", "kept"])
    assert found == [parse_instant(f"2024-06-10T{time}:00+02:00") for time in ("12:20", "12:45")]


def test_whole_days_only() -> None:
    begin = midnight(date(2024, 5, 1), VIENNA)
    hours = [Price(begin + n * HOUR, begin + (n + 1) * HOUR, 1.0) for n in range(-3, 53)]
    assert Published(Curve(tuple(hours)), MARKET, VIENNA).days() == (date(2024, 5, 1), date(2024, 5, 2))
    with pytest.raises(UsageError, match="no whole day of Europe/Vienna"):
        Published(Curve(tuple(hours[:20])), MARKET, VIENNA).days()


def test_the_shipped_year_is_a_year() -> None:
    assert published("shipped:DE-LU-2024.csv", MARKET, ZoneInfo("Europe/Berlin")).days() == (
        date(2024, 1, 1), date(2024, 12, 31),
    )  # fmt: skip
