"""Shared connections: one per key, open as long as somebody owns it, and never used after its end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flowrunner.connections import Connections

pytestmark = pytest.mark.anyio


class Line:
    """A connection that knows its state. ``gate``: its close waits for it."""

    def __init__(self, fault: BaseException | None = None, gate: asyncio.Event | None = None) -> None:
        self.fault, self.gate = fault, gate
        self.closes = 0
        self.password = "hunter2"

    async def close(self) -> None:
        self.closes += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault


async def test_one_per_key_and_closed_by_its_last_owner() -> None:
    connections = Connections()
    a, again, b = (connections.get(owner, key, Line) for owner, key in (("x", "k"), ("y", "k"), ("x", "other")))
    assert a is again
    assert a is not b
    await connections.release("x")
    assert (a.closes, b.closes) == (0, 1)
    await connections.release("x")
    await connections.release("y")
    assert (a.closes, b.closes) == (1, 1)
    assert connections.get("x", "k", Line) is not a


async def test_a_plain_close_serves_as_well() -> None:
    class Plain:
        closed = False

        def close(self) -> None:
            self.closed = True

    connections = Connections()
    plain = connections.get("x", "k", Plain)
    await connections.release("x")
    assert plain.closed


async def test_whoever_asks_while_the_old_one_closes_gets_a_new_one() -> None:
    connections, gate = Connections(), asyncio.Event()
    old = connections.get("x", "k", lambda: Line(gate=gate))
    leaving = asyncio.create_task(connections.release("x"))
    await asyncio.sleep(0)
    assert old.closes == 1
    new = connections.get("x", "k", Line)
    assert new is not old
    gate.set()
    await leaving
    assert new.closes == 0
    assert connections.get("y", "k", Line) is new


async def test_a_close_that_fails_or_hangs_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    connections, gate = Connections(), asyncio.Event()
    lines = [Line(gate=gate), Line(OSError("broken pipe")), Line(TypeError("defect")), Line()]
    for key, line in enumerate(lines):
        connections.get("bess/node", ("mqtt", key, "hunter2"), lambda line=line: line)  # type: ignore[misc]
    leaving = asyncio.create_task(connections.release("bess/node"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [line.closes for line in lines] == [1, 1, 1, 1]
    gate.set()
    await leaving
    texts = sorted(one.getMessage() for one in caplog.records if one.levelno == logging.ERROR)
    assert texts == [
        "bess/node: closing its Line failed: OSError: broken pipe",
        "bess/node: closing its Line failed: TypeError: defect",
    ]
    assert "hunter2" not in caplog.text  # keys are settings, with passwords


async def test_one_that_cannot_be_made_leaves_nothing_behind() -> None:
    connections = Connections()

    def fail() -> Any:
        raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        connections.get("x", "k", fail)
    line = connections.get("y", "k", Line)
    await connections.release("x")
    assert line.closes == 0


class Owners(RuleBasedStateMachine):
    """Against a plain relation of owners and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = Connections()
        self.held: dict[str, Line] = {}
        self.owners: dict[str, set[str]] = {}
        self.gone: list[Line] = []

    @rule(owner=st.sampled_from("xyz"), key=st.sampled_from("kl"))
    def get(self, owner: str, key: str) -> None:
        line = self.connections.get(owner, key, Line)
        assert self.held.setdefault(key, line) is line
        assert line not in self.gone
        self.owners.setdefault(key, set()).add(owner)

    @rule(owner=st.sampled_from("xyz"))
    def release(self, owner: str) -> None:
        asyncio.run(self.connections.release(owner))
        for key in list(self.owners):
            self.owners[key].discard(owner)
            if not self.owners[key]:
                del self.owners[key]
                self.gone.append(self.held.pop(key))

    @invariant()
    def closed_once_when_the_last_has_gone(self) -> None:
        assert all(line.closes == 1 for line in self.gone)
        assert all(line.closes == 0 for line in self.held.values())


TestOwners = Owners.TestCase
TestOwners.pytestmark = []  # type: ignore[attr-defined]  # it makes loops of its own
TestOwners.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
