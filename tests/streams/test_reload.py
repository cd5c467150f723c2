"""A flow file changes twenty times while messages run through it: none is lost, and nothing else is disturbed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest

from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from tests.peers.mqtt_stream import Listener, Publisher
from tests.peers.program import Program
from tests.peers.until import until_elsewhere
from tests.streams.account import Account, Arrival, account
from tests.streams.changes import CHANGES, UNTOUCHED, Change, FlowFile
from tests.streams.flow import arrivals, broker_of, connects, promised

BRANCHES = ("plant", "still")
ON_THE_WAY = 10
"""Numbers that have come out, and whose acknowledgement the broker may not have yet."""
BETWEEN = 40
"""Deliveries between two changes: 0.1 s of the stream."""
How = Literal["watched", "told"]


class Running:
    """The program, and how its file is changed."""

    def __init__(self, program: Program, file: Path, how: How) -> None:
        self._program, self._file, self._how = program, file, how
        self._generation, self._refused, self._asks = 1, 0, False
        self.http = httpx2.Client(base_url=program.url, trust_env=False, timeout=20)

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def save(self, text: str, change: Change) -> None:
        """Save the file as editors do, beside it and then renamed; returns when the program has dealt with it."""
        applied = change.result == "applied"
        self._generation += applied
        self._refused += not applied
        beside = self._file.with_suffix(".new")
        beside.write_text(text, "utf-8")
        beside.replace(self._file)
        if self._how == "told":
            self._tell(change)
        if applied:
            self._program.until(f" (generation {self._generation})")
        else:
            until_elsewhere(lambda: self._refusals() >= self._refused, lambda: f"{change.what}; {self.said()}")
        assert self._refusals() == self._refused, f"{change.what}; {self.said()}"

    def _tell(self, change: Change) -> None:
        """By a signal and by the API, in turns."""
        self._asks = not self._asks
        if not self._asks:
            self._program.send(signal.SIGHUP)
            return
        answers: list[httpx2.Response] = []

        def done() -> bool:
            answers.append(self.http.post("/api/v1/reload"))
            return answers[-1].status_code != 429  # it takes no more than a few of them in a second

        until_elsewhere(done, lambda: f"{change.what}: {answers[-1].text}")
        answer = answers[-1].json()
        assert (answer["result"], answer["generation"]) == (change.result, self._generation), (change.what, answer)

    def _refusals(self) -> int:
        return sum("not reloaded: " in line for line in self.lines)

    @property
    def lines(self) -> list[str]:
        """What the program has said, without what passes its log nodes."""
        return [line for line in self._program.lines if " DEBUG " not in line]

    def said(self) -> str:
        return "\n".join(["the program said:", *self.lines[-30:]])


@contextmanager
def running(folder: Path, text: str, how: How) -> Iterator[Running]:
    file = folder / "flow.yaml"
    file.write_text(text, "utf-8")
    options = ["--no-watch"] if how == "told" else []
    with Program(file, *options, data=folder / "data") as program:
        found = Running(program, file, how)
        with found.http:
            yield found


@pytest.mark.parametrize(
    "how",
    [
        "watched",
        pytest.param("told", marks=pytest.mark.slow),  # ten seconds more for the same swaps
    ],
)
def test_a_reload_loses_nothing(tmp_path: Path, how: How) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(broker_of(tmp_path / "broker"))
        file = FlowFile(broker.url)
        sink = stack.enter_context(Listener(broker.port, "plant/out/#", "still/out/#"))
        program = stack.enter_context(running(tmp_path, file.text, how))
        broker.until_said(" plant/in/+\n", " still/in/+\n", times=1)
        source = stack.enter_context(Publisher(broker.port, ["plant/in/{key}", "still/in/{key}"]))
        doubtful: list[range] = []
        for change in CHANGES:
            sink.until_more(BETWEEN)
            began = min(one.number for one in sink.heard[-BETWEEN:]) - ON_THE_WAY
            program.save(file.after(change), change)
            for branch in BRANCHES:  # both go on
                sink.until_number(source.count, f"{branch}/out/", program.said)
            if change.may_repeat:
                doubtful.append(range(began, source.count + 1))
        source.stop()

        def accounts() -> tuple[Account, Account]:
            sent, heard = source.acknowledged, sink.heard
            touched, still = (account(promised(sent, f"{one}/in"), arrivals(heard, f"{one}/out")) for one in BRANCHES)
            return touched, still

        def lost() -> list[Arrival]:
            return [number for one in accounts() for number in one.lost]

        sink.until(lambda: not lost(), lambda: f"lost: {lost()}; {program.said()}", 10)
        touched, untouched = accounts()
        assert not any(untouched), str(untouched)
        assert not touched.broken, str(touched)
        assert [one for one in touched.repeated if not any(one[1] in numbers for numbers in doubtful)] == [], doubtful
        assert connects(tmp_path / "broker", "still") == 1
        assert not [line for line in program.lines if " is left to its peer" in line]
        letters = program.get("/api/v1/dead-letters")
        assert letters == []


def test_the_changes_are_what_they_say() -> None:
    """Refused files have an error, the others none; nobody touches the untouched branch, and it ends as it began."""
    file = FlowFile("mqtt://127.0.0.1:1883")
    first = file.text
    for change in CHANGES:
        checked = check_flows({"flow.yaml": file.after(change)}, {}, Registry())
        assert (checked.graph is None) == (change.result == "refused"), (change.what, checked.problems)
        assert not set(change.nodes) & set(UNTOUCHED)
    assert sorted(file.text.splitlines()) == sorted(first.splitlines())
    assert len(CHANGES) == 20
