"""A node's log: kinds of lines that go on get rarer, and a change of state is always said."""

from __future__ import annotations

import itertools
import logging

import pytest

from flowrunner.runtime.logs import NodeLog


def test_what_goes_on_is_said_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = NodeLog("flow/node", lambda: now)
    said: list[float] = []
    for second in range(4 * 3600):
        now = float(second)
        before = len(caplog.messages)
        log.warning("no value: %s", second)
        said += [now] * (len(caplog.messages) - before)
    assert said[:4] == [0, 60, 180, 420]
    gaps = [later - earlier for earlier, later in itertools.pairwise(said)]
    assert max(gaps) == 3600
    assert caplog.messages[1] == "flow/node: no value: 60 (and 59 more like it)"


def test_after_quiet_it_is_said_at_once_again(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = NodeLog("flow/node", lambda: now)
    log.warning("no value")
    now = 200.0
    log.warning("no value")
    now = 261.0
    log.warning("no value")
    assert len(caplog.messages) == 3


def test_a_change_is_never_held_back(caplog: pytest.LogCaptureFixture) -> None:
    log = NodeLog("flow/node", lambda: 0.0)
    for _ in range(3):
        log.change(logging.WARNING, "not connected: %s", "refused")
        log.change(logging.WARNING, "connected again")
    assert len(caplog.messages) == 6
