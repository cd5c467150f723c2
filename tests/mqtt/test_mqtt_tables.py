"""The table of subscriptions and the ledger of acknowledgements: pure, so with plain values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.mqtt.packet import Ledger, Packet
from flowrunner.mqtt.subscriptions import Subscription, Subscriptions


def joined(table: Subscriptions, pattern: str, qos: int = 1) -> Subscription:
    return table.join(pattern, qos, lambda packet: None, table.leave)


def asked(table: Subscriptions, idents: bool) -> tuple[list[tuple[str, int]], list[str]]:
    """What changes, as if the broker granted it all."""
    asks, surplus = table.changes(idents)
    for ask in asks:
        table.answered(ask.filter, "")
    return [(ask.filter, ask.qos) for ask in asks], surplus


def test_one_subscription_per_filter_with_the_highest_qos() -> None:
    table = Subscriptions()
    table.connected(session_present=False)
    first = joined(table, "a", 0)
    assert asked(table, idents=True) == ([("a", 0)], [])
    joined(table, "a", 2)
    assert asked(table, idents=True) == ([("a", 2)], [])
    assert asked(table, idents=True) == ([], [])
    first.close()
    assert asked(table, idents=True) == ([], [])


def test_a_new_session_needs_all_again_and_a_kept_one_only_the_unanswered() -> None:
    table = Subscriptions()
    joined(table, "a")
    joined(table, "b")
    table.connected(session_present=False)
    for ask in table.changes(idents=True)[0]:
        if ask.filter == "a":
            table.answered(ask.filter, "")
    table.connected(session_present=True)
    assert asked(table, idents=True) == ([("b", 1)], [])
    table.connected(session_present=False)
    assert asked(table, idents=True) == ([("a", 1), ("b", 1)], [])


def test_a_refused_filter_is_asked_again_at_the_next_connection() -> None:
    table = Subscriptions()
    user = joined(table, "a")
    table.connected(session_present=True)
    table.changes(idents=True)
    table.answered("a", "no")
    assert user.error == "no"
    assert table.changes(idents=True) == ([], [])
    table.connected(session_present=True)
    assert user.error == ""
    assert asked(table, idents=True) == ([("a", 1)], [])


def test_a_wide_filter_takes_over_and_stays_where_the_broker_knows_no_identifiers() -> None:
    table = Subscriptions()
    table.connected(session_present=False)
    narrow = joined(table, "a/b", 2)
    assert asked(table, idents=False) == ([("a/b", 2)], [])
    wide = joined(table, "a/#", 0)
    assert asked(table, idents=False) == ([("a/#", 2)], ["a/b"])
    assert table.receivers("a/b", False, []) == [narrow, wide]
    wide.close()
    assert asked(table, idents=False) == ([], [])
    assert table.receivers("a/c", False, []) is None
    narrow.close()
    assert asked(table, idents=False) == ([], ["a/#"])


def test_retained_messages_are_for_newcomers() -> None:
    table = Subscriptions()
    table.connected(session_present=False)
    elder = joined(table, "a")
    asked(table, idents=True)
    assert table.receivers("a", True, []) == [elder]
    assert table.receivers("a", False, []) == [elder]
    late = joined(table, "a")
    assert asked(table, idents=True) == ([("a", 1)], [])
    assert table.receivers("a", True, []) == [late]
    assert table.receivers("a", False, []) == [elder, late]
    assert table.receivers("a", True, []) == []
    table.connected(session_present=False)
    assert table.receivers("a", True, []) == [elder, late]


def test_identifiers_decide_and_are_the_same_after_a_restart() -> None:
    tables = Subscriptions(), Subscriptions()
    for table in tables:
        table.connected(session_present=False)
        for pattern in ("a/#", "a/+") if table is tables[0] else ("a/+", "x", "a/#"):
            joined(table, pattern)
    idents = [{ask.filter: ask.ident for ask in table.changes(idents=True)[0]} for table in tables]
    assert idents[0].items() < idents[1].items()
    assert all(0 < ident < 268_435_456 for ident in idents[1].values())
    (only,) = tables[0].receivers("a/b", False, [idents[0]["a/+"]]) or []
    assert only.filter == "a/+"
    assert tables[0].receivers("a/b", False, [4711]) is None


def test_what_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="QoS 3 of filter 'a'"):
        joined(Subscriptions(), "a", 3)
    with pytest.raises(ValueError, match="# stands alone"):
        joined(Subscriptions(), "a#")


@given(st.lists(st.sampled_from(["take", "share", "done", "give up"]), max_size=60), st.randoms(use_true_random=False))
def test_acknowledgements_leave_in_order_once_and_only_when_all_are_done(steps: list[str], random: object) -> None:
    sent: list[int] = []
    ledger = Ledger(lambda receipt: sent.append(receipt.mid))
    handles: dict[int, list[Packet]] = {}
    given_up: set[int] = set()
    mid = 0
    for step in steps:
        open_ones = [number for number, held in handles.items() if held]
        if step == "take":
            mid += 1
            handles[mid] = [Packet("a", b"", qos=1, mid=mid, ledger=ledger, receipt=ledger.take(mid, 1))]
        elif open_ones:
            chosen = random.choice(open_ones)  # type: ignore[attr-defined]
            packet = handles[chosen].pop()
            if step == "share":
                handles[chosen] += [packet, packet.share()]
            elif step == "done":
                packet.ack()
                packet.ack()
            else:
                packet.abandon()
                given_up.add(chosen)
        finished = []
        for number, held in handles.items():
            if held:
                break
            finished.append(number)
        assert sent == [number for number in finished if number not in given_up]


def test_a_closed_ledger_says_nothing_more() -> None:
    sent: list[int] = []
    ledger = Ledger(lambda receipt: sent.append(receipt.mid))
    packet = Packet("a", b"", qos=1, mid=1, ledger=ledger, receipt=ledger.take(1, 1))
    ledger.close()
    packet.ack()
    assert sent == []


def test_nobody_acknowledges_qos_0() -> None:
    ledger = Ledger(lambda receipt: pytest.fail("nothing to say"))
    packet = Packet("a", b"", ledger=ledger, receipt=ledger.take(0, 0))
    packet.share().ack()
    packet.ack()
    assert len(ledger) == 0


def asked_for(pattern: str) -> tuple[Subscriptions, Subscription]:
    """One subscriber, of whom a broker has been told and has not answered yet."""
    table = Subscriptions()
    one = joined(table, pattern)
    table.connected(session_present=False)
    table.changes(idents=True)
    return table, one


def test_who_ends_hears_what_comes_until_the_broker_has_answered() -> None:
    table, one = asked_for("plant/+")
    ended: list[Subscription] = []
    table.answered("plant/+", "")
    one.end(lambda: ended.append(one))
    assert table.changes(idents=True) == ([], ["plant/+"])
    assert table.changes(idents=True) == ([], [])  # told once
    assert table.receivers("plant/a", False, ()) == [one]
    assert not ended
    table.ended("plant/+")
    assert ended == [one]
    assert table.receivers("plant/a", False, ()) is None


def test_where_another_has_the_same_filter_the_end_is_at_once() -> None:
    table, one = asked_for("plant/+")
    ended: list[Subscription] = []
    table.answered("plant/+", "")
    other = joined(table, "plant/+")
    assert other.listening.is_set()  # the broker brings it already
    one.end(lambda: ended.append(one))
    assert ended == [one]
    assert table.receivers("plant/a", False, ()) == [other]
    assert table.changes(idents=True)[1] == []


def test_whoever_comes_while_one_ends_gets_what_comes() -> None:
    table, one = asked_for("plant/+")
    ended: list[Subscription] = []
    one.end(lambda: ended.append(one))
    table.changes(idents=True)
    other = joined(table, "plant/+")
    assert [ask.filter for ask in table.changes(idents=True)[0]] == ["plant/+"]
    assert table.receivers("plant/a", False, ()) == [other]
    table.ended("plant/+")  # the answer to the UNSUBSCRIBE of before
    assert ended == [one]
    assert table.receivers("plant/a", False, ()) == [other]


def test_without_a_connection_nothing_more_comes() -> None:
    table, one = asked_for("plant/+")
    ended: list[Subscription] = []
    one.end(lambda: ended.append(one))
    table.all_ended()
    assert ended == [one]
