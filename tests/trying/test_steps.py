"""What each step of a test does to a flow."""

from __future__ import annotations

import pytest

from flowrunner.units import SECOND, parse_instant
from tests.trying.stage import SOC, SOURCES, TRADE, passes, problems, sent, told

BEGIN = parse_instant("2025-01-25T02:00:00+01:00")


def test_time_stands_still_but_for_advance_and_at() -> None:
    outcome = passes(
        SOURCES,
        """
        steps:
          - {emit: bus, value: {level: 1}}
          - {emit: bus, value: {level: 2}}
          - {advance: 1500ms}
          - {emit: bus, value: {level: 3}}
          - {at: 2025-01-25T02:00:10+01:00}
          - {emit: bus, value: {level: 4}}
        expect: [{from: bus, count: 4}]
        """,
    )
    assert outcome.watching is not None
    times = [one.at - BEGIN for one in outcome.watching.sent if one.address == "sources/bus"]
    assert times == [0, 0, 1.5 * SECOND, 10 * SECOND]
    assert outcome.passed_ns == 10 * SECOND


def test_a_timer_at_the_very_instant_has_fired() -> None:
    """``at`` and ``advance`` end when all of that instant is done: a source that polls every 10 s has polled."""
    outcome = passes(SOURCES, "stub: {plc: {soc: 1}}\nsteps: [{advance: 10s}]\nexpect: [{from: plc, count: 2}]")
    assert len(sent(outcome, "plc")) == 2


@pytest.mark.parametrize(
    ("step", "age_s"),
    [("age: 5min", 300), ("ahead: 1h", -3600), ("quality: good", 0)],
)
def test_the_age_of_what_is_emitted(step: str, age_s: int) -> None:
    for node in ("bus", "hand", "web", "plc", "far"):  # with times of fields, or of the whole message
        field = {"plc": "soc", "far": "wind"}.get(node, "level")
        outcome = passes(
            SOURCES,
            f"steps: [{{emit: {node}, value: {{{field}: 1}}, {step}, key: north}}]\nexpect: [{{from: {node}}}]",
        )
        assert outcome.watching is not None
        message = next(one.message for one in outcome.watching.sent if one.address == f"sources/{node}")
        assert message.info(field).at == BEGIN - age_s * SECOND
        assert message.at == BEGIN - age_s * SECOND
        assert message.received_at == BEGIN
        assert message.key == "north"


@pytest.mark.parametrize("quality", ["uncertain", "bad"])
def test_the_quality_of_what_is_emitted(quality: str) -> None:
    outcome = passes(
        SOURCES,
        f"steps: [{{emit: bus, value: {{level: 1}}, quality: {quality}}}]\nexpect: [{{from: bus}}]",
    )
    assert outcome.watching is not None
    message = next(one.message for one in outcome.watching.sent if one.address == "sources/bus")
    assert message.info("level").quality == quality


def test_a_field_that_is_null_has_no_value_and_does_not_become_zero() -> None:
    outcome = passes(SOURCES, "steps: [{emit: bus, value: {level: null}}]\nexpect: [{from: bus}]")
    assert sent(outcome, "bus") == [{}]
    assert outcome.watching is not None
    message = next(one.message for one in outcome.watching.sent if one.address == "sources/bus")
    assert message.fields is not None
    assert message.fields["level"].quality == "bad"


def test_a_manual_value_is_marked_as_such_and_expires() -> None:
    outcome = passes(
        SOURCES,
        """
        steps:
          - {emit: hand, value: {level: 1}}
          - {advance: 61min}
        expect: [{from: both.stale, at_least: 1}]
        """,
    )
    assert outcome.watching is not None
    message = next(one.message for one in outcome.watching.sent if one.address == "sources/hand")
    assert message.fields is not None
    assert message.fields["level"].origin == "manual"


@pytest.mark.parametrize(
    ("node", "value", "why"),
    [
        ("web", "{level: 6}", "above 5"),
        ("hand", "{level: 6}", "above 5"),
        ("bus", "{level: -1}", "below 0"),
    ],
)
def test_a_node_refuses_in_a_test_what_it_refuses_in_life(node: str, value: str, why: str) -> None:
    failed = told(SOURCES, f"steps: [{{emit: {node}, value: {value}}}]\nexpect: [{{from: {node}}}]")
    assert [one.where for one in failed.failures] == ["flow.test.yaml:4:13"]
    assert why in failed.failures[0].lines[0]
    passes(
        SOURCES, f"steps: [{{emit: {node}, value: {value}, refused: true}}]\nexpect: [{{from: {node}, never: true}}]"
    )


@pytest.mark.parametrize("value", ["dear", "true", "[50]"])
def test_what_is_no_price_is_none(value: str) -> None:
    failed = told(TRADE, f"steps: [{{emit: price, value: {value}}}]\nexpect: [{{from: price}}]")
    assert "is no price" in failed.failures[0].lines[0]


def test_what_is_emitted_by_another_port_is_not_judged_as_a_value() -> None:
    passes(
        SOURCES,
        """
        steps:
          - {emit: plc.error, value: {code: no-value, reason: soc}}
          - {emit: web.error, value: {code: x, reason: y}}
        expect: [{into: trouble, count: 1}, {from: web.error, count: 1}]
        """,
    )


# ---- peers that go away ---------------------------------------------------------------------------------------------


def test_a_polled_source_that_is_away_says_nothing_and_one_error() -> None:
    outcome = passes(
        SOURCES,
        """
        stub: {plc: [{soc: 1}, {soc: 2}, {soc: 3}]}
        steps:
          - {disconnect: plc}
          - {advance: 1min}
          - {reconnect: plc}
          - {advance: 20s}
        expect: [{from: plc.error, count: 1, where: code == "not-connected"}]
        """,
    )
    assert sent(outcome, "plc") == [{"soc": 1}, {"soc": 2}, {"soc": 3}]  # its peer's values were not used up meanwhile


def test_a_source_that_is_away_over_a_restart_stays_away() -> None:
    """And nothing hangs: what has no turns of its own waits until its peer is back."""
    passes(
        SOURCES,
        """
        stub: {bus: [{level: 1}]}
        steps:
          - expect: [{from: bus, count: 1}]
          - {disconnect: bus}
          - {stub: {bus: {level: 2}}}
          - restart
          - {advance: 1h}
          - expect: [{from: bus, count: 1}]
          - {reconnect: bus}
        expect: [{from: bus, equals: [{level: 1}, {level: 2}]}]
        """,
    )


@pytest.mark.parametrize("back", [True, False])
def test_a_sink_that_is_away_gets_what_waited_when_it_is_back(back: bool) -> None:
    again = "- {reconnect: out}" if back else "- {advance: 1s}"
    outcome = passes(
        SOURCES,
        f"""
        stub: {{out: accepts}}
        steps:
          - {{disconnect: out}}
          - {{emit: bus, value: {{level: 1}}}}
          - {{advance: 10min}}
          {again}
          - {{advance: 10min}}
        expect: [{{into: out}}]
        """,
    )
    assert ("sources/out" in outcome.received) == back


def test_an_exchange_that_is_away_gets_no_order_and_blocks_nothing() -> None:
    passes(
        TRADE,
        f"""
        stub: {{price: 50, exchange: accepts}}
        steps:
          - {{disconnect: exchange}}
          - {SOC}
          - {{advance: 1min}}
          - expect: [{{from: exchange, never: true}}]
          - {{reconnect: exchange}}
          - {{advance: 2min}}
        expect: [{{from: exchange, equals: {{state: accepted}}}}]
        """,
    )


def test_prices_that_are_away_stay_away_also_when_they_change() -> None:
    passes(
        TRADE,
        """
        stub: {price: 50}
        steps:
          - {disconnect: price}
          - {stub: {price: 70}}
          - {advance: 30min}
          - expect: [{from: price, where: price_eur_mwh == 70, never: true}]
          - {reconnect: price}
          - {advance: 30min}
        expect: [{from: price, where: price_eur_mwh == 70}]
        """,
    )


# ---- again ----------------------------------------------------------------------------------------------------------


def test_a_restart_keeps_the_journal() -> None:
    """An order that was decided is not decided again; what was decided stays to be seen."""
    passes(
        TRADE,
        f"""
        stub: {{price: 50, exchange: accepts}}
        steps: [{SOC}, restart, {SOC}, {{restart: true}}, {SOC}]
        expect: [{{from: guard, count: 1}}, {{from: exchange, count: 1}}]
        """,
    )


def test_a_restart_keeps_the_state_of_nodes_and_the_place_in_a_list() -> None:
    outcome = passes(
        SOURCES,
        """
        stub: {plc: [{soc: 1}, {soc: 2}, {soc: 3}]}
        steps:
          - {emit: bus, value: {level: 4}}
          - restart
        expect: [{from: both, at_least: 1}]
        """,
    )
    assert sent(outcome, "plc") == [{"soc": 1}, {"soc": 2}]  # the device did not begin anew with the program
    assert {"soc": 2, "level": 4} in sent(outcome, "both")


def test_a_reload_takes_the_changed_environment_and_keeps_the_rest() -> None:
    flow = SOURCES.replace("stale_after: 5min", 'stale_after: "${STALE:-5min}"').replace(
        "topic: x", 'topic: "${TOPIC:-x}"'
    )
    passes(
        flow,
        """
        env: {TOPIC: y}
        steps:
          - {emit: bus, value: {level: 4}}
          - {advance: 4min}
          - expect: [{from: both.stale, never: true}]
          - reload: {STALE: 1min}
          - {emit: bus, value: {level: 4}}
          - {advance: 61s}
        expect: [{from: both.stale, count: 1}]
        """,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("0.1", "0.1"), ("5", "5"), ("1e3", "1000"), ("true", "true"), ("'007'", "007"), ("60.10", "60.1"), ("-3", "-3")],
)
def test_a_value_of_the_environment_is_the_text_that_a_person_wrote(text: str, said: str) -> None:
    flow = SOURCES.replace("topic: x", 'topic: "t${TOPIC}"')
    outcome = passes(flow, f"env: {{TOPIC: {text}}}\nexpect: [{{from: bus, never: true}}]")
    assert outcome.graphs[0].nodes["sources/out"].node.options.topic == f"t{said}"


# ---- what has been done, and when -----------------------------------------------------------------------------------


def test_within_counts_from_the_last_thing_that_was_done() -> None:
    """Also where two things are done at one instant: what the first brought is not for the second."""
    passes(
        SOURCES,
        """
        stub: {plc: {soc: 1}}
        steps:
          - {emit: bus, value: {level: 1}}
          - {emit: web, value: {level: 2}}
          - expect:
              - {from: bus, within: 1h, never: true}
              - {from: bus, count: 1}
              - {from: web, within: 0s, count: 1}
          - {advance: 25s}
          - expect:
              - {from: plc, within: 10s, count: 1}
              - {from: plc, within: 20s, count: 2}
              - {from: plc, within: 1d, count: 2}
              - {from: plc, count: 3}
        expect: [{from: web, within: 0s, count: 1}]
        """,
    )


def test_an_expectation_between_steps_sees_what_came_by_then() -> None:
    failed = told(
        SOURCES,
        """
        steps:
          - expect: [{from: bus, count: 1}]
          - {emit: bus, value: {level: 1}}
          - expect: [{from: bus, count: 1}]
          - {emit: bus, value: {level: 1}}
          - expect: [{from: bus, count: 1}]
        """,
    )
    assert [one.where for one in failed.failures] == ["flow.test.yaml:5:18", "flow.test.yaml:9:18"]


def test_what_where_sees_is_what_left_however_old_it_is() -> None:
    passes(
        SOURCES,
        """
        steps: [{emit: bus, value: {level: 4}, age: 5d, quality: bad}, {advance: 1d}]
        expect: [{from: bus, where: level == 4 and 4d < age(level) <= 5d, count: 1}]
        """,
    )


def test_only_what_can_have_a_peer_goes_away() -> None:
    assert problems(SOURCES, "steps: [{disconnect: both}, {disconnect: hand}]\nexpect: [{from: bus}]") == [
        "4:26 tests[0].steps[0].disconnect: 'both' has no peer that could go away",
        "4:46 tests[0].steps[1].disconnect: 'hand' has no peer that could go away",
    ]
