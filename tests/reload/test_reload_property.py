"""A reload of any flow into any other behaves as the other flow does, for all later messages.

What that means depends on what the nodes know of the messages before: nothing; what a restart of the program would
find; nothing of this key. In each case all that leaves any node is compared, and all that its sources answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.testing.rig import START
from flowrunner.units import iso, parse_instant
from tests.reload.edits import GONE, MOVED, RENAMED, WAYS, histories
from tests.reload.flows import SETTLED, FlowText, Kinds, Spec
from tests.reload.playing import MS, REGISTRY, VALUES, Marked, Run, Seen, Step, fresh, is_good, play, runs, steps

MANY = settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


MOST = settings(MANY, max_examples=2000)
"""Of each check; a hundred take five seconds."""
Ways = list[tuple[Kinds, tuple[str, ...]]]
REMEMBERED: Ways = [("all", WAYS), ("remembering", RENAMED), ("remembering", GONE), ("remembering", MOVED)]
BACK: Ways = [("stateless", WAYS), ("all", ("option", "queue", "order", "head"))]
Check = Callable[[st.DataObject], None]
LOOKS_AROUND = ("merge",)
"""Types that are opened anew when their wires change."""
NEW = ("east", "west")
ELSEWHERE = st.fixed_dictionaries({"x": VALUES, "site": st.sampled_from(NEW)}, optional={"y": VALUES})


def stateless(data: st.DataObject) -> None:
    """As if the new flow had begun at that instant."""
    versions = data.draw(histories("stateless"))
    assume(all(map(is_good, versions)))
    stories = [data.draw(steps()) for _ in versions]
    run, began = reloaded(versions, stories, settled=False)
    assert run == fresh(versions[-1], stories[-1], after_ms=began)


def stateful(data: st.DataObject) -> None:
    """As if the program had been stopped and started with the new flow: kept nodes, changed ones, renamed ones, those
    that come again. An attempt that fails before makes no difference."""
    kinds, ways = data.draw(st.sampled_from(REMEMBERED))
    versions = data.draw(histories(kinds, length=data.draw(st.integers(2, 4)), ways=ways))
    assume(all(map(is_good, versions)))
    stories = [data.draw(steps()) for _ in versions]
    run, _ = reloaded(versions, stories, settled=True, failing=data.draw(st.sets(st.integers(1, 3))))
    assert run == restarted(versions, stories)


def new_keys(data: st.DataObject) -> None:
    """As if the new flow had begun at that instant, for keys that nobody knows anything of; whatever is on its way."""
    versions = data.draw(histories("keyed", length=data.draw(st.integers(2, 3))))
    assume(all(map(is_good, versions)))
    stories = [data.draw(steps()) for _ in versions[:-1]] + [data.draw(steps(ELSEWHERE))]
    run, began = reloaded(versions, stories, settled=False)
    alone = fresh(versions[-1], stories[-1], after_ms=began)
    assert run.answers == alone.answers
    assert of_new_keys(run) == of_new_keys(alone)


def of_new_keys(run: Run) -> Seen:
    return {place: sent for place, sent in run.sent.items() if place[2] in NEW}


def there_and_back(data: st.DataObject) -> None:
    """As if nothing had been, where nothing came in the meantime."""
    kinds, ways = data.draw(st.sampled_from(BACK))
    first, *between = data.draw(histories(kinds, length=data.draw(st.integers(2, 3)), ways=ways))
    assume(all(map(is_good, [first, *between])))
    before, after = data.draw(steps()), data.draw(steps())

    def told(with_: list[FlowText]) -> Run:
        async def story(rig: Rig) -> Run:
            await play(rig, first, before)
            await rig.advance(SETTLED)
            for version in with_:
                assert (await rig.reload(str(version))).result in ("applied", "unchanged")
            mark = Marked(rig)
            return mark.run(await play(rig, first, after))

        return run_flow(str(first), story, registry=REGISTRY)

    assert told([*between, first]) == told([])


def in_vain(data: st.DataObject) -> None:
    """As if nobody had tried: a node does not open, or the file is wrong. At any moment, whatever is on its way."""
    flow, other = data.draw(histories("stateless") | histories("all"))
    assume(is_good(flow) and is_good(other))
    before, after = data.draw(steps()), data.draw(steps())
    attempts = data.draw(st.lists(st.sampled_from(["failed", "refused"]), min_size=1, max_size=3))

    def told(attempts: list[str]) -> Run:
        async def story(rig: Rig) -> Run:
            await play(rig, flow, before)
            mark, workers, graph = Marked(rig), dict(rig.engine.runtime.workers), rig.engine.graph
            for expected in attempts:
                outcome = await rig.reload(in_vain_of(other, expected))
                assert outcome.result == expected, outcome
                assert (outcome.generation, rig.engine.generation) == (1, 1)
            assert rig.engine.runtime.workers == workers
            assert rig.engine.graph is graph
            return mark.run(await play(rig, flow, after))

        return run_flow(str(flow), story, registry=REGISTRY)

    assert told(attempts) == told([])


def untouched(data: st.DataObject) -> None:
    """What did not change is the very same object, with the same inbox, counters and state."""
    old, new = data.draw(histories("all"))
    assume(is_good(old) and is_good(new))
    before = data.draw(steps())

    async def story(rig: Rig) -> None:
        await play(rig, old, before)
        had = dict(rig.engine.runtime.workers)
        counted = {address: (one.counters.received, one.counters.sent) for address, one in had.items()}
        outcome = await rig.reload(str(new))
        has = rig.engine.runtime.workers
        for name, spec in new.nodes.items():
            address = f"t/{name}"
            if address not in has or address not in had:
                continue
            same = old.head == new.head and bare(old.nodes[name]) == bare(spec)
            if same and spec.type not in LOOKS_AROUND:
                assert has[address] is had[address], (name, outcome)
            assert has[address].inbox is had[address].inbox
            assert has[address].counters.received >= counted[address][0]
            if bare(old.nodes[name]) != bare(spec):
                assert has[address].node is not had[address].node
        assert set(outcome.added) | set(outcome.changed) | set(outcome.removed) <= {*had, *has}

    run_flow(str(old), story, registry=REGISTRY)


def bare(spec: Spec) -> tuple[Any, ...]:
    """What makes a node what it is; not where it reads from."""
    entry = spec.entry()
    return tuple((name, entry[name]) for name in sorted(entry) if name not in ("from", "queue", "enabled"))


def in_vain_of(flow: FlowText, how: str) -> str:
    """The same with a node more that does not open, or is none."""
    if how == "refused":
        return f"{flow}  never: {{type: no-such-type}}\n"
    return f"{flow}  never: {{type: moody, from: {runs(flow)[0]}.error, opens: [error]}}\n"


# ---- how they are run --------------------------------------------------------------------------------------------


def elapsed_ms(rig: Rig) -> int:
    return (rig.now - parse_instant(START)) // MS


def reloaded(
    versions: list[FlowText], stories: list[list[Step]], *, settled: bool, failing: Collection[int] = ()
) -> tuple[Run, int]:
    """Each story in its version, the later ones by reload: what the last story did, and when it began (ms).
    ``failing``: before these a reload is tried that fails."""

    async def story(rig: Rig) -> tuple[Run, int]:
        for number, (text, steps_) in enumerate(zip(versions, stories, strict=True)):
            if number:
                if settled:
                    await rig.advance(SETTLED)
                if number in failing:
                    assert (await rig.reload(in_vain_of(text, "failed"))).result == "failed"
                outcome = await rig.reload(str(text))
                assert outcome.result in ("applied", "unchanged"), outcome
            mark, began = Marked(rig), elapsed_ms(rig)
            answers = await play(rig, text, steps_)
        return mark.run(answers), began

    return run_flow(str(versions[0]), story, registry=REGISTRY)


def restarted(versions: list[FlowText], stories: list[list[Step]]) -> Run:
    """Each story in its version, all on one store, in one run of the program after another; what the last one did."""
    store, began = Store.open(None, inline=True), 0
    for text, steps_ in zip(versions, stories, strict=True):

        async def story(rig: Rig, text: FlowText = text, steps_: list[Step] = steps_) -> tuple[Run, int]:
            mark = Marked(rig)
            run = mark.run(await play(rig, text, steps_))
            await rig.advance(SETTLED)
            return run, elapsed_ms(rig)

        start = iso(parse_instant(START) + began * MS)
        run, began = run_flow(str(text), story, start=start, registry=REGISTRY, store=store)
    return run


CHECKS = [stateless, stateful, new_keys, there_and_back, in_vain, untouched]


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.__name__)
@MANY
@given(data=st.data())
def test_a_reload_behaves(check: Check, data: st.DataObject) -> None:
    check(data)


LATCHED = """
flow: t
nodes:
  m: {type: manual-in, fields: {x: {}}}
  first: {type: threshold, from: m, field: x, above: 5, clear_below: 3}
"""


def test_what_is_taken_out_and_comes_again_by_another_name_knows_what_it_knew() -> None:
    """As at a restart: a latch is not lost by moving a node in two steps."""

    async def story(rig: Rig) -> Any:
        await rig.enter("m", {"x": 9})
        await rig.advance(SETTLED)
        await rig.reload(LATCHED[: LATCHED.index("  first")])
        await rig.reload(LATCHED.replace("first", "second"))
        await rig.enter("m", {"x": 4})
        return rig.payloads("second")

    assert run_flow(LATCHED, story) == [{"x": 4, "second": "above"}]


MERGED = """
flow: t
nodes:
  a: {type: manual-in, fields: {x: {}}}
  b: {type: manual-in, fields: {y: {}}}
  both: {type: merge, from: [a, b]}
"""


def test_who_is_not_read_from_any_more_has_no_say_any_more() -> None:
    """Nothing of the merge itself is another; that its wires are is enough."""

    async def story(rig: Rig) -> Any:
        await rig.enter("b", {"y": 1})
        assert (await rig.reload(MERGED.replace("[a, b]", "[a]"))).changed == ["t/both"]
        await rig.enter("a", {"x": 2})
        return rig.payloads("both")

    assert run_flow(MERGED, story) == [{"y": 1}, {"x": 2}]


@pytest.mark.slow(reason="the same, thirty times as often")
@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.__name__)
@MOST
@given(data=st.data())
def test_a_reload_behaves_whatever_one_tries(check: Check, data: st.DataObject) -> None:
    check(data)
