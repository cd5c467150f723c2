"""The last quarter of an hour of each flow: messages per second and errors in steps of five seconds, with marks.

It is kept also while nobody looks: one look at the counters per step, nothing in between.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from flowrunner.engine import Engine
from flowrunner.message import Instant
from flowrunner.units import SECOND
from flowrunner.web.live.frame import MS
from flowrunner.web.live.words import Mask, short

STEP_S = 5.0
STEPS = 180
MARKS = 200
"""Marks of one flow that are kept; the oldest go first."""
ERRORS_OF_A_STEP = 5
"""Nodes whose errors of one step are marked, those with the most first."""

Ms = Annotated[int, Meta(description="Milliseconds since 1970-01-01T00:00:00Z, flow time.")]


class Mark(TypedDict):
    """Something that happened."""

    at: Ms
    kind: Literal["reload", "error"]
    text: Annotated[str, Meta(description="What was said: an error's text, why a reload changed nothing.")]
    result: NotRequired[Literal["applied", "refused", "failed"]]
    node: NotRequired[Annotated[str, Meta(description="Of an error: the node's id.")]]
    count: NotRequired[Annotated[int, Meta(description="Of an error: how many there were in this step.")]]


class Steps(TypedDict):
    """Columns, the oldest step first."""

    at: Annotated[list[Ms], Meta(description="The end of each step.")]
    rate: Annotated[list[float], Meta(description="Messages per second that nodes of the flow took or made.")]
    errors: Annotated[list[int], Meta(description="Errors of all nodes of the flow.")]


class Shown(TypedDict):
    """The last 15 minutes of one flow."""

    flow: str
    at: Ms
    step_s: float
    span_s: float
    steps: Steps
    marks: list[Mark]


class _Lane:
    """One flow."""

    def __init__(self) -> None:
        self.steps: deque[tuple[Instant, float, int]] = deque(maxlen=STEPS)
        self.marks: deque[Mark] = deque(maxlen=MARKS)


class Strip:
    """``look`` once per step."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lanes: dict[str, _Lane] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._generation = engine.generation
        self._reload = engine.last_reload
        self._looked_at: Instant | None = None

    def look(self, now: Instant) -> None:
        """Take in what has come since the last look."""
        engine = self._engine
        known = engine.generation == self._generation and self._looked_at is not None
        self._generation = engine.generation
        self._lanes = {flow: self._lanes.get(flow) or _Lane() for flow in engine.graph.flows}
        passed = dict.fromkeys(self._lanes, 0)
        failed: dict[str, list[tuple[int, str]]] = {flow: [] for flow in self._lanes}
        counts: dict[str, tuple[int, int]] = {}
        before = self._counts
        for address, worker in engine.runtime.workers.items():
            counters, flow = worker.counters, worker.spec.flow
            count = max(counters.received, counters.sent)
            errors = sum(counters.errors.values()) if counters.errors else 0
            # One that a reload has just brought may go on with the figures of another name, and the first look of a
            # new server finds what ran before it: they begin now.
            was, had = before.get(address, (0, 0) if known else (count, errors))
            counts[address] = (count, errors)
            passed[flow] += max(count - was, 0)  # what is put back is taken off again
            if errors > had:
                failed[flow].append((errors - had, address))
        self._counts = counts
        self.note_reload(now)
        before_that, self._looked_at = self._looked_at, now
        if before_that is None:
            return  # what passed before is nothing of this step, and nobody knows when it did
        elapsed = (now - before_that) / SECOND
        for flow, lane in self._lanes.items():
            rate = round(passed[flow] / elapsed, 2) if elapsed > 0 else 0.0  # a clock that was set back
            lane.steps.append((now, rate, sum(count for count, _ in failed[flow])))
            for count, address in sorted(failed[flow], reverse=True)[:ERRORS_OF_A_STEP]:
                self._mark_error(lane, address, count, now)

    def note_reload(self, now: Instant) -> None:
        """Mark the last reload, if that is news and changed anything or should have."""
        last = self._engine.last_reload
        if last is self._reload:
            return
        self._reload = last
        if last is None or last.result == "unchanged":
            return
        text, at = short(last.reason, self._mask), self._engine.loaded_at if last.result == "applied" else now
        for flow in self._engine.graph.flows:
            lane = self._lanes.setdefault(flow, _Lane())
            lane.marks.append({"at": at // MS, "kind": "reload", "text": text, "result": last.result})

    def shown(self, flow: str, now: Instant) -> Shown:
        lane = self._lanes.get(flow) or _Lane()
        since = now - int(STEP_S * STEPS * SECOND)
        steps = [one for one in lane.steps if one[0] > since]
        return {
            "flow": flow,
            "at": now // MS,
            "step_s": STEP_S,
            "span_s": STEP_S * STEPS,
            "steps": {
                "at": [at // MS for at, _, _ in steps],
                "rate": [rate for _, rate, _ in steps],
                "errors": [errors for _, _, errors in steps],
            },
            "marks": [one for one in lane.marks if one["at"] > since // MS],
        }

    @property
    def _mask(self) -> Mask:
        return self._engine.runtime.mask

    def _mark_error(self, lane: _Lane, address: str, count: int, now: Instant) -> None:
        counters = self._engine.runtime.workers[address].counters
        at = now if counters.last_error_at is None else counters.last_error_at
        text = short(counters.last_error, self._mask)
        node = address.partition("/")[2]
        lane.marks.append({"at": at // MS, "kind": "error", "text": text, "node": node, "count": count})
