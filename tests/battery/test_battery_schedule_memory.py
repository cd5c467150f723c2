"""What a schedule remembers between two looks, against the plain definition: a sum and a minimum over all orders."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.battery import Battery, Schedule, Site
from flowrunner.battery.schedule import SITE_STEP
from flowrunner.units import SECOND, parse_instant

MINUTE = 60 * SECOND
START = parse_instant("2026-01-25T00:00:00+01:00")
VIENNA = ZoneInfo("Europe/Vienna")

minutes = st.integers(0, 60)
lengths = st.one_of(st.integers(1, 5), st.integers(1, 60))
sides = st.sampled_from(["BUY", "SELL"])
acts = st.lists(
    st.one_of(
        st.tuples(st.just("add"), minutes, lengths, sides, st.floats(0.01, 0.5)),
        st.tuples(st.just("cancel"), st.integers(0, 12)),
        st.tuples(st.just("forget"), minutes),
        st.tuples(st.just("drive"), minutes),
    ),
    max_size=25,
)


def plain_power(schedule: Schedule, now: int) -> float:
    running = [one.power_mw for one in schedule.deliveries if one.start <= now < one.end]
    return math.fsum(running) + (schedule.site.power_mw(now) if schedule.site else 0.0)


def plain_change(schedule: Schedule, now: int) -> int | None:
    edges = [edge for one in schedule.deliveries for edge in (one.start, one.end) if edge > now]
    return min([*edges, now - now % SITE_STEP + SITE_STEP] if schedule.site else edges, default=None)


def plain_drive(schedule: Schedule, battery: Battery, now: int) -> None:
    while True:
        battery.command(plain_power(schedule, battery.at))
        change = plain_change(schedule, battery.at)
        if change is None or change > now:
            break
        battery.advance(change)
    battery.advance(now)


@settings(max_examples=60)  # each story is asked at every half minute of two hours
@given(story=acts, has_site=st.booleans())
def test_it_answers_and_drives_as_the_plain_definition_does(story: list[Any], has_site: bool) -> None:
    schedule = Schedule(Site(zone=VIENNA) if has_site else None)
    driven, plain = (Battery(at=START, soc_percent=50) for _ in range(2))
    known: dict[str, tuple[int, int]] = {}
    for number, (act, *what) in enumerate(story):
        if act == "add":
            begin, length, side, quantity = what
            name, slot = str(number % 12), (START + begin * MINUTE, START + (begin + length) * MINUTE)
            if name not in known:
                known[name] = slot
                schedule.add(name, *slot, side, quantity)
        elif act == "cancel":
            assert schedule.cancel(str(what[0])) == (known.pop(str(what[0]), None) is not None)
        elif act == "forget":
            schedule.forget(START + what[0] * MINUTE)
            known = {name: slot for name, slot in known.items() if slot[1] > START + what[0] * MINUTE}
        else:
            schedule.drive(driven, START + what[0] * MINUTE)
            plain_drive(schedule, plain, START + what[0] * MINUTE)
        assert [(one.order_id, (one.start, one.end)) for one in schedule.deliveries] == sorted(
            known.items(), key=lambda item: (item[1][0], item[0])
        )
        assert (driven.at, driven.stored_mwh, driven.requested_power_mw) == (
            plain.at,
            plain.stored_mwh,
            plain.requested_power_mw,
        )
    for half in range(240):
        for now in (START + half * MINUTE // 2, START + half * MINUTE // 2 - 1):
            assert schedule.power_mw(now) == plain_power(schedule, now)
            assert schedule.next_change(now) == plain_change(schedule, now)


def test_an_order_that_comes_while_another_runs_is_not_overlooked() -> None:
    schedule, battery = Schedule(), Battery(at=START)
    schedule.drive(battery, START + MINUTE)
    schedule.add("now", START + MINUTE, START + 61 * MINUTE, "SELL", 1.0)
    schedule.drive(battery, START + 2 * MINUTE)
    assert battery.active_power_mw == 1.0
    schedule.cancel("now")
    schedule.drive(battery, START + 3 * MINUTE)
    assert battery.active_power_mw == 0
    assert battery.discharged_mwh == 2 / 60 - 1 / 60


def test_a_site_that_moves_in_is_heeded_at_once() -> None:
    noon = START + 12 * 60 * MINUTE
    schedule, battery = Schedule(), Battery(at=noon)
    schedule.drive(battery, noon + MINUTE)
    assert battery.active_power_mw == 0
    schedule.site = Site(zone=VIENNA)
    schedule.drive(battery, noon + 2 * MINUTE)
    assert battery.active_power_mw == schedule.site.power_mw(noon)
    assert battery.active_power_mw < -1


def test_one_schedule_drives_two_batteries_that_are_not_equally_far() -> None:
    schedule = Schedule()
    schedule.add("a", START + 10 * MINUTE, START + 20 * MINUTE, "BUY", 0.5)
    ahead, behind = Battery(at=START), Battery(at=START)
    schedule.drive(ahead, START + 30 * MINUTE)
    schedule.drive(behind, START + 15 * MINUTE)
    assert (ahead.active_power_mw, behind.active_power_mw) == (0, -3.0)
    assert (ahead.charged_mwh, behind.charged_mwh) == (0.5, 0.25)
