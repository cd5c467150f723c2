"""threshold in virtual time: verdicts, edges, hysteresis and hold times."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.errors import BadFlow
from flowrunner.fields import MAX_KEYS
from flowrunner.message import JSON, FieldInfo, Message
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND

HEAT = "above: 40, clear_below: 38, clear_after: 5min"
EDGES = ("above", "below", "cleared")


def flow(options: str, node: str = "hot") -> str:
    return f"""
flow: t
nodes:
  a: {{type: inject, once: true, payload: {{x: 0, y: 0}}}}
  {node}: {{type: threshold, from: a, field: x, {options}}}
"""


def play(story: Any, options: str, **run: Any) -> Any:
    return run_flow(flow(options), story, stubs=["a"], **run)


async def verdict(rig: Rig, value: JSON, **more: Any) -> str:
    """The verdict on a record with this value."""
    await rig.emit("a", {"x": value}, **more)
    return str(rig.out("hot")[-1].payload["hot"])


def edges(rig: Rig) -> list[tuple[str, JSON]]:
    """All edges so far, in order of event time: port and value."""
    found = [(one.at, port, one.payload["x"]) for port in EDGES for one in rig.out("hot", port)]
    return [(port, value) for _, port, value in sorted(found)]


def fresh_for(rig: Rig, seconds: int, **more: Any) -> dict[str, FieldInfo]:
    return {"x": FieldInfo(at=rig.now, received_at=rig.now, source="a", valid_until=rig.now + seconds * SECOND, **more)}


# ---- the comparison -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "verdicts"),
    [
        ("above: 40", {40.0: "clear", 40.1: "above", 40.000000000000007: "above", -99: "clear"}),
        ("above: 5, magnitude: true", {5.0: "clear", 5.1: "above", -5.0: "clear", -5.2: "above", 0: "clear"}),
        ("below: 10", {10: "clear", 9.9: "below", -10: "below"}),
        ("below: 10, above: 20", {15: "clear", 10: "clear", 20: "clear", 9: "below", 21: "above"}),
        ("above: 0", {-0.0: "clear", 1e-300: "above", -45.5: "clear"}),
    ],
)
def test_comparisons_are_strict(options: str, verdicts: dict[float, str]) -> None:
    for value, expected in verdicts.items():

        async def story(rig: Rig, value: float = value) -> str:
            return await verdict(rig, value)

        assert play(story, options) == expected, value


def test_the_verdict_is_a_field_of_the_nodes_own_name_and_the_record_passes_on() -> None:
    async def story(rig: Rig) -> None:
        info = FieldInfo(at=rig.now - 1, received_at=rig.now, source="s", valid_until=rig.now + 9, unit="MW")
        await rig.emit("a", {"x": 6, "y": "text"}, fields={"x": info}, key="north", meta={"topic": "t"})
        out = rig.out("power-limit")[-1]
        assert out.payload == {"x": 6, "y": "text", "power_limit": "above"}
        own = out.info("power_limit")
        assert (own.at, own.source, own.valid_until, own.unit) == (info.at, "s", info.valid_until, None)
        assert (out.info("x"), out.key, out.meta) == (info, "north", {"topic": "t"})

    run_flow(flow("above: 5", "power-limit"), story, stubs=["a"])


def test_a_verdict_that_would_overwrite_a_field_is_refused() -> None:
    with pytest.raises(BadFlow, match="its verdict would overwrite the field 'x'; rename the node"):
        run_flow(flow("above: 5", "x"), None, stubs=["a"])  # type: ignore[arg-type]  # it does not come to a story


def test_a_payload_that_is_a_number_is_judged_as_value() -> None:
    text = flow("above: 40").replace("payload: {x: 0, y: 0}", "payload: 1").replace("field: x", "field: value")

    async def story(rig: Rig) -> None:
        await rig.emit("a", 45)
        assert rig.payloads("hot") == [{"value": 45, "hot": "above"}]

    run_flow(text, story, stubs=["a"])


# ---- unknown --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "45", True, float("nan"), float("inf"), [45], {"v": 45}, 10**400])
def test_what_is_no_number_is_unknown_and_makes_no_edge(value: JSON) -> None:
    async def story(rig: Rig) -> None:
        assert await verdict(rig, value) == "unknown"
        assert edges(rig) == []
        assert rig.errors("hot") == {}

    play(story, "above: 40")


@pytest.mark.parametrize(
    "change",
    [
        {"quality": "bad"},
        {"quality": "uncertain"},
        {"at": 6},
        {"valid_until": 0},
        {"valid_until": -1},
        {"valid_from": 1, "valid_until": 9},
    ],
)
def test_no_fresh_value_is_unknown_as_of_now(change: dict[str, Any]) -> None:
    async def story(rig: Rig) -> None:
        times = {name: rig.now + value * SECOND for name, value in change.items() if isinstance(value, int)}
        good = FieldInfo(at=rig.now, received_at=rig.now, source="a")
        infos = {"x": msgspec.structs.replace(good, **(change | times))}
        assert await verdict(rig, 99, fields=infos, at=rig.now - 60 * SECOND) == "unknown"
        own = rig.out("hot")[-1].info("hot")
        assert (own.trouble(rig.now), own.at) == ("", rig.now), "a merge downstream must take it as news"
        assert edges(rig) == []

    play(story, "above: 40")


def test_a_missing_field_is_unknown_and_the_rest_passes_on() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"y": 1})
        assert rig.payloads("hot") == [{"y": 1, "hot": "unknown"}]

    play(story, "above: 40")


def test_unknown_replaces_the_verdict_in_a_merge_downstream() -> None:
    """The last good value may be newer than all that is left in the record; its verdict must not outlive it."""
    text = """
flow: t
nodes:
  a: {type: inject, once: true, payload: {x: 0, y: 0}}
  m: {type: merge, from: a}
  hot: {type: threshold, from: m, field: x, above: 40}
  n: {type: merge, from: hot}
"""

    async def story(rig: Rig) -> None:
        await rig.emit("a", {"y": 1}, at=rig.now - 60 * SECOND)
        await rig.emit("a", {"x": 25})
        assert rig.payloads("n")[-1]["hot"] == "clear"
        await rig.emit("a", {}, fields={"x": FieldInfo(at=rig.now, received_at=rig.now, source="a", quality="bad")})
        assert rig.payloads("n")[-1] == {"y": 1, "hot": "unknown"}
        await rig.emit("a", {"x": 25})
        assert rig.payloads("n")[-1] == {"x": 25, "y": 1, "hot": "clear"}

    run_flow(text, story, stubs=["a"])


# ---- edges and hysteresis ------------------------------------------------------------------------------------------


def test_edges_leave_exactly_once_with_the_whole_record() -> None:
    async def story(rig: Rig) -> None:
        for value in (39, 41, 42, 41, 39, 38, 41, "broken", 41, None, 30):
            await verdict(rig, value)
            await rig.advance("1s")
        assert edges(rig) == [("above", 41), ("cleared", 39), ("above", 41), ("cleared", 30)]
        assert rig.payloads("hot", "above")[0] == {"x": 41, "hot": "above"}
        assert len(rig.out("hot")) == 11

    play(story, "above: 40")


def test_the_first_value_over_the_limit_is_above_at_once_and_the_first_clear_one_is_no_edge() -> None:
    async def hot(rig: Rig) -> None:
        assert await verdict(rig, 41) == "above"
        assert edges(rig) == [("above", 41)]

    async def cold(rig: Rig) -> None:
        assert await verdict(rig, 25) == "clear"
        assert edges(rig) == []

    play(hot, HEAT)
    play(cold, HEAT)


def test_above_and_below_of_one_node() -> None:
    async def story(rig: Rig) -> None:
        found = []
        for value in (15, 25, 18.5, 5, 11.5, 15, 25):
            found.append(await verdict(rig, value))
            await rig.advance("1s")
        assert found == ["clear", "above", "above", "below", "below", "clear", "above"]
        assert edges(rig) == [("above", 25), ("below", 5), ("cleared", 15), ("above", 25)]

    play(story, "above: 20, clear_below: 18, below: 10, clear_above: 12")


def test_hysteresis_is_strict_too() -> None:
    async def story(rig: Rig) -> None:
        found = [await verdict(rig, value) for value in (40.1, 40, 38.1, 38, 37.9, 39.9)]
        assert found == ["above", "above", "above", "above", "clear", "clear"]

    play(story, "above: 40, clear_below: 38")


# ---- hold times -----------------------------------------------------------------------------------------------------


def test_clear_after_counts_fresh_values_in_event_time() -> None:
    async def story(rig: Rig) -> None:
        assert await verdict(rig, 45) == "above"
        for _ in range(10):  # 30 s, 60 s … 300 s: the first value that is back starts the count
            await rig.advance("30s")
            assert await verdict(rig, 37) == "above"
        await rig.advance("30s")
        assert await verdict(rig, 37) == "clear"
        assert edges(rig) == [("above", 45), ("cleared", 37)]

    play(story, HEAT)


def test_a_value_in_between_starts_clear_after_again() -> None:
    async def story(rig: Rig) -> None:
        await verdict(rig, 45)
        await verdict(rig, 37)
        await rig.advance("299s")
        assert await verdict(rig, 38) == "above"
        await rig.advance("1s")
        assert await verdict(rig, 37) == "above"
        await rig.advance("5min")
        assert await verdict(rig, 37) == "clear"

    play(story, HEAT)


def test_one_value_repeated_by_others_news_does_not_count_as_time() -> None:
    async def story(rig: Rig) -> None:
        await verdict(rig, 45)
        old = fresh_for(rig, 3600)
        for _ in range(20):
            await rig.advance("1min")
            assert await verdict(rig, 30, fields=old) == "above"

    play(story, HEAT)


@pytest.mark.parametrize("gap", ["bad", "missing", "uncertain", "text", "ran out", "future"])
def test_a_gap_starts_the_count_again(gap: str) -> None:
    async def story(rig: Rig) -> None:
        await verdict(rig, 45, fields=fresh_for(rig, 90))
        for _ in range(9):
            await rig.advance("30s")
            assert await verdict(rig, 30, fields=fresh_for(rig, 90)) == "above"
        if gap == "bad":
            assert await verdict(rig, 30, fields=fresh_for(rig, 90, quality="bad")) == "unknown"
        elif gap == "uncertain":
            assert await verdict(rig, 30, fields=fresh_for(rig, 90, quality="uncertain")) == "unknown"
        elif gap == "missing":
            await rig.emit("a", {"y": 1})
        elif gap == "text":
            assert await verdict(rig, "30") == "unknown"
        elif gap == "future":
            assert await verdict(rig, 30, at=rig.now + 6 * SECOND) == "unknown"
        else:
            await rig.advance("60s")  # with the 30 s below: exactly when the value before ran out
        await rig.advance("30s")
        for _ in range(10):
            assert await verdict(rig, 30, fields=fresh_for(rig, 90)) == "above"
            await rig.advance("30s")
        assert await verdict(rig, 30, fields=fresh_for(rig, 90)) == "clear"

    play(story, HEAT)


def test_a_source_that_is_behind_does_not_lengthen_the_count() -> None:
    async def story(rig: Rig) -> None:
        await verdict(rig, 45)
        assert await verdict(rig, 30, at=rig.now - 240 * SECOND) == "above"
        await rig.advance("60s")
        assert await verdict(rig, 30) == "above", "only one minute has gone by since 45"
        await rig.advance("240s")
        assert await verdict(rig, 30) == "clear"

    play(story, HEAT)


def test_what_a_person_typed_fills_no_gap_of_a_sensor() -> None:
    async def story(rig: Rig) -> None:
        await verdict(rig, 45)
        typed = fresh_for(rig, 7200, origin="manual")
        await rig.advance("30s")
        await verdict(rig, 30)
        await rig.advance("290s")
        assert await verdict(rig, 25, fields=typed) == "above", "the sensor is away"
        await rig.advance("10s")
        assert await verdict(rig, 30) == "above"
        await rig.advance("299s")
        assert await verdict(rig, 30) == "above"
        await rig.advance("1s")
        assert await verdict(rig, 30) == "clear"

    play(story, HEAT)


def test_for_waits_before_above_and_a_dip_starts_it_again() -> None:
    async def story(rig: Rig) -> None:
        found = []
        for value, wait in ((41, 30), (41, 29), (40, 1), (41, 59), (42, 1), (42, 0)):
            found.append(await verdict(rig, value))
            await rig.advance(f"{wait}s")
        assert found == ["clear", "clear", "clear", "clear", "clear", "above"]
        assert edges(rig) == [("above", 42)]

    play(story, "above: 40, for: 1min")


@pytest.mark.parametrize("away", [30, 89, 90])
def test_verdict_and_hold_times_survive_a_restart_and_a_gap_over_it_counts_as_one(away: int) -> None:
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await verdict(rig, 45, key="north", fields=fresh_for(rig, 90))
        for _ in range(9):
            await rig.advance("30s")
            await verdict(rig, 30, key="north", fields=fresh_for(rig, 90))

    async def after(rig: Rig) -> str:
        assert rig.out("hot") == []
        await verdict(rig, 30, key="north", fields=fresh_for(rig, 90))
        first = edges(rig)
        await rig.advance("60s")
        await verdict(rig, 30, key="north", fields=fresh_for(rig, 90))
        assert first in ([], edges(rig)), "what was an edge is none again"
        return await verdict(rig, 30, key="north", fields=fresh_for(rig, 90))

    play(before, HEAT, store=store)
    minutes, seconds = divmod(270 + away, 60)
    restarted = play(after, HEAT, store=store, start=f"2025-01-25T02:{minutes:02}:{seconds:02}+01:00")
    assert restarted == ("above" if away == 90 else "clear"), "a value is fresh for 90 s, also while nobody looks"


def test_each_key_has_its_own_latch() -> None:
    async def story(rig: Rig) -> None:
        assert await verdict(rig, 45, key="north") == "above"
        assert await verdict(rig, 30, key="south") == "clear"
        assert await verdict(rig, 39, key="north") == "above"
        assert await verdict(rig, 39, key="south") == "clear"

    play(story, HEAT)


def test_too_many_keys_are_refused() -> None:
    async def story(rig: Rig) -> None:
        source = rig.worker("a").ctx
        await source.emit(source.message({"x": 1}, position="p", key="7"))
        latches: dict[str, object] = rig.worker("hot").node.latches  # type: ignore[attr-defined]  # the type's own
        latches.update(dict.fromkeys((f"site-{number}" for number in range(MAX_KEYS - 2)), latches["7"]))
        for key in ("the last", "one too many"):
            await source.emit(source.message({"x": 1}, position="p", key=key))
        assert rig.errors("hot") == {"too-many-keys": 1}
        assert await verdict(rig, 45, key="7") == "above"

    play(story, HEAT)


# ---- what a manual value hides ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "hidden", "expected"),
    [
        (25, [45], "above"),
        (45, [25], "above"),
        (25, [30], "clear"),
        (25, [30, 45], "above"),
        (25, ["x", None], "clear"),
    ],
)
def test_the_worse_of_a_manual_value_and_what_it_hides(value: float, hidden: list[JSON], expected: str) -> None:
    async def story(rig: Rig) -> str:
        return await verdict(rig, value, meta={"overridden": {"x": hidden}})

    assert play(story, HEAT) == expected


def test_a_person_who_types_25_does_not_cool_the_battery() -> None:
    text = """
flow: t
nodes:
  a: {type: inject, once: true, payload: {temp: 0}}
  raw: {type: scale, from: hand, fields: {temp: {factor: 10}}}
  hand: {type: manual-in, fields: {temp: {}}}
  m: {type: merge, from: [a, raw], manual: override, stale_after: 90s}
  degrees: {type: scale, from: m, fields: {temp: {factor: 0.1}}}
  named: {type: select, from: degrees, fields: {temperature_c: temp}}
  site: {type: merge, from: named}
  hot: {type: threshold, from: site, field: temperature_c, above: 40, clear_below: 38, clear_after: 5min}
"""

    async def story(rig: Rig) -> None:
        await rig.emit("a", {"temp": 450})
        await rig.enter("hand", {"temp": 25})
        for _ in range(20):
            await rig.emit("a", {"temp": 450})
            assert rig.payloads("hot")[-1] == {"temperature_c": 25, "hot": "above"}
            await rig.advance("30s")
        assert rig.out("hot")[-1].meta == {"overridden": {"temperature_c": [45]}}

    run_flow(text, story, stubs=["a"])


# ---- contradictions ------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("magnitude: true", "there is no limit"),
        ("above: 5, below: 5", "nothing would be clear"),
        ("above: 40, clear_below: 41", "clear_below 41 must not be more than 'above' \\(40\\)"),
        ("below: 10, clear_above: 9", "clear_above 9 must not be less than 'below' \\(10\\)"),
        ("above: 40, clear_above: 41", "there is no 'below' that it could end"),
        ("below: 40, clear_below: 41", "there is no 'above' that it could end"),
        ("above: 20, below: 10, clear_below: 9", "9 is beyond below 10: it would never be clear"),
        ("above: 20, below: 10, clear_above: 21", "21 is beyond above 20: it would never be clear"),
        ("above: -5, magnitude: true", "a magnitude is never below 0"),
        ("below: 0, magnitude: true", "a magnitude is never below 0"),
        ("above: .nan", "not a finite number"),
    ],
)
def test_limits_that_contradict_each_other(options: str, complaint: str) -> None:
    with pytest.raises(BadFlow, match=complaint):
        run_flow(flow(options), None, stubs=["a"])  # type: ignore[arg-type]  # it does not come to a story


# ---- a model ------------------------------------------------------------


def modelled(samples: list[tuple[int, float | None]], hold: int, back: int) -> list[str]:
    """Verdicts of `above: 40, clear_below: 38` by looking back over all samples (time, value; None: no fresh value).

    A change needs a run of samples without a gap that all speak for it, and that lasts as long as the hold time.
    """
    found, state, changed = [], "clear", 0
    for index, (now, value) in enumerate(samples):
        start = index + 1
        while start > changed and speaks_against(state, samples[start - 1][1]):
            start -= 1
        if start <= index and now - samples[start][0] >= (back if state == "above" else hold):
            state, changed = ("clear" if state == "above" else "above"), index
        found.append("unknown" if value is None else state)
    return found


def speaks_against(state: str, value: float | None) -> bool:
    return value is not None and (value < 38 if state == "above" else value > 40)


values = st.sampled_from([41.0, 40.5, 40.0, 39.0, 38.0, 37.9, 30.0]) | st.none()


@settings(max_examples=75, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), values), min_size=1, max_size=25), st.integers(0, 60), st.integers(0, 120)
)
def test_against_a_model_that_looks_back(steps: list[tuple[int, float | None]], hold: int, back: int) -> None:
    async def story(rig: Rig) -> list[Message]:
        for wait, value in steps:
            await rig.advance(f"{wait}s")
            await verdict(rig, value)
        return rig.out("hot")

    out = play(story, f"above: 40, clear_below: 38, for: {hold}s, clear_after: {back}s")
    time, samples = 0, []
    for wait, value in steps:
        time += wait
        samples.append((time, value))
    assert [one.payload["hot"] for one in out] == modelled(samples, hold, back)
