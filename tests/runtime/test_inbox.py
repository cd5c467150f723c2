"""The inbox against a plain list: four policies, the line at the door, put back, and every loss counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flowrunner.message import Message
from flowrunner.node import Queue
from flowrunner.runtime import Entry, Inbox, Receipt

Policy = Literal["block", "drop_oldest", "drop_newest", "latest"]
POLICIES: list[Policy] = ["block", "drop_oldest", "drop_newest", "latest"]


class Nobody:
    """Keeps nothing."""

    def when_kept(self, done: Callable[[], None]) -> None:
        done()


class Slip(Receipt):
    """One that counts."""

    def __init__(self, name: int) -> None:
        super().__init__(self._tell, Nobody())
        self.name, self.told = name, 0

    def _tell(self) -> None:
        self.told += 1


@dataclass
class Model:
    """What an inbox should be, without any cleverness."""

    policy: Policy
    size: int
    entries: list[Entry] = field(default_factory=list)
    line: list[Entry] = field(default_factory=list)
    dropped: list[Entry] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def drop(self, index: int, entry: Entry | None = None) -> None:
        self.dropped.append(self.entries.pop(index) if entry is None else entry)
        self.reasons[self.policy] += 1

    def offer(self, entry: Entry) -> bool:
        if self.policy == "latest":
            same = [at for at, one in enumerate(self.entries) if slot(one) == slot(entry)]
            if same:  # the newer takes the place: a key that has news all the time is served like the others
                self.drop(same[0])
                self.entries.insert(same[0], entry)
                return True
            elif len(self.entries) >= self.size:
                self.drop(0)
        elif len(self.entries) >= self.size:
            if self.policy == "block":
                return False
            if self.policy == "drop_newest":
                self.drop(0, entry)
                return True
            self.drop(0)
        self.entries.append(entry)
        return True

    def let_in(self) -> None:
        while self.line and self.offer(self.line[0]):
            self.line.pop(0)


def slot(entry: Entry) -> tuple[str, str]:
    return entry[0], entry[1].key


class InboxMachine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(POLICIES), size=st.integers(1, 4))
    def make(self, policy: Policy, size: int) -> None:
        self.inbox = Inbox(Queue(size=size, when_full=policy))
        self.model = Model(policy, size)
        self.slips: list[Slip] = []
        self.taken: list[Entry] = []
        self.let_in: list[int] = []

    @rule(wire=st.sampled_from("ab"), key=st.sampled_from("xyz"))
    def write(self, wire: str, key: str) -> None:
        slip = Slip(len(self.slips))
        self.slips.append(slip)
        entry = (wire, Message(payload=slip.name, at=0, received_at=0, source="s", key=key), slip)
        took = self.inbox.offer(entry)
        assert took == self.model.offer(entry)
        if not took:
            self.inbox.line_up(entry, lambda: self.let_in.append(slip.name))
            self.model.line.append(entry)

    @rule()
    def take(self) -> None:
        entry = self.inbox.take()
        assert entry == (self.model.entries.pop(0) if self.model.entries else None)
        if entry is not None:
            self.taken.append(entry)
            before = [one[1].payload for one in self.model.line]
            self.model.let_in()
            came = before[: len(before) - len(self.model.line)]
            assert self.let_in == came
            self.let_in.clear()

    @precondition(lambda self: self.taken)
    @rule()
    def put_back(self) -> None:
        entry = self.taken.pop()
        self.inbox.put_back(entry)
        if self.model.policy != "latest":
            self.model.entries.insert(0, entry)
            return
        rest, self.model.entries = self.model.entries, [entry]
        for one in rest:
            self.model.offer(one)

    @rule(policy=st.sampled_from(POLICIES), size=st.integers(1, 4))
    def requeue(self, policy: Policy, size: int) -> None:
        self.inbox.requeue(Queue(size=size, when_full=policy))
        waiting, self.model.entries = self.model.entries, []
        self.model.policy, self.model.size = policy, size
        for one in waiting:
            if not self.model.offer(one):
                self.model.entries.append(one)
        self.model.let_in()
        self.let_in.clear()

    @invariant()
    def is_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        assert len(self.inbox) == len(self.model.entries)
        assert self.inbox.in_line == len(self.model.line)
        assert self.inbox.full == (self.model.policy == "block" and len(self.model.entries) >= self.model.size)
        assert self.inbox.dropped == dict(self.model.reasons)
        told = {slip.name for slip in self.slips if slip.told}
        assert told == {one[1].payload for one in self.model.dropped}
        assert all(slip.told <= 1 for slip in self.slips)
        if self.model.line:  # somebody waits only where there is no room: nobody can overtake
            assert self.inbox.full

    def teardown(self) -> None:
        """All that came in is accounted for, once."""
        if not hasattr(self, "model"):
            return
        inside: list[Entry] = []
        while (entry := self.inbox.take()) is not None:
            inside.append(entry)
        where = [one[1].payload for one in [*self.taken, *inside, *self.model.dropped]]
        assert sorted(where) == [slip.name for slip in self.slips]


TestInbox = InboxMachine.TestCase
TestInbox.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def entry(number: int, key: str = "", wire: str = "a.out") -> Entry:
    return wire, Message(payload=number, at=0, received_at=0, source="a", key=key), None


def payloads(inbox: Inbox) -> list[int]:
    found: list[int] = []
    while (one := inbox.take()) is not None:
        found.append(one[1].payload)
    return found


def test_latest_keeps_the_newest_of_each_wire_and_key() -> None:
    inbox = Inbox(Queue(size=10, when_full="latest"))
    for one in (entry(1, "n"), entry(2, "s"), entry(3, "n"), entry(4, "n", "b.out")):
        inbox.offer(one)
    assert inbox.dropped == {"latest": 1}
    assert payloads(inbox) == [3, 2, 4]


def test_a_message_put_back_is_overtaken_by_a_newer_one_of_its_key() -> None:
    inbox = Inbox(Queue(when_full="latest"))
    inbox.offer(entry(1, "n"))
    taken = inbox.take()
    assert taken is not None
    inbox.offer(entry(2, "n"))
    inbox.put_back(taken)
    assert payloads(inbox) == [2]
    assert inbox.dropped == {"latest": 1}


def test_no_writer_overtakes_the_line() -> None:
    """Whoever comes while others wait goes to the end, also in the moment in which room is made."""
    inbox = Inbox(Queue(size=1))
    inbox.offer(entry(0))
    came: list[int] = []
    for number in (1, 2):
        inbox.line_up(entry(number), lambda number=number: came.append(number))  # type: ignore[misc]
    assert inbox.take() == entry(0)
    assert came == [1]
    assert not inbox.offer(entry(3))
    assert payloads(inbox) == [1, 2]
