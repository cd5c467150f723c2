"""merge in virtual time: every promise of the flow format, word by word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flowrunner.errors import BadFlow
from flowrunner.fields import MAX_KEYS
from flowrunner.message import JSON, FieldInfo, Message
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND

LATER = "2025-01-25T02:01:00+01:00"


def flow(options: str = "", sources: str = "a, b, hand", more: str = "") -> str:
    return f"""
flow: t
nodes:
  a: {{type: inject, once: true, payload: {{x: 0, y: 0, z: 0, q: 0}}}}
  b: {{type: inject, once: true, payload: {{x: 0, y: 0, z: 0, q: 0}}}}
  hand: {{type: manual-in, fields: {{x: {{}}, y: {{}}}}, expires_after: 10min}}
  m: {{type: merge, from: [{sources}]{", " + options if options else ""}}}
{more}"""


def play(story: Any, options: str = "", *, sources: str = "a, b, hand", more: str = "", **run: Any) -> Any:
    return run_flow(flow(options, sources, more), story, stubs=["a", "b"], **run)


def last(rig: Rig) -> Message:
    return rig.out("m")[-1]


def troubles(rig: Rig) -> dict[str, str]:
    return {name: info.trouble(rig.now) for name, info in (last(rig).fields or {}).items()}


def bad(rig: Rig, field: str, source: str = "a") -> dict[str, FieldInfo]:
    return {field: FieldInfo(at=rig.now, received_at=rig.now, source=source, quality="bad")}


# ---- what goes into a record ------------------------------------------------------------------------------------


def test_one_source_alone_does_not_wipe_the_fields_of_the_others() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.emit("a", {"y": 2})
        await rig.emit("b", {"z": 3})
        await rig.emit("a", {"y": 4})
        assert rig.payloads("m") == [{"x": 1}, {"x": 1, "y": 2}, {"x": 1, "y": 2, "z": 3}, {"x": 1, "y": 4, "z": 3}]
        infos = last(rig).fields or {}
        assert {name: info.source for name, info in infos.items()} == {"x": "a", "y": "a", "z": "b"}

    play(story)


def test_an_equal_value_is_news_its_time_moves_and_a_record_goes_out() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await rig.emit("a", {"x": 1})
            assert last(rig).info("x").at == last(rig).at == rig.now
            await rig.advance("30s")
        assert rig.payloads("m") == [{"x": 1}] * 3

    play(story)


def test_without_prefer_the_newest_counts_and_among_equally_new_the_latest_arrival() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.emit("b", {"x": 2})
        await rig.emit("a", {"x": 3})
        await rig.emit("b", {"x": 4}, at=rig.now - SECOND)
        assert [one["x"] for one in rig.payloads("m")] == [1, 2, 3, 3]

    play(story)


@pytest.mark.parametrize(
    ("sources", "prefer"),
    [("a, b", "a"), ("a.out, b", "a.out, b"), ("t/a, b", "t/a, b"), ("a, b.out", "a, b.out"), ("b, a", "a, b")],
)
def test_prefer_names_inputs_as_from_does(sources: str, prefer: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.emit("b", {"x": 2})
        assert rig.payloads("m") == [{"x": 1}, {"x": 1}]
        await rig.advance("91s")
        await rig.emit("b", {"x": 3})  # the preferred one is stale now
        assert last(rig).payload == {"x": 3}
        await rig.emit("a", {"x": 4})
        assert last(rig).payload == {"x": 4}

    play(story, f"prefer: [{prefer}], stale_after: 90s", sources=sources)


def test_two_ports_of_one_node_are_two_sources() -> None:
    more = "  judge: {type: filter, from: b, when: x > 10}\n"

    async def story(rig: Rig) -> None:
        await rig.emit("b", {"x": 11})
        await rig.emit("b", {"x": 9})
        assert rig.payloads("m") == [{"x": 11}, {"x": 9}]
        await rig.emit("b", {"x": 12})
        assert last(rig).payload == {"x": 9}, "the port that is preferred still has a fresh value"
        held = rig.worker("m").node.standings[""].site.held["x"]  # type: ignore[attr-defined]  # the node's own
        assert set(held) == {"judge.out", "judge.else"}

    play(story, 'prefer: ["judge.else", judge]', sources="judge, judge.else", more=more)


def test_a_clock_that_is_a_little_ahead_does_not_make_a_value_newer() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1}, at=rig.now + 4 * SECOND)
        await rig.advance("2s")
        await rig.emit("b", {"x": 2})
        assert rig.payloads("m") == [{"x": 1}, {"x": 2}]

    play(story)


def test_prefer_twice_the_same_input_is_a_contradiction() -> None:
    with pytest.raises(BadFlow, match="'a' is in it twice"):
        play(None, "prefer: [a, a.out]", sources="a, a.out")


# ---- bad, missing, older, from the future --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["bad", "null", "nan", "inf", "bad with a value", "named but absent"])
def test_a_value_that_is_none_replaces_the_good_one_of_its_source_at_once(how: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("b", {"x": 7})
        await rig.emit("a", {"x": 1, "y": 2})
        payload: JSON = {"null": {"x": None}, "nan": {"x": float("nan")}, "inf": {"x": float("inf")}}.get(how, {})
        payload = {"x": 5} if how == "bad with a value" else payload
        info = None if payload and how != "bad with a value" else bad(rig, "x")
        if how == "named but absent":
            info = {"x": FieldInfo(at=rig.now, received_at=rig.now, source="a")}
        await rig.emit("a", payload, fields=info)
        assert last(rig).payload == {"x": 7, "y": 2}, "the next in prefer counts"
        await rig.emit("b", {}, fields=bad(rig, "x", "b"))
        assert last(rig).payload == {"y": 2}, "else the field is absent, and never 0"
        assert troubles(rig) == {"x": "bad", "y": ""}
        await rig.emit("a", {"x": 3})
        assert last(rig).payload == {"x": 3, "y": 2}

    play(story, "prefer: [a, b]")


def test_an_older_time_never_replaces_a_newer_one_and_is_counted() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.emit("a", {"x": 2}, at=rig.now - 1)
        await rig.emit("a", {"x": 3}, at=rig.now)
        assert [one["x"] for one in rig.payloads("m")] == [1, 1, 3]
        assert rig.worker("m").counters.dropped == {"older": 1}

    play(story)


def test_the_age_is_the_worse_of_event_time_and_arrival() -> None:
    async def story(rig: Rig) -> None:
        now = rig.now
        late = FieldInfo(at=now - 80 * SECOND, received_at=now, source="a")
        ahead = FieldInfo(at=now + 4 * SECOND, received_at=now - 60 * SECOND, source="a")
        await rig.emit("a", {"x": 1, "y": 2}, fields={"x": late, "y": ahead})
        infos = last(rig).fields or {}
        assert [infos[name].age_ns(now) for name in "xy"] == [80 * SECOND, 60 * SECOND]
        await rig.advance("9.999s")
        assert troubles(rig) == {"x": "", "y": ""}
        await rig.advance("1ms")
        assert troubles(rig) == {"x": "stale", "y": ""}
        await rig.advance("20s")
        assert troubles(rig) == {"x": "stale", "y": "stale"}

    play(story, "stale_after: 90s")


def test_a_time_more_than_5_s_ahead_is_uncertain_and_does_not_hold_back_the_right_clock() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1}, at=rig.now + 5 * SECOND)
        assert troubles(rig) == {"x": ""}
        year = 365 * 86400 * SECOND
        await rig.advance("10s")
        await rig.emit("a", {"x": 2}, at=rig.now + year)
        assert (last(rig).info("x").quality, last(rig).quality) == ("uncertain", "uncertain")
        assert last(rig).at <= rig.now, "the record itself is not of next year"
        await rig.emit("b", {"x": 3})
        assert last(rig).payload == {"x": 3}, "an uncertain one gives way to a good one"
        await rig.emit("a", {"x": 4}, at=rig.now - SECOND)
        assert (last(rig).payload, troubles(rig)) == ({"x": 4}, {"x": ""})

    play(story, "prefer: [a, b]")


def test_a_wrong_clock_that_time_catches_up_with_stays_uncertain_and_does_not_block() -> None:
    async def story(rig: Rig) -> None:
        at = rig.now + 60 * SECOND
        await rig.emit("a", {"x": 1}, at=at)
        await rig.advance("58s")
        assert troubles(rig) == {"x": "uncertain"}
        await rig.emit("a", {"x": 2}, at=rig.now)
        assert (last(rig).payload, troubles(rig)) == ({"x": 2}, {"x": ""})

    play(story)


def test_an_upstream_that_goes_over_to_another_source_is_not_older() -> None:
    """The value that counts upstream may have an older time than the one that was lost: it must come through."""
    more = "  n: {type: merge, from: m}\n"

    async def story(rig: Rig) -> None:
        await rig.emit("b", {"x": 2}, at=rig.now - 20 * SECOND)
        await rig.emit("a", {"x": 1})
        await rig.emit("a", {}, fields=bad(rig, "x"))
        assert rig.payloads("n") == [{"x": 2}, {"x": 1}, {"x": 2}]

    play(story, "prefer: [a, b]", more=more)


# ---- freshness ---------------------------------------------------------------------------------------------------


def test_stale_after_then_fresh_again_with_a_record_and_the_stale_port() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.advance("89.999s")
        assert (len(rig.out("m")), troubles(rig)) == (1, {"x": ""})
        await rig.advance("1ms")
        assert (rig.payloads("m"), troubles(rig)) == ([{"x": 1}, {"x": 1}], {"x": "stale"})
        assert rig.payloads("m", "stale") == [{"field": "x", "source": "a", "age_s": 90, "value": 1}]
        await rig.advance("1h")
        assert len(rig.out("m")) == 2, "it begins once"
        await rig.emit("a", {"x": 1})
        assert troubles(rig) == {"x": ""}
        await rig.advance("2min")
        assert len(rig.out("m", "stale")) == 2

    play(story, "stale_after: 90s")


def test_the_end_of_a_value_that_was_replaced_is_no_news() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(5):
            await rig.emit("a", {"x": 1})
            await rig.advance("60s")
        assert len(rig.out("m")) == 5
        await rig.advance("60s")
        assert len(rig.out("m")) == 6

    play(story, "stale_after: 90s")


def test_fields_become_stale_at_their_own_times_also_when_news_of_others_comes_at_that_instant() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.advance("30s")
        await rig.emit("a", {"y": 2})
        await rig.advance("30s")
        for _ in range(10):  # a source that polls at the very multiples at which the others end
            await rig.emit("b", {"z": 3})
            await rig.advance("30s")
        told = [(one.payload["field"], one.at // SECOND % 3600) for one in rig.out("m", "stale")]
        assert told == [("x", 90), ("y", 120)]
        assert troubles(rig) == {"x": "stale", "y": "stale", "z": ""}

    play(story, "stale_after: 90s")


def test_when_the_preferred_value_ends_the_next_takes_over_by_itself() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.advance("60s")
        await rig.emit("b", {"x": 2})
        assert last(rig).payload == {"x": 1}
        await rig.advance("30s")
        assert (last(rig).payload, troubles(rig)) == ({"x": 2}, {"x": ""})
        assert rig.out("m", "stale") == [], "the field is not stale: it has another source"
        await rig.advance("60s")
        assert [one["value"] for one in rig.payloads("m", "stale")] == [2]

    play(story, "prefer: [a, b], stale_after: 90s")


def test_a_value_with_an_interval_is_fresh_while_the_interval_covers_now() -> None:
    async def story(rig: Rig) -> None:
        at = rig.now - 3600 * SECOND
        start, end = rig.now + 60 * SECOND, rig.now + 960 * SECOND
        slot = FieldInfo(at=at, received_at=at, source="a", valid_from=start, valid_until=end)
        await rig.emit("a", {"x": 1}, fields={"x": slot})
        assert troubles(rig) == {"x": "not valid yet"}
        await rig.advance("60s")
        assert (len(rig.out("m")), troubles(rig)) == (2, {"x": ""}), "its time begins: that is news"
        await rig.advance("899s")
        assert troubles(rig) == {"x": ""}, "stale_after does not cut an interval short"
        await rig.advance("1s")
        assert (len(rig.out("m")), troubles(rig)) == (3, {"x": "stale"})

    play(story, "stale_after: 90s")


def test_stale_after_never_lengthens_what_was_given_upstream() -> None:
    more = "  n: {type: merge, from: m, stale_after: 1h}\n  o: {type: merge, from: m, stale_after: 10s}\n"

    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        ends = [rig.out(one)[-1].info("x").valid_until for one in ("n", "o")]
        assert ends == [rig.now + 90 * SECOND, rig.now + 10 * SECOND]

    play(story, "stale_after: 90s", more=more)


# ---- by hand -----------------------------------------------------------------------------------------------------


def test_manual_fallback_counts_only_where_no_automatic_value_is_fresh() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.enter("hand", {"x": 50, "y": 60})
        assert (last(rig).payload, last(rig).origin) == ({"x": 1, "y": 60}, "manual")
        assert [last(rig).info(name).origin for name in "xy"] == ["automatic", "manual"]
        await rig.advance("90s")
        assert last(rig).payload == {"x": 50, "y": 60}, "the automatic one ran out; stale_after is not for manual ones"
        await rig.emit("a", {"x": 2})
        assert last(rig).payload["x"] == 2
        assert last(rig).meta is None

    play(story, "prefer: [hand, a], stale_after: 90s")


def test_manual_override_is_marked_and_what_it_hides_travels_along() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 45})
        await rig.enter("hand", {"x": 25})
        assert (last(rig).payload, last(rig).origin) == ({"x": 25}, "manual")
        assert last(rig).meta == {"overridden": {"x": [45]}}
        await rig.emit("a", {"x": 46})
        assert (last(rig).payload, last(rig).meta) == ({"x": 25}, {"overridden": {"x": [46]}})
        await rig.advance("90s")
        assert (last(rig).payload, last(rig).meta) == ({"x": 25}, None), "news: nothing automatic is hidden any more"
        await rig.emit("a", {"x": 47})
        await rig.enter("hand", {"x": None})
        assert (last(rig).payload, last(rig).origin, last(rig).meta) == ({"x": 47}, "automatic", None)

    play(story, "manual: override, stale_after: 90s")


def test_what_is_hidden_comes_through_further_merges() -> None:
    more = "  n: {type: merge, from: [m, b], manual: override}\n  o: {type: merge, from: n}\n"

    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 45})
        await rig.enter("hand", {"x": 25})
        assert rig.out("o")[-1].meta == {"overridden": {"x": [45]}}
        await rig.emit("b", {"x": 46})
        assert rig.out("o")[-1].meta == {"overridden": {"x": [45, 46]}}
        await rig.emit("b", {"y": 1})
        assert rig.out("o")[-1].payload == {"x": 25, "y": 1}
        assert rig.out("o")[-1].meta == {"overridden": {"x": [45, 46]}}

    play(story, "manual: override", sources="a, hand", more=more)


def test_a_manual_value_expires_and_one_taken_back_is_gone_at_once() -> None:
    async def story(rig: Rig) -> None:
        await rig.enter("hand", {"x": 25, "y": 1})
        await rig.advance("5min")
        await rig.enter("hand", {"y": None})
        assert last(rig).payload == {"x": 25}
        await rig.advance("299s")
        assert troubles(rig) == {"x": "", "y": "bad"}
        await rig.advance("1s")
        assert troubles(rig) == {"x": "stale", "y": "bad"}
        assert [one["field"] for one in rig.payloads("m", "stale")] == ["x"]

    play(story)


def test_what_is_simulated_does_not_become_automatic() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.emit("b", {"y": 1}, origin="simulated")
        assert last(rig).origin == "simulated"
        await rig.enter("hand", {"x": None, "y": None})
        assert last(rig).origin == "simulated", "what a person took back leaves no mark"

    play(story)


# ---- keys --------------------------------------------------------------------------------------------------------


def test_state_is_per_key_and_what_has_no_key_joins_every_key() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("b", {"q": 50})
        assert [(one.key, one.payload) for one in rig.out("m")] == [("", {"q": 50})]
        await rig.emit("a", {"x": 1}, key="north")
        await rig.emit("a", {"x": 2}, key="south")
        await rig.emit("b", {"q": 60})
        assert [(one.key, one.payload) for one in rig.out("m")][1:] == [
            ("north", {"q": 50, "x": 1}),
            ("south", {"q": 50, "x": 2}),
            ("north", {"q": 60, "x": 1}),
            ("south", {"q": 60, "x": 2}),
        ]
        before = len(rig.out("m"))
        await rig.advance("90s")
        ended = {(one.key, one.payload["field"]) for one in rig.out("m", "stale")}
        assert ended == {(key, field) for key in ("north", "south") for field in ("q", "x")}
        assert {one.key for one in rig.out("m")[before:]} == {"north", "south"}

    play(story, "stale_after: 90s")


def test_the_newest_counts_whether_it_came_with_a_key_or_without() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1}, key="north")
        await rig.advance("1s")
        await rig.emit("a", {"x": 2})
        assert (last(rig).key, last(rig).payload) == ("north", {"x": 2})
        await rig.advance("1s")
        await rig.emit("a", {"x": 3}, key="north")
        assert last(rig).payload == {"x": 3}

    play(story)


def test_too_many_keys_and_too_many_fields_are_refused_and_nothing_of_them_is_kept() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1}, key="k1")
        standings: dict[str, object] = rig.worker("m").node.standings  # type: ignore[attr-defined]  # the type's own
        standings.update(dict.fromkeys((f"site-{number}" for number in range(MAX_KEYS - 2)), standings["k1"]))
        for key in ("the last", "one too many"):
            await rig.emit("a", {"x": 1}, key=key)
        assert rig.errors("m") == {"too-many-keys": 1}
        await rig.emit("a", {f"f{number}": 1 for number in range(1001)}, key="k1")
        assert rig.errors("m") == {"too-many-keys": 1, "too-many-fields": 1}
        await rig.emit("a", {"y": 2}, key="k1")
        assert last(rig).payload == {"x": 1, "y": 2}

    play(story)


# ---- emit, settle, require ---------------------------------------------------------------------------------------


def test_emit_change_is_silent_while_nothing_changes() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await rig.emit("a", {"x": 1})
            await rig.advance("10s")
        assert rig.payloads("m") == [{"x": 1}]
        await rig.emit("a", {"x": 2})
        await rig.emit("b", {"y": 2})
        await rig.emit("a", {}, fields=bad(rig, "x"))
        assert rig.payloads("m")[1:] == [{"x": 2}, {"x": 2, "y": 2}, {"y": 2}]
        await rig.advance("90s")
        assert troubles(rig) == {"x": "bad", "y": "stale"}, "the end of being fresh is a change"
        await rig.emit("b", {"y": 2})
        assert (len(rig.out("m")), troubles(rig)["y"]) == (6, "")

    play(story, "emit: change, stale_after: 90s")


def test_settle_collects_from_the_first_on_and_a_steady_stream_does_not_put_it_off() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.emit("b", {"y": 2})
        assert rig.out("m") == []
        await rig.advance("100ms")
        assert rig.payloads("m") == [{"x": 1, "y": 2}]
        for number in range(10):
            await rig.emit("a", {"x": number})
            await rig.advance("50ms")
        assert [one["x"] for one in rig.payloads("m")[1:]] == [1, 3, 5, 7, 9]

    play(story, "settle: 100ms")


def test_require_holds_back_what_is_not_complete_and_counts_it() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.emit("b", {"y": 2})
        await rig.emit("b", {}, fields=bad(rig, "y", "b"))
        assert rig.payloads("m") == [{"x": 1, "y": 2}]
        assert rig.worker("m").counters.dropped == {"incomplete": 2}
        await rig.emit("b", {"y": 0})
        await rig.advance("90s")
        assert last(rig).payload == {"x": 1, "y": 0}, "0 is a value, and a stale one is shown as stale, not hidden"
        assert troubles(rig) == {"x": "stale", "y": "stale"}
        assert {one["field"] for one in rig.payloads("m", "stale")} == {"x", "y"}

    play(story, "require: [x, y], stale_after: 90s")


def test_what_is_no_record_leaves_by_error() -> None:
    async def story(rig: Rig) -> None:
        for payload in (1, "x", None, [1]):
            await rig.emit("a", payload)
        assert (rig.out("m"), rig.errors("m")) == ([], {"not-a-record": 4})

    play(story)


def test_a_record_keeps_what_came_with_its_cause() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1}, meta={"topic": "bess/soc", "overridden": {"y": [3]}}, position="p1")
        assert (last(rig).meta, last(rig).root, last(rig).lineage()) == (
            {"topic": "bess/soc"},
            ("a", "p1"),
            "a@p1 > m",
        )

    play(story)


# ---- over a restart ----------------------------------------------------------------------------------------------


def test_state_survives_a_restart_and_nothing_is_emitted_at_the_start() -> None:
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await rig.emit("a", {"x": 1}, key="north")
        await rig.emit("b", {"y": 2}, key="north")

    async def after(rig: Rig) -> None:
        await rig.advance("1s")
        assert (rig.out("m"), rig.out("m", "stale")) == ([], [])
        await rig.emit("a", {"z": 3}, key="north")
        assert last(rig).payload == {"x": 1, "y": 2, "z": 3}
        await rig.advance("29s")
        assert {one["field"] for one in rig.payloads("m", "stale")} == {"x", "y"}, "also what was fresh before"
        assert troubles(rig) == {"x": "stale", "y": "stale", "z": ""}
        await rig.emit("a", {"x": 9}, key="north", at=rig.now - 3600 * SECOND)
        assert last(rig).payload["x"] == 1, "an old message after a restart does not replace what was known"

    play(before, "stale_after: 90s", store=store)
    play(after, "stale_after: 90s", store=store, start=LATER)


def test_what_runs_out_after_a_restart_is_told_without_any_input() -> None:
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})

    async def after(rig: Rig) -> None:
        await rig.advance("29s")
        assert rig.out("m") == []
        await rig.advance("1s")
        assert (rig.payloads("m"), troubles(rig)) == ([{"x": 1}], {"x": "stale"})
        assert [one["field"] for one in rig.payloads("m", "stale")] == ["x"]

    play(before, "stale_after: 90s", store=store)
    play(after, "stale_after: 90s", store=store, start=LATER)


def test_what_ran_out_while_the_engine_was_away_is_stale_and_silent() -> None:
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})

    async def after(rig: Rig) -> None:
        await rig.advance("10min")
        assert (rig.out("m"), rig.out("m", "stale")) == ([], [])
        await rig.emit("b", {"y": 2})
        assert troubles(rig) == {"x": "stale", "y": ""}

    play(before, "stale_after: 30s", store=store)
    play(after, "stale_after: 30s", store=store, start=LATER)


def test_a_source_that_is_gone_from_the_file_has_no_say_after_a_restart() -> None:
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await rig.emit("a", {"x": 1, "y": 1})
        await rig.emit("b", {"x": 2})
        assert last(rig).payload == {"x": 1, "y": 1}

    async def after(rig: Rig) -> None:
        await rig.emit("b", {"z": 3})
        assert last(rig).payload == {"x": 2, "z": 3}
        assert set(last(rig).fields or {}) == {"x", "z"}

    play(before, "prefer: [a, b]", store=store)
    play(after, "prefer: [b]", sources="b", store=store, start=LATER)


def test_the_durable_state_is_plain_json() -> None:
    async def story(rig: Rig) -> None:
        await rig.enter("hand", {"x": 1})
        site = rig.worker("m").node.standings[""].site  # type: ignore[attr-defined]  # the node's own
        assert msgspec.json.decode(msgspec.json.encode(site), type=type(site)) == site

    play(story, "manual: override")
