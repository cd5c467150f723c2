"""A reload while messages are on their way: each comes to the end of the line once, or it is known where it went.

A line of nodes that are slow, fail, wait for a peer or hang, with small inboxes and lines of writers before them; its
file is saved again and again while more comes in.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowrunner.runtime import Inbox, Worker
from flowrunner.store.letters import Wanted
from flowrunner.testing import Rig, run_flow
from tests.reload.playing import REGISTRY

MANY = settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LONG = "10min"
"""All retries, reconnects and slow nodes have come to an end."""
MOODS = st.lists(st.sampled_from(["ok", "ok", "retry", "away", "reject", "error"]), max_size=6)
NODES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("slow"), "time": st.sampled_from(["0s", "30ms", "400ms", "3s"]), "turns": st.integers(0, 2)}
    ),
    st.fixed_dictionaries({"type": st.just("relay"), "how": st.sampled_from(["new", "same"])}),
    st.fixed_dictionaries({"type": st.just("moody"), "moods": MOODS}),
    st.fixed_dictionaries({"type": st.just("moody-async"), "moods": MOODS | st.just(["ok", "hang"])}),
    st.fixed_dictionaries({"type": st.just("keeper")}),
)
QUEUES = st.none() | st.fixed_dictionaries(
    {
        "size": st.sampled_from([1, 2, 5]),
        "when_full": st.sampled_from(["block", "block", "drop_oldest", "drop_newest", "latest"]),
        "durable": st.booleans(),
    }
)
Node = Mapping[str, Any]
NODE = st.builds(lambda node, queue: node if queue is None else {**node, "queue": queue}, NODES, QUEUES)
RESCUE: Node = {"type": "relay", "how": "same"}
SITES = ("north", "south")
IN_PLACE, ANY = ("option", "queue", "type", "rename", "source"), ("add", "remove", "swap")


@dataclass(frozen=True)
class Line:
    """``tick`` and ``post`` → nodes, one after the other → ``last``."""

    nodes: tuple[tuple[str, Node], ...]
    reply: int = 0
    every_ms: int = 90

    def __str__(self) -> str:
        lines = [
            "flow: t",
            "nodes:",
            f"  tick: {{type: inject, every: {self.every_ms}ms, payload: 1}}",
            "  post: {type: http-in, route: POST /in, rate_limit: 100000/s, key: '{site}',"
            f" body: {{site: {{type: text}}}}, reply: {{json: {{n: {self.reply}}}}}}}",
        ]
        before: str | list[str] = ["tick", "post"]
        for name, node in self.nodes:
            lines.append(f"  {name}: {json.dumps({**node, 'from': before})}")
            before = name
        return "\n".join([*lines, f"  last: {{type: relay, from: {json.dumps(before)}}}", ""])

    @property
    def hangs(self) -> bool:
        return any("hang" in node.get("moods", ()) for _, node in self.nodes)

    @property
    def rescued(self) -> Line:
        return replace(self, nodes=tuple((name, RESCUE) for name, _ in self.nodes))


class Save(NamedTuple):
    line: Line


class Post(NamedTuple):
    site: str


class Pass(NamedTuple):
    ms: int


Step = Save | Post | Pass
WAITS = st.sampled_from([0, 1, 40, 250, 1_100, 4_000]).map(Pass)
POSTS = st.sampled_from(SITES).map(Post)


@st.composite
def stories(draw: Callable[[st.SearchStrategy[Any]], Any], ways: tuple[str, ...]) -> tuple[Line, list[Step]]:
    made = iter(range(1000))

    def some_nodes(least: int, most: int) -> tuple[tuple[str, Node], ...]:
        return tuple((f"n{next(made)}", draw(NODE)) for _ in range(draw(st.integers(least, most))))

    first = line = Line(some_nodes(1, 3))
    story: list[Step] = []
    for _ in range(draw(st.integers(1, 3))):
        story += draw(st.lists(POSTS | WAITS, max_size=5))
        for _ in range(draw(st.integers(1, 2))):
            line = edited(line, draw(st.sampled_from(ways)), draw, lambda: f"n{next(made)}")
        story.append(Save(line))
        story += draw(st.lists(POSTS | WAITS, max_size=5))
    return first, story


def edited(line: Line, way: str, draw: Callable[[st.SearchStrategy[Any]], Any], name: Callable[[], str]) -> Line:
    nodes = list(line.nodes)
    place = draw(st.integers(0, max(0, len(nodes) - 1)))
    if way == "source":
        return replace(line, reply=line.reply + 1, every_ms=draw(st.sampled_from([90, 170])))
    if way == "add" or not nodes:
        nodes.insert(place, (name(), draw(NODE)))
    elif way == "remove":
        del nodes[place]
    elif way == "swap":
        nodes[place], nodes[0] = nodes[0], nodes[place]
    elif way == "rename":
        nodes[place] = (name(), nodes[place][1])
    elif way == "queue":
        rest = {key: value for key, value in nodes[place][1].items() if key != "queue"}
        queue = draw(QUEUES)
        nodes[place] = (nodes[place][0], rest if queue is None else {**rest, "queue": queue})
    else:
        nodes[place] = (nodes[place][0], draw(NODE))
    return replace(line, nodes=tuple(nodes))


# ---- a run, and what became of each message ----------------------------------------------------------------------

Id = tuple[str, str]
"""Who brought it in, and where in its source: each message has another."""


class Fate(NamedTuple):
    came_in: list[tuple[Id | None, str]]
    """What left the sources, in order, with its key."""
    accepted: int
    """How many requests were answered with 200."""
    arrived: list[tuple[Id | None, str]]
    letters: list[Id | None]
    dropped: Counter[str]
    waiting: int
    on_disk: set[Id | None]
    """What nodes that were removed left in their durable inboxes: it comes first when they are back."""
    in_place: bool
    """No node was removed: one of another name and another type is another node."""


def run(first: Line, story: list[Step]) -> Fate:
    async def play(rig: Rig) -> Fate:
        runtime = rig.engine.runtime
        inboxes: dict[int, Inbox] = {id(one): one for one in runtime.inboxes.values()}
        record = runtime.on_worker
        assert record is not None

        def made(worker: Worker) -> None:
            record(worker)
            inboxes[id(worker.inbox)] = worker.inbox

        runtime.on_worker = made
        line, accepted = first, 0
        saves: list[asyncio.Task[Any]] = []
        for step in story:
            if isinstance(step, Save):
                line = step.line
                saves.append(asyncio.create_task(rig.reload(str(line))))
                await rig.settle()
            elif isinstance(step, Post):
                await rig.advance("1ms")
                answer = asyncio.create_task(rig.request("POST", "/in", json.dumps({"site": step.site}).encode()))
                accepted += (await answer).status == 200
            else:
                await rig.advance(f"{step.ms}ms")
        saves.append(asyncio.create_task(rig.reload(str(replace(line, every_ms=3_600_000)))))
        await rig.advance(LONG)
        if line.hangs:
            saves.append(asyncio.create_task(rig.reload(str(replace(line.rescued, every_ms=3_600_000)))))
            await rig.advance(LONG)
        for save in saves:
            assert save.done(), "a reload does not end"
            assert save.result().result in ("applied", "unchanged"), save.result()
        await rig.advance(LONG)
        assert all(one.at_rest for one in runtime.workers.values())
        assert runtime.going == {}
        return Fate(
            [(one.message.root, one.message.key) for one in rig.sent if one.address in ("t/tick", "t/post")],
            accepted,
            [(one.message.root, one.message.key) for one in rig.sent if (one.address, one.port) == ("t/last", "out")],
            [tuple(json.loads(one.message)["root"]) for one in rig.engine.store.dead_letters(Wanted(limit=10_000))],
            sum((Counter(one.dropped) for one in inboxes.values()), Counter()),
            sum(len(one) + one.in_line for one in inboxes.values()),
            {
                tuple(json.loads(one.message)["root"])
                for name in rig.engine.store.inboxes()
                if name not in runtime.workers
                for one in rig.engine.store.waiting(*name.split("/"))
            },
            not any(save.result().removed for save in saves),
        )

    return run_flow(str(first), play, registry=REGISTRY)


def judge(fate: Fate) -> None:
    arrived, came_in = [one for one, _ in fate.arrived], [one for one, _ in fate.came_in]
    assert len(set(came_in)) == len(came_in)
    assert sum(one is not None and one[0] == "post" for one in came_in) == fate.accepted
    assert fate.waiting == 0
    assert len(set(arrived)) == len(arrived), "a message came twice"
    assert len(set(fate.letters)) == len(fate.letters)
    assert not set(arrived) & set(fate.letters)
    assert not fate.on_disk & {*arrived, *fate.letters}
    missing = set(came_in) - set(arrived) - set(fate.letters) - fate.on_disk
    assert len(missing) == fate.dropped.total(), "what did not come was dropped by a policy, and counted"
    assert {*arrived, *fate.letters} <= set(came_in)


def nothing_is_lost(data: st.DataObject) -> None:
    first, story = data.draw(stories(IN_PLACE + ANY))
    judge(run(first, story))


def order_is_kept(data: st.DataObject) -> None:
    """Of each key, where nodes are replaced in their places."""
    first, story = data.draw(stories(IN_PLACE))
    fate = run(first, story)
    judge(fate)
    place = {one: number for number, (one, _) in enumerate(fate.came_in)}
    for key in ("", *SITES) if fate.in_place else ():
        numbers = [place[one] for one, of in fate.arrived if of == key]
        assert numbers == sorted(numbers), key


def test_two_full_nodes_that_change_places_do_not_wait_for_each_other() -> None:
    """Each waits with what it has for room in the other, which was behind it and is before it now."""
    at_once: Node = {"type": "slow", "time": "0s", "turns": 0}
    small = {"size": 1, "when_full": "block", "durable": False}
    slow: Node = {"type": "slow", "time": "400ms", "turns": 0, "queue": small}
    first = Line((("n0", at_once), ("n1", at_once), ("n2", slow)))
    narrow = ("n0", {**at_once, "queue": small})
    ways = [(narrow, *first.nodes[1:]), (narrow, ("n2", slow)), (("n2", slow), narrow)]
    full, shorter, turned = (Save(replace(first, nodes=nodes)) for nodes in ways)
    judge(run(first, [full, Pass(1_100), shorter, turned]))


MOST = settings(MANY, max_examples=2000)
CHECKS = [nothing_is_lost, order_is_kept]


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.__name__)
@MANY
@given(data=st.data())
def test_a_reload_in_the_middle(check: Callable[[st.DataObject], None], data: st.DataObject) -> None:
    check(data)


@pytest.mark.slow(reason="the same, thirty times as often")
@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.__name__)
@MOST
@given(data=st.data())
def test_a_reload_in_the_middle_of_anything(check: Callable[[st.DataObject], None], data: st.DataObject) -> None:
    check(data)
