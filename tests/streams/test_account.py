"""The judge of the stream tests: what it calls lost, repeated and overtaken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.streams.account import account

SENT = {"a": [1, 2, 3], "b": [1, 2]}
STREAMS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 30)).map(
    lambda lengths: {key: list(range(1, length + 1)) for key, length in lengths.items()}
)


def test_all_is_well() -> None:
    assert not any(account(SENT, [("b", 1), ("a", 1), ("a", 2), ("b", 2), ("a", 3)]))
    assert str(account(SENT, [("b", 1), ("a", 1), ("a", 2), ("b", 2), ("a", 3)])) == ""


def test_each_fault_has_its_name() -> None:
    found = account(SENT, [("a", 3), ("a", 2), ("a", 2), ("b", 1), ("c", 9)])
    assert found.broken
    assert found.lost == [("a", 1), ("b", 2)]
    assert found.repeated == [("a", 2)]
    assert found.overtaken == [(("a", 2), 3)]
    assert found.unknown == [("c", 9)]
    assert str(found).startswith("2 lost: [('a', 1), ('b', 2)]; 1 repeated:")


def test_a_repeat_after_what_came_later_is_in_order() -> None:
    arrived = [("a", 1), ("a", 2), ("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]
    found = account(SENT, arrived)
    assert not found.broken
    assert found.repeated == [("a", 1), ("a", 2)]


@given(STREAMS, st.data())
def test_whatever_is_taken_away_is_lost_and_nothing_else(sent: dict[str, list[int]], data: st.DataObject) -> None:
    whole = [(key, number) for key, numbers in sent.items() for number in numbers]
    kept = [one for one in whole if data.draw(st.booleans())]
    assert account(sent, kept) == (sorted(set(whole) - set(kept)), [], [], [])


@given(STREAMS, st.data())
def test_going_back_and_coming_again_is_no_disorder(sent: dict[str, list[int]], data: st.DataObject) -> None:
    """What a session that resumes does: it begins again at what was not acknowledged."""
    arrived = []
    for key, numbers in sent.items():
        back = data.draw(st.integers(0, len(numbers)))
        here = data.draw(st.integers(back, len(numbers)))
        arrived += [(key, number) for number in numbers[:here] + numbers[back:]]
    found = account(sent, arrived)
    assert not found.broken
