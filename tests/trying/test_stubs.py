"""What stands in for nodes and their peers: each form, on each kind of node."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as some
import pytest
from hypothesis import example, given

from flowrunner.testing.stubs import OPTIONS, Stub, read_stub
from tests.trying.stage import SOC, SOURCES, TRADE, passes, problems, sent, told

anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8)
    | some.sampled_from(["accepts", "silence", "5s", "9" * 39 + "d"]),
    lambda below: some.lists(below, max_size=3)
    | some.dictionaries(some.sampled_from([*OPTIONS, "soc"]) | some.text(max_size=3), below, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(anything)
@example({"delay": "9" * 39 + "d"})
@example({"rejects": 10**400})
def test_a_stub_is_read_or_refused_with_a_sentence(given_: Any) -> None:
    try:
        stub = read_stub(given_)
    except ValueError:
        return  # any other exception would be a traceback for the author of the test
    assert (stub.kind == "says") == bool(stub.values)
    assert not stub.stored or stub.kind in ("rejects", "fails")
    assert stub.delay_s >= 0


@given(anything.filter(lambda one: one not in ("accepts", "silence") and not isinstance(one, dict | list)))
def test_what_is_no_word_and_no_map_is_a_value(given_: Any) -> None:
    assert read_stub(given_).values == (given_,) or given_ != given_  # a NaN is not itself


@given(some.dictionaries(some.sampled_from(["soc", "t_c", "code"]), anything, min_size=1))
def test_a_record_is_a_value_and_beside_words_of_stubs_it_is_refused(record: dict[str, Any]) -> None:
    assert read_stub(record) == Stub(kind="says", values=(record,)) or record != record
    for word in OPTIONS:
        with pytest.raises(ValueError, match="a record, or what it answers"):
            read_stub({word: 1, **record})


# ---- sources --------------------------------------------------------------------------------------------------------


def test_values_with_a_delay_come_later() -> None:
    outcome = passes(
        SOURCES,
        """
        stub: {plc: {values: [{soc: 1}, {soc: 2}], delay: 3s}}
        steps: [{advance: 2s}, {expect: [{from: plc, never: true}]}, {advance: 1s}, {expect: [{from: plc, count: 1}]}]
        expect: [{from: plc, count: 1}]
        """,
    )
    assert sent(outcome, "plc") == [{"soc": 1}]


def test_a_source_that_fails_and_comes_back() -> None:
    passes(
        SOURCES,
        """
        stub: {far: {error: no route}}
        steps:
          - {advance: 5min}
          - expect: [{from: far.error, count: 1, where: reason == "no route"}, {from: far, never: true}]
          - {stub: {far: {wind: 3}}}
          - {advance: 1min}
          - expect: [{from: far, count: 1}]
          - {stub: {far: {error: no route}}}
          - {advance: 1min}
        expect: [{from: far.error, count: 2}, {from: far, count: 1}]
        """,
    )


def test_what_is_said_by_a_source_has_its_times_units_and_marks() -> None:
    outcome = passes(SOURCES, "stub: {bus: {level: 2}, plc: {soc: 65535}}\nexpect: [{from: bus}, {from: plc}]")
    assert outcome.watching is not None
    by_node = {one.address: one.message for one in outcome.watching.sent if one.port == "out"}
    assert by_node["sources/bus"].info("level").unit == "m"
    assert by_node["sources/plc"].payload == {}  # the device's way to say "no value"
    assert by_node["sources/plc"].info("soc").quality == "bad"


def test_a_value_that_is_not_believed_is_an_error_and_the_next_one_comes() -> None:
    passes(
        SOURCES,
        """
        stub: {bus: [{level: 9}, {level: 1}]}
        expect: [{from: bus, equals: [{level: 1}]}, {from: bus.error, count: 1, where: code == "not-believed"}]
        """,
    )


def test_sources_that_are_not_stubbed_say_nothing() -> None:
    outcome = passes(SOURCES, "steps: [{advance: 2h}]\nexpect: [{from: plc, never: true}]")
    assert outcome.watching is not None
    assert outcome.watching.sent == []


# ---- an exchange ----------------------------------------------------------------------------------------------------

OTHER = "{at: 2025-01-25T02:14:00+01:00}"
"""Orders are then for another delivery slot."""


@pytest.mark.parametrize(
    ("stub", "state", "why"),
    [
        ("{rejects: 400, reason: BUY disabled}", "rejected", "400: BUY disabled"),
        ("{rejects: 422}", "rejected", "422: refused by the test"),
        ("{rejects: 500}", "unknown", "500"),
        ("{rejects: 503, reason: maintenance}", "unknown", "503: maintenance"),
        ("{error: connection lost}", "unknown", "connection lost"),
    ],
)
def test_what_an_exchange_answers(stub: str, state: str, why: str) -> None:
    outcome = passes(
        TRADE,
        f"""
        stub: {{price: 50, exchange: {stub}}}
        steps: [{SOC}]
        expect:
          - {{from: guard, count: 1}}
          - {{from: exchange, never: true}}
          - {{from: exchange.error, count: 1, where: code == "{state}"}}
        """,
    )
    (record,) = sent(outcome, "exchange", "error")
    assert isinstance(record, dict)
    assert why in record["reason"]


def test_an_order_whose_fate_is_not_known_blocks_the_market_and_a_refused_one_does_not() -> None:
    for stub, blocked in (("{rejects: 400}", False), ("{rejects: 500}", True), ("silence", True)):
        passes(
            TRADE,
            f"""
            stub: {{price: [50, 50], exchange: {stub}}}
            steps: [{SOC}, {OTHER}, {SOC}]
            expect:
              - {{from: guard, count: {1 if blocked else 2}}}
              - {{from: guard.blocked, count: {int(blocked)}, where: reason == "market-blocked"}}
            """,
        )


def test_an_order_that_the_exchange_has_all_the_same_is_found_and_not_sent_again() -> None:
    passes(
        TRADE,
        f"""
        stub: {{price: 50, exchange: {{rejects: 500, stored: true}}}}
        steps:
          - {SOC}
          - expect: [{{from: exchange.error, where: code == "unknown"}}]
          - {{stub: {{exchange: accepts}}}}
          - {{advance: 20min}}
        expect: [{{from: exchange, count: 1, where: state == "accepted"}}, {{from: guard, count: 1}}]
        """,
    )


def test_too_much_at_once_waits_for_the_next_minute() -> None:
    outcome = passes(
        TRADE,
        f"""
        stub: {{price: 50, exchange: {{rejects: 429}}}}
        steps:
          - {{advance: 20s}}
          - {SOC}
          - {{stub: {{exchange: accepts}}}}
          - {{advance: 39s}}
          - expect: [{{from: exchange, never: true}}]
          - {{advance: 2s}}
        expect: [{{from: exchange, count: 1, where: state == "accepted"}}, {{from: exchange.error, never: true}}]
        """,
    )
    assert len(sent(outcome, "guard")) == 1


def test_an_exchange_that_answers_late_and_too_late() -> None:
    for delay, state in (("4s", "accepted"), ("5s", "unknown"), ("6s", "unknown")):
        port = "exchange" if state == "accepted" else "exchange.error"
        passes(
            TRADE,
            f"""
            stub: {{price: 50, exchange: {{delay: {delay}}}}}
            steps: [{SOC}, {{advance: 3s}}, {{expect: [{{into: alarms, never: true}}]}}, {{advance: 2s}}]
            expect: [{{from: {port}, count: 1}}]
            """,
        )


def test_a_stand_in_outlives_the_program() -> None:
    """What it took before a restart it still has: the order is found there, and not sent twice."""
    passes(
        TRADE,
        f"""
        stub: {{price: 50, exchange: {{rejects: 500, stored: true}}}}
        steps: [{SOC}, restart, {{stub: {{exchange: accepts}}}}, {{advance: 20min}}]
        expect: [{{from: exchange, count: 1, where: state == "accepted"}}, {{from: guard, count: 1}}]
        """,
    )


# ---- prices ---------------------------------------------------------------------------------------------------------


def price_at(outcome: Any) -> dict[str, float | None]:
    """Local time of each news of the price → the price for the next delivery."""
    return {
        f"{(one.at // 10**9 + 3600) % 86400 // 3600:02}:{one.at // 10**9 % 3600 // 60:02}": (
            one.message.payload.get("price_eur_mwh")
        )
        for one in outcome.watching.sent
        if one.address == "trade/price" and one.port == "out"
    }


def test_a_list_of_prices_is_for_one_delivery_slot_after_the_other() -> None:
    outcome = passes(TRADE, "stub: {price: [50, 60, null, 80]}\nsteps: [{advance: 70min}]\nexpect: [{from: price}]")
    told_ = price_at(outcome)
    assert [told_[f"02:{minute:02}"] for minute in (0, 5, 10, 20, 25, 40, 50, 55)] == [
        50, 50, 60, 60, None, 80, 80, 80
    ]  # fmt: skip
    assert told_["03:05"] == 80


def test_other_prices_begin_with_the_slot_that_is_asked_for_next() -> None:
    outcome = passes(
        TRADE,
        """
        stub: {price: 50}
        steps: [{advance: 31min}, {stub: {price: [70, 80]}}, {advance: 30min}]
        expect: [{from: price}]
        """,
    )
    told_ = price_at(outcome)
    assert told_["02:30"] == 50
    assert told_["02:35"] == 70
    assert told_["02:40"] == 80


@pytest.mark.parametrize(
    ("stub", "code"),
    [("null", "no-price"), ("{error: gone}", "source-away"), ("silence", "source-away"),
     ("{value: 50, delay: 4s}", "source-away")],
)  # fmt: skip
def test_prices_that_do_not_come(stub: str, code: str) -> None:
    outcome = passes(
        TRADE,
        f"""
        stub: {{price: {stub}, exchange: accepts}}
        steps: [{{advance: 10s}}, {SOC}]
        expect:
          - {{from: price.error, where: code == "{code}"}}
          - {{from: buy, never: true}}
          - {{from: guard, never: true}}
        """,
    )
    assert all("price_eur_mwh" not in record for record in sent(outcome, "price") if isinstance(record, dict))


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "node", "stub"),
    [
        (SOURCES, "plc", "accepts"), (SOURCES, "plc", "{rejects: 400}"), (SOURCES, "plc", "{delay: 5s}"),
        (SOURCES, "plc", "5"), (SOURCES, "plc", "{sock: 5}"), (SOURCES, "plc", "{soc: full}"), (SOURCES, "plc", "[]"),
        (SOURCES, "bus", "{error: x, stored: true}"), (SOURCES, "out", "{level: 1}"), (SOURCES, "trouble", "[1, 2]"),
        (SOURCES, "both", "{rejects: 400, level: 1}"), (SOURCES, "both", "{reason: why}"),
        (TRADE, "exchange", "50"), (TRADE, "exchange", "[accepts]"), (TRADE, "exchange", "{delay: soon}"),
        (TRADE, "exchange", "{stored: true}"), (TRADE, "price", "accepts"), (TRADE, "price", "true"),
        (TRADE, "price", "{price_eur_mwh: dear}"), (TRADE, "price", "{rejects: 500}"), (TRADE, "price", "[50, '60']"),
        (TRADE, "guard", "{error: [1]}"), (TRADE, "nobody", "5"),
    ],
)  # fmt: skip
def test_a_stub_that_means_nothing_is_refused(flow: str, node: str, stub: str) -> None:
    for body in (f"stub: {{{node}: {stub}}}", f"stub: {{{node}: silence}}\nsteps: [{{stub: {{{node}: {stub}}}}}]"):
        source = "rest" if flow == TRADE else "bus"
        said = problems(flow, f"{body}\nexpect: [{{from: {source}, never: true}}]")
        assert said
        assert all(f"stub.{node}" in one for one in said)


def test_a_stub_takes_the_place_of_what_would_have_failed() -> None:
    """A node of any type may be stubbed, with what comes out of it as its readers know it."""
    failed = told(SOURCES, "stub: {both: {level: 4}}\nsteps: [{advance: 1h}]\nexpect: [{from: both}]")
    assert [one.lines[:2] for one in failed.failures] == [["expected a message from both", "but none came"]]
