"""Messages through nodes of one process: chains, a node of the user's own, one to ten, a sink that is far too slow.

Each run is a process of its own, for both runners. The source makes all messages in one go; a run ends when the last
one has arrived. Our nodes count by themselves; Node-RED has a function for that at the end of each chain.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from bench import node_red
from bench.inside import NODES, in_loop
from bench.programs import memory_mb
from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.store import Store

MANY = 200_000
BRANCHES = 10
SIZE, FLOOD, FLOODED_S = 1000, 50_000, 5.0
"""Characters of each message, how many, and for how long the memory is looked at, while the sink takes 100 a second."""
WARM = 5_000
PATIENCE_S = 60.0


class Ran(NamedTuple):
    """One run."""

    per_s: float
    cpu_us: float
    """Of the whole process, for each message."""


class Chain(NamedTuple):
    """The nodes behind ``source``, for either runner; ``ends``: those whose messages are counted."""

    ours: Mapping[str, str]
    theirs: list[tuple[str, dict[str, object]]]
    ends: tuple[str, ...]
    branches: int = 1


SCALE = {"type": "range", "minin": "0", "maxin": "1", "minout": "0", "maxout": "2", "action": "scale", "round": False,
         "property": "payload.value"}  # fmt: skip
SWITCH = {"type": "switch", "property": "payload.value", "propertyType": "msg", "rules": [{"t": "gt", "v": "0",
          "vt": "num"}], "checkall": "false", "outputs": 1}  # fmt: skip
DOUBLE = {"type": "function", "func": "msg.payload.value *= 2; return msg;", "outputs": 1}


def _change(name: str) -> dict[str, object]:
    rule = {"t": "set", "p": f"payload.{name}", "pt": "msg", "to": "payload.value", "tot": "msg"}
    return {"type": "change", "rules": [rule]}


def _of_three(count: int) -> Chain:
    """``count`` nodes: scale → compute → filter, again and again."""
    ours: dict[str, str] = {}
    theirs: list[tuple[str, dict[str, object]]] = []
    before = "source"
    for number in range(count):
        name = f"n{number}"
        kind = number % 3
        ours[name] = [
            f"{{type: scale, from: {before}, fields: {{value: {{factor: 2}}}}}}",
            f"{{type: compute, from: {before}, fields: {{twice_{number}: value * 2}}}}",
            f"{{type: filter, from: {before}, when: value > 0}}",
        ][kind]
        theirs.append((name, [SCALE, _change(f"twice_{number}"), SWITCH][kind]))
        before = name
    return Chain(ours, theirs, (before,))


def _own(count: int) -> Chain:
    names = ["source", *(f"n{number}" for number in range(count))]
    ours = {name: f"{{type: double, from: {before}}}" for before, name in pairwise(names)}
    return Chain(ours, [(name, DOUBLE) for name in names[1:]], (names[-1],))


def _fan_out() -> Chain:
    names = tuple(f"n{number}" for number in range(BRANCHES))
    return Chain(dict.fromkeys(names, "{type: take, from: source}"), [], names, BRANCHES)


CHAINS = {"three": _of_three(3), "ten": _of_three(10), "own": _own(3), "fan-out": _fan_out()}


# ---- flowrunner ----------------------------------------------------------------------------------------------------


def flowrunner(kind: str, count: int = 0) -> Ran:
    """Messages a second (deliveries, of ``fan-out``) through one of ``CHAINS``; ``MANY`` deliveries in all."""
    return Ran(**_apart({"kind": kind, "count": count or MANY // CHAINS[kind].branches}))


def flooded() -> float:
    """MB that the process grows by while a source could make a hundred times what its sink takes."""
    return float(_apart({"flood": FLOOD})["mb"])


def _apart(asked: Mapping[str, object]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.chains", json.dumps(asked)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def _engine(lines: Mapping[str, str], source: str = "{type: count-up}") -> Engine:
    text = "flow: chain\nnodes:\n" + "".join(
        f"  {name}: {text}\n" for name, text in ({"source": source} | lines).items()
    )
    checked = check_flows({"chain.yaml": text}, {}, Registry([NODES]))
    if checked.graph is None:
        raise SystemExit("\n".join(map(str, checked.problems[:5])))
    engine = Engine(checked, store=Store.open(None), clock=LiveClock())
    await engine.start()
    return engine


async def _run(kind: str, count: int) -> dict[str, float]:
    chain = CHAINS[kind]
    engine = await _engine(chain.ours)
    source: Any = engine.runtime.workers["chain/source"].node
    ends = [engine.runtime.workers[f"chain/{name}"].counters for name in chain.ends]

    async def through(number: int) -> tuple[float, float]:
        wanted = sum(one.received for one in ends) + number * chain.branches
        began, cpu = time.perf_counter(), time.process_time()
        source.asked.put_nowait(number)
        while sum(one.received for one in ends) < wanted:  # noqa: ASYNC110  (counters wake nobody)
            await asyncio.sleep(0.0005)
        return time.perf_counter() - began, time.process_time() - cpu

    await through(WARM)
    took, cpu = await through(count)
    await engine.stop()
    return {"per_s": count * chain.branches / took, "cpu_us": cpu / count / chain.branches * 1e6}


async def _flood(count: int) -> dict[str, float]:
    engine = await _engine({"slow": "{type: hesitant, from: source}"}, f"{{type: count-up, size: {SIZE}}}")
    source: Any = engine.runtime.workers["chain/source"].node
    before = _own_mb()
    source.asked.put_nowait(count)
    most = before
    for _ in range(round(FLOODED_S * 20)):
        await asyncio.sleep(0.05)
        most = max(most, _own_mb())
    logging.disable()  # it is not to drain, and would say so
    await engine.stop(0.1)
    return {"mb": most - before}


def _own_mb() -> float:
    return memory_mb("self")


# ---- Node-RED ------------------------------------------------------------------------------------------------------

SEND = """
const bench = global.get("bench"), count = msg.payload.count;
bench.began = bench.now(); bench.cpu = bench.spent(); bench.done = null; bench.wanted = count * {branches};
node.send([null, msg]);
for (let number = 1; number <= count; number++) node.send([{{payload: {{value: number{text}}}}}, null]);
return null;
"""
COUNT = """
if (typeof arrived === "undefined") arrived = 0;  // lives as long as the node: nothing is looked up for each message
arrived += 1;
if (arrived % 1000 === 0) {
  const bench = global.get("bench");
  bench.arrived = (bench.arrived || 0) + 1000;
  if (bench.arrived >= bench.wanted) {
    bench.done = {took: bench.now() - bench.began, cpu: bench.spent() - bench.cpu}; bench.arrived = 0;
  }
}
return null;
"""
ASK = 'msg.payload = global.get("bench").done || {}; return msg;'


def nodered(kind: str, count: int = 0) -> Ran:
    """The same by Node-RED. NotAtHand."""
    chain = CHAINS[kind]
    count = count or MANY // chain.branches
    with (
        node_red.serving(_their_flow(chain)) as (port, _),
        httpx2.Client(trust_env=False, timeout=PATIENCE_S) as client,
    ):
        url = f"http://127.0.0.1:{port}"

        def through(number: int) -> dict[str, float]:
            client.post(f"{url}/go", json={"count": number}).raise_for_status()
            deadline = time.monotonic() + PATIENCE_S
            while not (found := client.get(f"{url}/done").json()):
                if time.monotonic() > deadline:
                    raise SystemExit("Node-RED does not come to an end")
                time.sleep(0.01)
            return dict(found)

        through(WARM)
        found = through(count)
    deliveries = count * chain.branches
    return Ran(deliveries / found["took"], found["cpu"] / deliveries * 1e6)


def nodered_flooded() -> float:
    """The same by Node-RED, whose sink is its delay node at 100 a second. NotAtHand."""
    delay = {
        "type": "delay", "pauseType": "rate", "timeout": "5", "timeoutUnits": "seconds", "rate": "100",
        "nbRateUnits": "1", "rateUnits": "second", "randomFirst": "1", "randomLast": "5", "randomUnits": "seconds",
        "drop": False, "allowrate": False, "outputs": 1,
    }  # fmt: skip
    flow = _their_flow(Chain({}, [("n0", delay)], ("n0",)), text=f', text: "x".repeat({SIZE}) + number')
    with node_red.serving(flow) as (port, process), httpx2.Client(trust_env=False, timeout=PATIENCE_S) as client:
        before = most = memory_mb(process)
        client.post(f"http://127.0.0.1:{port}/go", json={"count": FLOOD}).raise_for_status()
        for _ in range(round(FLOODED_S * 20)):
            time.sleep(0.05)
            most = max(most, memory_mb(process))
        return most - before


def _their_flow(chain: Chain, text: str = "") -> list[dict[str, object]]:
    place: dict[str, object] = {"z": "chain", "x": 0, "y": 0}
    names = [name for name, _ in chain.theirs]
    first = names[:1] or [f"count{number}" for number in range(chain.branches)]
    after = [*names[1:], "count0"] if names else []
    return [
        {"id": "chain", "type": "tab", "label": "chain"},
        {"id": "go", "type": "http in", "url": "/go", "method": "post", "upload": False, "wires": [["send"]], **place},
        {"id": "done", "type": "http in", "url": "/done", "method": "get", "wires": [["ask"]], **place},
        {"id": "ask", "type": "function", "func": ASK, "outputs": 1, "wires": [["answer"]], **place},
        {"id": "answer", "type": "http response", "statusCode": "", "headers": {}, "wires": [], **place},
        {"id": "send", "type": "function", "func": SEND.format(branches=chain.branches, text=text), "outputs": 2,
         "wires": [first, ["answer"]], **place},
        *({"id": name, "wires": [[then]], **place, **options}
          for (name, options), then in zip(chain.theirs, after, strict=True)),
        *({"id": f"count{number}", "type": "function", "func": COUNT, "outputs": 1, "wires": [[]], **place}
          for number in range(chain.branches)),
    ]  # fmt: skip


if __name__ == "__main__":
    wish = json.loads(sys.argv[1])
    print(json.dumps(in_loop(lambda: _flood(wish["flood"]) if "flood" in wish else _run(wish["kind"], wish["count"]))))
