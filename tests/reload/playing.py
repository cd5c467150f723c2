"""What happens to a flow before and after a reload, and what of it two runs have in common."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from flowrunner.errors import Reject
from flowrunner.graph import check_flows
from flowrunner.store import Store
from flowrunner.store.letters import Wanted
from flowrunner.testing import Rig, run_flow
from flowrunner.testing.rig import START, Sent
from flowrunner.units import SECOND, iso, parse_instant
from tests.reload.flows import FlowText
from tests.runtime.kit import types

REGISTRY = types()
MS = SECOND // 1000
ENTRY_MS = 11
"""Before an entry: none is of the same instant as another, and a commit that a reload made early (its answer waits for
one where a queue is durable) is over in any case."""


class Pass(NamedTuple):
    """Time passes."""

    ms: int


class Enter(NamedTuple):
    """A person's entry, or a request, at one of the sources that are there; the number goes round."""

    source: int
    body: Mapping[str, Any]


Step = Pass | Enter
VALUES = st.integers(0, 13)
BODIES = st.fixed_dictionaries(
    {"x": VALUES}, optional={"y": VALUES, "site": st.sampled_from(["north", "south"])}
) | st.fixed_dictionaries({"y": VALUES}, optional={"site": st.sampled_from(["north", "south"])})
WHOLE = st.fixed_dictionaries({"x": VALUES, "y": VALUES, "site": st.sampled_from(["north", "south"])})
TIMES = st.sampled_from([1, 39, 500, 2_003, 5_009, 12_007, 70_001]).map(Pass)


def steps(bodies: st.SearchStrategy[dict[str, Any]] = BODIES, most: int = 8) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of(st.builds(Enter, st.integers(0, 5), bodies), TIMES), min_size=1, max_size=most)


async def play(rig: Rig, flow: FlowText, story: Iterable[Step]) -> list[Any]:
    """Returns what the sources answered."""
    answers: list[Any] = []
    ways = [*flow.sources("http-in"), *flow.sources("manual-in")]
    for step in story:
        if isinstance(step, Pass):
            await rig.advance(f"{step.ms}ms")
        elif ways:
            await rig.advance(f"{ENTRY_MS}ms")
            answers.append(await _enter(rig, flow, ways[step.source % len(ways)], step.body))
    return answers


async def _enter(rig: Rig, flow: FlowText, source: str, body: Mapping[str, Any]) -> Any:
    if flow.nodes[source].type == "http-in":
        method, _, path = flow.nodes[source].options["route"].partition(" ")
        answer = await rig.request(method, path, json.dumps(body).encode())
        return source, answer.status, answer.body
    try:
        await rig.enter(source, {name: value for name, value in body.items() if name != "site"})
    except Reject as error:
        return source, error.code, error.reason
    return source, "taken", ""


# ---- what two runs have in common --------------------------------------------------------------------------------

Seen = dict[tuple[str, str, str], list[tuple[int, Any]]]
"""(address, port, key) → what left there: instant and message. Across keys and wires nobody promises an order."""


def seen(sent: Sequence[Sent]) -> Seen:
    found: Seen = defaultdict(list)
    for at, address, port, message in sent:
        found[(address, port, message.key)].append((at, _plain(message)))
    return dict(found)


def _plain(message: Any) -> Any:
    """Without the numbers that a node gives to its requests and errors: it counts from its own beginning."""
    plain = msgspec.to_builtins(message)
    if message.root is not None and message.root[1].startswith(("request:", "error:")):
        plain["root"] = [message.root[0], message.root[1].rpartition(":")[0]]
    return plain


Letter = tuple[str, str, str, Any]
"""Node, code, reason, payload."""


def letters(store: Store, before: int = 0) -> list[Letter]:
    """Of all but the ``before`` oldest."""
    kept = store.dead_letters(Wanted(limit=10_000))
    payloads = [json.loads(one.message)["payload"] for one in kept]
    found = [
        (one.node, one.code, one.reason, json.dumps(payload, sort_keys=True))
        for one, payload in zip(kept, payloads, strict=True)
    ]
    return sorted(found[: len(found) - before])


class Run(NamedTuple):
    """What came of a story: answers of the sources, all that left any node, and dead letters."""

    answers: list[Any]
    sent: Seen
    letters: list[Letter]


class Marked:
    """Begins to look at a run now."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self._sent = rig, len(rig.sent)
        self._letters = len(letters(rig.engine.store))

    def run(self, answers: list[Any]) -> Run:
        return Run(answers, seen(self._rig.sent[self._sent :]), letters(self._rig.engine.store, self._letters))


def runs(flow: FlowText) -> list[str]:
    """The nodes that run; none where the flow has problems."""
    graph = check_flows({"flow.yaml": str(flow)}, {}, REGISTRY).graph
    return [] if graph is None else [one.id for one in graph.nodes.values() if one.kind.name != "on-error"]


def is_good(flow: FlowText) -> bool:
    """Whether it runs, and no two of its merges end their collecting in one instant: see `TICK_S`."""
    settles = [one.options["settle"] for one in flow.nodes.values() if "settle" in one.options]
    return len(settles) == len(set(settles)) and bool(runs(flow))


def fresh(flow: FlowText, story: Sequence[Step], *, after_ms: int = 0, store: Store | None = None) -> Run:
    """The flow started ``after_ms`` after the usual beginning, and what it does from then on."""

    async def begin(rig: Rig) -> Run:
        mark = Marked(rig)
        return mark.run(await play(rig, flow, story))

    start = iso(parse_instant(START) + after_ms * MS)
    return run_flow(str(flow), begin, start=start, registry=REGISTRY, store=store)
