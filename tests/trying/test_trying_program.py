"""``flowrunner test`` as a program: what it prints, writes and ends with; and ``--watch`` with files that change."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flowrunner.registry import Registry
from flowrunner.testing.playing import play
from flowrunner.trying import run_tests
from tests.trying.stage import AT, REGISTRY, SOURCES, case, suite, told

FLOW = (
    "flow: a\nnodes:\n  go: {type: http-in, route: POST /x, body: {x: {type: number}}}\n  show: {type: log, from: go}\n"
)
HOLDS = f"  - {{name: holds, {AT}, steps: [{{emit: go, value: {{x: 1}}}}, {{advance: 1h}}], expect: [{{from: go}}]}}\n"
FAILS = f"  - {{name: fails, {AT}, expect: [{{from: go}}, {{into: show}}]}}\n"
DEADLINE_S = 30.0


def write(folder: Path, tests: str, name: str = "a") -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(FLOW.replace("flow: a", f"flow: {name}").replace("/x", f"/{name}"), encoding="utf-8")
    (folder / f"{name}.test.yaml").write_text(f"tests:\n{tests}", encoding="utf-8")
    return file


def run(*paths: Path, **more: object) -> tuple[int, list[str]]:
    said: list[str] = []
    code = run_tests(paths, registry=Registry, say=said.append, **more)  # type: ignore[arg-type]  # as keywords
    return code, said


@pytest.mark.parametrize(("tests", "code"), [(HOLDS, 0), (FAILS, 1), (HOLDS + FAILS, 1), (HOLDS + HOLDS, 78)])
def test_the_exit_code(tests: str, code: int, tmp_path: Path) -> None:
    assert run(write(tmp_path, tests))[0] == code


def test_one_bad_file_keeps_all_others_from_running(tmp_path: Path) -> None:
    good, bad = write(tmp_path, HOLDS), write(tmp_path, FAILS.replace("go", "went"), "b")
    code, said = run(good, bad)
    assert code == 78
    assert said[-1] == "flowrunner: nothing was tested"
    assert not any("ok" in line.split() for line in said)


def test_junit_has_every_test_with_its_place_and_time(tmp_path: Path) -> None:
    write(tmp_path, HOLDS + FAILS)
    write(tmp_path, HOLDS, "b")
    code, said = run(tmp_path, junit_file=tmp_path / "out.xml")
    assert code == 1
    root = ElementTree.parse(tmp_path / "out.xml").getroot()  # noqa: S314  (it was written here)
    assert root.tag == "testsuites"
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "0")
    suites = root.findall("testsuite")
    assert [(one.get("name"), one.get("tests"), one.get("failures")) for one in suites] == [
        (str(tmp_path / "a.yaml"), "2", "1"), (str(tmp_path / "b.yaml"), "1", "0"),
    ]  # fmt: skip
    cases = root.findall("testsuite/testcase")
    assert [(one.get("classname"), one.get("name"), one.get("line")) for one in cases] == [
        ("a", "holds", "2"), ("a", "fails", "3"), ("b", "holds", "2"),
    ]  # fmt: skip
    assert [one.get("file") for one in cases] == [str(tmp_path / f"{name}.test.yaml") for name in "aab"]
    assert [len(one.findall("failure")) for one in cases] == [0, 1, 0]
    (failure,) = cases[1].findall("failure")
    assert failure.text is not None
    assert failure.text.count(f"{tmp_path / 'a.test.yaml'}:3:") == 2
    assert (failure.get("message") or "nothing") in failure.text
    times = [float(one.get("time", "nan")) for one in cases]
    assert all(0 <= one < 30 for one in times)
    assert float(suites[0].get("time", "nan")) == pytest.approx(times[0] + times[1], abs=0.002)
    assert float(root.get("time", "nan")) == pytest.approx(sum(times), abs=0.003)
    assert said[-1].startswith("2 passed, 1 failed in ")


def test_the_seconds_are_real_and_the_flow_time_is_not(tmp_path: Path) -> None:
    begun = time.perf_counter()
    _, said = run(write(tmp_path, HOLDS.replace("1h", "400d")))
    words = said[-1].split()
    assert float(words[3]) <= time.perf_counter() - begun
    assert said[-1].endswith("(400 d of flow time)")


def test_two_runs_say_the_same(tmp_path: Path) -> None:
    body = """
    stub: {plc: [{soc: 1}, {soc: 2}], bus: {value: {level: 2}, delay: 1s}, far: {wind: 3}, out: {rejects: 400}}
    steps: [{advance: 1h}, {disconnect: plc}, {advance: 1h}, restart, {reconnect: plc}, {advance: 1h}]
    expect: [{from: both, count: 0}, {from: out.error, count: 0}, {from: plc, equals: []}, {order: [web, plc]}]
    """
    first, second = told(SOURCES, body), told(SOURCES, body)
    assert [one.lines for one in first.failures] == [one.lines for one in second.failures]
    assert len(first.failures) == 4
    assert first.watching is not None
    assert second.watching is not None
    assert first.watching.sent == second.watching.sent


# ---- what never ends ------------------------------------------------------------------------------------------------

BUSY = '''\
"""busy: never waits for time."""

import asyncio

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Busy(Node):
    """Turns round and round."""

    class Options(NodeOptions, kw_only=True):
        """None."""

    options: Options

    async def process(self, message: Message, ctx: Context) -> Message:
        while True:
            await asyncio.sleep(0)
'''


def test_a_story_that_never_ends_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(BUSY, encoding="utf-8")
    flow = FLOW.replace("type: log", "type: busy")
    outcome = told(
        flow, "steps: [{emit: go, value: {x: 1}}]\nexpect: [{from: go}]", patience_s=0.2, registry=Registry([tmp_path])
    )
    (failure,) = outcome.failures
    assert failure.where == "flow.test.yaml:2:11"
    assert "the story is not over after 0.2 s of real time; at work: show" in failure.lines[0]


SAYS = '''\
"""odd: its own say fails."""

from collections.abc import AsyncIterator

from flowrunner.message import JSON, Message
from flowrunner.node import Context, Node, NodeOptions


class Odd(Node):
    """Has a defect."""

    class Options(NodeOptions, kw_only=True):
        """None."""

    options: Options
    inputs = "none"

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        yield ctx.message({}, position="1")

    def say(self, value: JSON, ctx: Context) -> Message:
        raise LookupError("no such word")
'''


@pytest.mark.parametrize("stub", ["", "stub: {odd: {x: 1}}\n"])
def test_a_defect_in_a_node_is_a_failure_of_the_test_and_not_of_the_program(stub: str, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(SAYS, encoding="utf-8")
    flow = "flow: a\nnodes:\n  odd: {type: odd}\n  show: {type: log, from: odd}\n"
    body = f"{stub}steps: [{{emit: odd, value: {{x: 1}}}}]\nexpect: [{{from: odd}}]"
    outcome = told(flow, body, registry=Registry([tmp_path]))
    assert "odd cannot say this: LookupError: no such word" in outcome.failures[0].lines[0]


def test_a_test_that_was_read_can_be_played_again() -> None:
    (trial,) = suite(SOURCES, case("stub: {plc: {soc: 1}}\nexpect: [{from: plc, count: 1}]")).trials
    assert [play(trial, REGISTRY).ok for _ in range(3)] == [True] * 3


# ---- as a process ---------------------------------------------------------------------------------------------------


class Watched:
    """``flowrunner test --watch``, line by line."""

    def __init__(self, folder: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "FLOWRUNNER_NODES"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowrunner", "test", "--watch", "a.yaml"], cwd=folder, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        self._out = self.process.stdout.fileno()
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    def until(self, text: str) -> str:
        """What is said from here on, up to a line with ``text``."""
        said, end = "", time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            line, newline, self._rest = self._rest.partition(b"\n")
            if newline:
                said += line.decode() + "\n"
                if text in said.splitlines()[-1]:
                    return said
                continue
            self._rest = line
            if self._selector.select(timeout=1):
                new = os.read(self._out, 65536)
                assert new, f"it ended without {text!r}: {said}"
                self._rest += new
        raise AssertionError(f"no {text!r} within {DEADLINE_S} s: {said}")

    def end(self) -> tuple[int, bytes]:
        self.process.send_signal(signal.SIGINT)
        _, wrong = self.process.communicate(timeout=DEADLINE_S)
        self._selector.close()
        return self.process.returncode, wrong


@pytest.mark.parametrize(("last", "ends"), [("holds", 0), ("fails", 1), ("none", 2)])
def test_it_watches_until_it_is_interrupted(last: str, ends: int, tmp_path: Path) -> None:
    """It ends with the code of its last run."""
    file = write(tmp_path, HOLDS)
    cases = tmp_path / "a.test.yaml"
    watched = Watched(tmp_path)
    try:
        assert "  ok    holds" in watched.until("watching")
        cases.write_text(f"tests:\n{FAILS}", encoding="utf-8")
        said = watched.until("watching")
        assert "changed: a.test.yaml" in said
        assert "  FAIL  fails" in said
        file.write_text(FLOW.replace("http-in", "http-inn"), encoding="utf-8")
        said = watched.until("watching")
        assert "nothing was tested" in said
        assert "changed: a.yaml" in said
        assert "did you mean 'http-in'?" in said
        cases.unlink()
        file.write_text(FLOW, encoding="utf-8")
        watched.until("there are no tests in a.yaml")
        watched.until("watching")
        if last != "none":
            cases.write_text(f"tests:\n{HOLDS if last == 'holds' else FAILS}", encoding="utf-8")
            watched.until("1 passed" if last == "holds" else "1 failed")
            watched.until("watching")
        code, wrong = watched.end()
    finally:
        watched.process.kill()
        watched.process.wait()
    assert code == ends
    assert wrong == b""


def test_where_nothing_could_be_tested_the_report_says_so(tmp_path: Path) -> None:
    """One of a former run, where all was well, must not stay behind."""
    report = tmp_path / "out.xml"
    write(tmp_path, HOLDS)
    assert run(tmp_path, junit_file=report)[0] == 0
    write(tmp_path, HOLDS.replace("expect", "expekt"))
    assert run(tmp_path, junit_file=report)[0] == 78
    root = ElementTree.parse(report).getroot()  # noqa: S314  (it was written here)
    assert root.get("errors") == str(len(root.findall("testsuite/testcase/error"))) != "0"
