"""A reload as an operator meets it: `flowrunner run` as a process, real files, signals and HTTP."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from flowrunner.beside import THREAD
from flowrunner.engine import Engine
from flowrunner.files import check_files
from flowrunner.logs import Secrets
from flowrunner.registry import Registry
from flowrunner.reloading import Reloader, Sources
from flowrunner.store import Store
from tests.peers.program import LONG, Program
from tests.peers.until import until, until_elsewhere

FLOW = """
flow: site
nodes:
  rest: {type: http-in, route: POST /x, body: {x: {}}}
  scaled: {type: scale, from: rest, fields: {x: {factor: 2}}}
  high: {type: filter, from: scaled, when: x > 0}
"""
OTHER = """
flow: other
nodes:
  rest: {type: http-in, route: POST /y, body: {y: {}}}
  out: {type: log, from: rest}
"""
STUBBORN = '''
from flowrunner.node import Node

class Stubborn(Node):
    """Does not open with a bad mood."""

    class Options(Node.Options):
        mood: str = "good"

    async def open(self, ctx):
        if self.options.mood == "bad":
            raise RuntimeError("not today")

    def process(self, message, ctx):
        return message
'''


def save(file: Path, text: str) -> None:
    """As most programs do it."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    file = tmp_path / "flows" / "site.yaml"
    file.write_text(FLOW)
    return file


@contextmanager
def running(*arguments: str | Path, data: Path, **given: Any) -> Iterator[tuple[Program, httpx2.Client]]:
    with Program(*arguments, data=data, **given) as program:
        with httpx2.Client(base_url=program.url, trust_env=False, timeout=20) as http:
            yield program, http
        assert program.end() == 0
    assert "Traceback" not in "\n".join(program.lines)


def text_of(line: str) -> str:
    """Level and text, without the seconds that it took."""
    return re.sub(r"reloaded in \S+ s", "reloaded in N s", line.split(" ", 1)[1])


def later(program: Program) -> list[str]:
    """What it said since it was ready."""
    begin = next(number for number, line in enumerate(program.lines) if "ready on" in line)
    return [text_of(line) for line in program.lines[begin + 1 :]]


def value(http: httpx2.Client, x: float) -> Any:
    """What the flow makes of it."""
    assert http.post("/x", json={"x": x}).status_code == 200
    node = http.get("/api/v1/flows/site/nodes/scaled").json()
    return node["last"]["out"]["payload"]["x"]


# ---- by saving a file --------------------------------------------------------------------------------------------


def test_a_saved_file_is_taken_over_and_a_bad_one_is_not(flow: Path) -> None:
    with running(flow, data=flow.parent.parent / "data") as (program, http):
        assert value(http, 1) == 2
        save(flow, FLOW.replace("factor: 2", "factor: 3"))
        program.until("reloaded in ")
        assert value(http, 1) == 3
        node = http.get("/api/v1/flows/site/nodes/high").json()
        assert (node["received"], node["restarts"]) == (2, 0), "it went on counting"
        config = http.get("/api/v1/config").json()
        assert config["flows"]["site"]["nodes"]["scaled"]["fields"] == {"x": {"factor": 3}}
        assert (config["generation"], config["last_reload"]["changed"]) == (2, ["site/scaled"])
        good = config["flows"]["site"]["digest"], config["loaded_at"]

        save(flow, FLOW.replace("factor: 2", "factor: two"))
        program.until("not reloaded")
        (problem,) = http.get("/api/v1/problems").json()
        assert (problem["of"], problem["severity"], problem["line"], problem["path"]) == (
            "newer", "error", 5, "scaled.fields.x.factor",
        )  # fmt: skip
        config = http.get("/api/v1/config").json()
        assert (config["flows"]["site"]["digest"], config["loaded_at"]) == good
        assert (config["generation"], config["last_reload"]["result"]) == (2, "refused")
        metrics = http.get("/metrics").text
        assert 'flowrunner_reload_total{result="refused"} 1.0' in metrics
        assert "flowrunner_last_reload_successful 0.0" in metrics
        assert value(http, 1) == 3

        save(flow, FLOW.replace("factor: 2", "factor: 3"))
        program.until("the files are again as what runs")
        assert http.get("/api/v1/problems").json() == []
        assert "flowrunner_last_reload_successful 1.0" in http.get("/metrics").text
    assert later(program) == [
        "INFO reloaded in N s: changed site/scaled (generation 2)",
        f"ERROR {flow}:5:58: scaled.fields.x.factor: 'two' is not a number",
        "ERROR not reloaded: the files have a problem; what ran runs on (generation 2)",
        "INFO the files are again as what runs (generation 2)",
        "INFO stopping because of SIGTERM",
        "INFO stopped",
    ]


def test_flows_of_a_folder_come_and_go(flow: Path) -> None:
    folder = flow.parent
    other = folder / "other.yaml"
    with running(folder, data=folder.parent / "data") as (program, http):
        assert http.post("/y", json={"y": 1}).status_code == 404
        save(other, OTHER)
        program.until("added other/rest, other/out (generation 2)")
        assert http.post("/y", json={"y": 1}).status_code == 200
        assert [one["flow"] for one in http.get("/api/v1/flows").json()] == ["other", "site"]
        other.unlink()
        program.until("removed other/rest, other/out (generation 3)")
        assert http.post("/y", json={"y": 1}).status_code == 404
        assert value(http, 1) == 2
        flow.unlink()
        program.until("not reloaded")
        assert value(http, 2) == 4
        (problem,) = http.get("/api/v1/problems").json()
        assert (problem["file"], problem["of"]) == (str(folder), "newer")
        save(flow, FLOW)
        program.until("the files are again as what runs")
    assert f"ERROR {folder}:1:1: there is no *.yaml file in this folder any more" in later(program)


def test_a_file_that_is_gone_for_a_while(flow: Path) -> None:
    with running(flow, data=flow.parent.parent / "data") as (program, http):
        flow.rename(flow.with_name("elsewhere"))
        program.until("not reloaded")
        assert value(http, 1) == 2
        save(flow, FLOW.replace("factor: 2", "factor: 5"))
        program.until("reloaded in ")
        assert value(http, 1) == 5
    assert later(program)[:2] == [
        f"ERROR {flow}:1:1: it is not there any more",
        "ERROR not reloaded: the files have a problem; what ran runs on (generation 1)",
    ]


def test_the_environment_is_read_again_and_new_secrets_are_not_in_the_log(flow: Path, tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.write_text("FACTOR=2\nKEY=\n")
    flow.write_text(FLOW.replace("factor: 2", 'factor: "${FACTOR}"').replace("/x,", '/x, api_key: "${KEY:-}",'))
    with running(flow, "--env-file", env, data=tmp_path / "data") as (program, http):
        assert value(http, 1) == 2
        save(env, "FACTOR=7\nKEY=\n")
        program.until("changed site/scaled (generation 2)")
        assert value(http, 1) == 7
        save(env, "FACTOR=7\nKEY")
        program.until("not reloaded")
        assert value(http, 1) == 7
        save(env, f"FACTOR=7\nKEY=new-{LONG}\n")
        program.until("changed site/rest (generation 3)")
        assert http.post("/x", json={"x": 1}).status_code == 401
        assert http.post("/x", json={f"new-{LONG}": 1}, headers={"x-api-key": f"new-{LONG}"}).status_code == 422
        save(env, f"FACTOR=new-{LONG}\nKEY=new-{LONG}\n")
        until_elsewhere(lambda: "".join(program.lines).count("not reloaded") == 2, "a second refusal")
        assert LONG not in http.get("/api/v1/problems").text
    assert f"ERROR {env}:2:1: write NAME=value" in later(program)
    assert LONG not in "\n".join(program.lines)


def test_a_pipe_among_the_flows_is_refused_by_its_name_and_stops_nothing(flow: Path) -> None:
    with running(flow.parent, data=flow.parent.parent / "data") as (program, http):
        os.mkfifo(pipe := flow.parent / "z.yaml")
        program.until("not reloaded: the files have a problem; what ran runs on (generation 1)")
        says = "it is a pipe and no file; put a file in its place, or remove it"
        assert text_of(program.until("it is a pipe")) == f"ERROR {pipe}:1:1: cannot be read: {says}"
        assert http.post("/api/v1/reload").status_code == 422
        pipe.unlink()
        program.until("the files are again as what runs")


ENDLESS = """
from flowrunner.node import Node

class Mine(Node):
    def process(self, message, ctx):
        return message
"""


def test_a_node_file_that_does_not_end_holds_no_stop_up(flow: Path, tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    mine = tmp_path / "nodes" / "mine.py"
    mine.write_text(ENDLESS)
    flow.write_text(FLOW + "  own: {type: mine, from: rest}\n")
    begun = tmp_path / "begun"
    with running(flow, "--nodes", mine.parent, "--grace", "60s", data=tmp_path / "data") as (program, _):
        save(mine, ENDLESS + f"\nopen({str(begun)!r}, 'w').close()\nwhile True:\n    pass\n")
        until_elsewhere(begun.exists, "it is being checked")
        began = time.monotonic()
        assert program.end() == 0
        assert time.monotonic() - began < 10


def test_another_code_of_a_node_type(flow: Path, tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    (nodes / "stubborn.py").write_text(STUBBORN)
    flow.write_text(FLOW + "  own: {type: stubborn, from: high}\n")
    with running(flow, "--nodes", nodes, data=tmp_path / "data") as (program, http):
        save(nodes / "stubborn.py", STUBBORN.replace("return message", 'return message.derive({"x": "own"})'))
        program.until("changed site/own (generation 2)")
        value(http, 1)
        assert http.get("/api/v1/flows/site/nodes/own").json()["last"]["out"]["payload"] == {"x": "own"}
        save(nodes / "stubborn.py", "def broken(:\n")
        program.until("not reloaded")
        assert any("stubborn.py:1: invalid syntax" in one["message"] for one in http.get("/api/v1/problems").json())


def test_no_route_is_opened_to_other_machines_without_a_key(flow: Path, tmp_path: Path) -> None:
    env = {"FLOWRUNNER_API_KEY": LONG}
    flow.write_text(FLOW.replace("/x,", f"/x, api_key: key-{LONG},"))
    with running(flow, "--host", "0.0.0.0", data=tmp_path / "data", env=env) as (program, http):
        save(flow, FLOW)
        program.until("not reloaded")
        assert http.post("/x", json={"x": 1}).status_code == 401
        (problem,) = http.get("/api/v1/problems", headers={"x-api-key": LONG}).json()
        assert (problem["code"], problem["path"], problem["line"]) == ("exposed", "rest.api_key", 4)
        assert "0.0.0.0 can be reached from other machines" in problem["message"]


def test_in_a_simulated_world(flow: Path, tmp_path: Path) -> None:
    text = FLOW + "  battery: {type: modbus-in, host: 10.0.0.9, registers: {soc_percent: {address: 0}}}\n"
    flow.write_text(text)
    with Program(flow, "--simulate", data=None, cwd=tmp_path) as program:
        with httpx2.Client(base_url=program.url, trust_env=False) as http:
            host = http.get("/api/v1/config").json()["flows"]["site"]["nodes"]["battery"]["host"]
            assert host == "127.0.0.1"
            save(flow, text.replace("factor: 2", "factor: 3").replace("10.0.0.9", "10.0.0.8"))
            program.until("reloaded in ")
            assert value(http, 1) == 3
            assert http.get("/api/v1/config").json()["flows"]["site"]["nodes"]["battery"]["host"] == host
        assert program.end() == 0


# ---- when asked --------------------------------------------------------------------------------------------------


def test_a_signal(flow: Path) -> None:
    with running(flow, "--no-watch", data=flow.parent.parent / "data") as (program, http):
        program.send(signal.SIGHUP)
        program.until("asked to reload")
        save(flow, FLOW.replace("factor: 2", "factor: 3"))
        assert value(http, 1) == 2
        program.send(signal.SIGHUP)
        program.until("reloaded in ")
        assert value(http, 1) == 3
        save(flow, "flow: [")
        program.send(signal.SIGHUP)
        program.until("not reloaded")
        assert value(http, 1) == 3
    assert later(program)[:2] == [
        "INFO asked to reload: the files are as what runs (generation 1)",
        "INFO reloaded in N s: changed site/scaled (generation 2)",
    ]


def test_a_request(flow: Path, tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    own = FLOW + "  own: {type: stubborn, from: high}\n"
    flow.write_text(own)
    key = {"x-api-key": LONG}
    env = {"FLOWRUNNER_API_KEY": LONG}
    arguments = (flow, "--no-watch", "--nodes", tmp_path)
    with running(*arguments, data=tmp_path / "data", env=env) as (program, http):

        def reload(**given: Any) -> tuple[int, Any]:
            answer: Any = None

            def answered() -> bool:
                nonlocal answer
                answer = http.post("/api/v1/reload", headers=key, **given)
                return bool(answer.status_code != 429)

            until_elsewhere(answered, "an answer")
            return answer.status_code, answer.json()

        assert http.post("/api/v1/reload").status_code == 401
        status, told = reload()
        assert (status, told["result"], told["generation"]) == (200, "unchanged", 1)
        save(flow, own.replace("factor: 2", "factor: 3").replace("own: ", "mine: "))
        status, told = reload()
        assert (status, told["result"], told["generation"]) == (200, "applied", 2)
        assert "site/scaled" in told["changed"]
        save(flow, own.replace("stubborn,", "stubborn, mood: bad,"))
        status, told = reload()
        assert (status, told["error"], told["result"], told["generation"]) == (409, "failed", "failed", 2)
        assert "not today" in told["detail"]
        (problem,) = http.get("/api/v1/problems", headers=key).json()
        assert (problem["of"], problem["code"]) == ("newer", "reload-failed")
        assert "not today" in problem["message"]
        save(flow, FLOW.replace("factor: 2", "factor: two"))
        status, told = reload()
        assert (status, told["error"], told["problems"][0]["line"]) == (422, "refused", 5)
        assert reload(content=FLOW)[0] == 400
        assert value_of(http, key) == 3
        codes = [http.post("/api/v1/reload", headers=key).status_code for _ in range(5)]
        assert 429 in codes
    why = "site/own does not open: RuntimeError: not today"
    assert f"ERROR not reloaded: {why}; what ran runs on (generation 2), and it is tried again in 5 s" in later(program)


def value_of(http: httpx2.Client, key: dict[str, str]) -> Any:
    assert http.post("/x", json={"x": 1}).status_code == 200
    return http.get("/api/v1/flows/site/nodes/scaled", headers=key).json()["last"]["out"]["payload"]["x"]


# ---- one at a time, and beside the running flow ------------------------------------------------------------------


class Slow:
    """An environment that is read when the test lets it; a check in the event loop would never end."""

    def __init__(self) -> None:
        self.reads = 0
        self.gate = threading.Event()

    def __call__(self) -> Mapping[str, str]:
        self.reads += 1
        assert self.gate.wait(10)
        return {}


@asynccontextmanager
async def reloader(flow: Path, environment: Slow, **given: float) -> AsyncIterator[Reloader]:
    registry = Registry()
    engine = Engine(check_files([flow], {}, registry), store=Store.open(None))
    await engine.start()
    made = Reloader(engine, Sources([flow], environment, None, registry), Secrets(), **given)
    try:
        yield made
    finally:
        environment.gate.set()
        await made.close(10)
        await engine.stop()


@pytest.mark.anyio
async def test_who_asks_during_one_is_served_by_exactly_one_more(flow: Path) -> None:
    slow = Slow()
    async with reloader(flow, slow) as reloads:
        first = asyncio.ensure_future(reloads.reload())
        await until(lambda: slow.reads == 1, "the first begins")
        save(flow, FLOW.replace("factor: 2", "factor: 3"))
        reloads.ask()
        others = [asyncio.ensure_future(reloads.reload()) for _ in range(3)]
        await asyncio.wait([first], timeout=0)
        slow.gate.set()
        assert (await first).result == "unchanged", "it had read the file before"
        assert [(await one).generation for one in others] == [2, 2, 2]
        assert slow.reads == 2
        assert (await reloads.reload()).result == "unchanged"
        assert slow.reads == 3


@pytest.mark.anyio
async def test_who_gives_up_waiting_stops_nothing(flow: Path) -> None:
    slow = Slow()
    async with reloader(flow, slow) as reloads:
        save(flow, FLOW.replace("factor: 2", "factor: 3"))
        gone = asyncio.ensure_future(reloads.reload())
        await until(lambda: slow.reads == 1, "it begins")
        gone.cancel()
        slow.gate.set()
        again = await reloads.reload()
        assert (again.result, again.generation) == ("unchanged", 2), "the first one came to its end"


@pytest.mark.anyio
async def test_what_failed_is_tried_again_until_it_works(
    flow: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready = tmp_path / "ready"
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    (nodes / "late.py").write_text(
        f"""
from pathlib import Path
from flowrunner.node import Node

class Late(Node):
    'Opens when a file is there.'
    async def open(self, ctx):
        Path({str(ready)!r}).read_text()
    def process(self, message, ctx):
        return None
"""
    )
    registry = Registry([nodes])
    engine = Engine(check_files([flow], {}, registry), store=Store.open(None))
    await engine.start()
    reloads = Reloader(engine, Sources([flow], dict, None, registry), Secrets(), again_s=0.02)
    try:
        save(flow, FLOW + "  late: {type: late, from: scaled}\n")
        assert (await reloads.reload()).result == "failed"
        await until(lambda: engine.reloads["failed"] > 2, "it is tried again")
        ready.write_text("")
        await until(lambda: engine.generation == 2, "it works")
    finally:
        await reloads.close(10)
        await engine.stop()
    assert "tried again in 0.02 s" in caplog.text
    assert "tried again in 0.04 s" in caplog.text


@pytest.mark.anyio
async def test_behind_the_end_nothing_begins(flow: Path) -> None:
    slow = Slow()
    slow.gate.set()
    async with reloader(flow, slow) as reloads:
        await reloads.close(1)
        reloads.ask()
        await asyncio.wait([asyncio.ensure_future(reloads.close(1))])
        assert slow.reads == 0


@pytest.mark.anyio
async def test_a_check_that_hangs_is_warned_of_and_the_next_one_does_not_wait(
    flow: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Hangs(Slow):
        def __call__(self) -> Mapping[str, str]:
            return super().__call__() if self.reads == 0 else {}

    hangs = Hangs()
    usual, switch = gc.isenabled(), sys.getswitchinterval()
    async with reloader(flow, hangs, slow_s=0.05) as reloads:
        first = asyncio.ensure_future(reloads.reload())
        await until(lambda: any("takes longer than 0.05 s (it is in " in one for one in caplog.messages), "it is said")
        assert (gc.isenabled(), sys.getswitchinterval()) == (usual, switch), "all is as it was while nobody knows"
        save(flow, FLOW.replace("factor: 2", "factor: 3"))
        assert (await reloads.reload()).result == "applied"
        assert (await first).reason == "the check of the files did not end, and was asked for again"
        hangs.gate.set()
        await until(lambda: not [one for one in threading.enumerate() if one.name == THREAD], "it ends, too late")
        assert (await reloads.reload()).result == "unchanged", "what it found was not taken"


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_a_check(flow: Path) -> None:
    slow = Slow()
    async with reloader(flow, slow) as reloads:
        waiting = [asyncio.ensure_future(reloads.reload())]
        await until(lambda: slow.reads == 1, "it begins")
        waiting.append(asyncio.ensure_future(reloads.reload()))
        await asyncio.wait_for(reloads.close(60), 5)
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 2
        assert slow.reads == 1


@pytest.mark.anyio
@pytest.mark.parametrize("raised", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, StopIteration])
async def test_whatever_a_check_raises_the_next_signal_reloads(flow: Path, raised: type[BaseException]) -> None:
    class Bad(Slow):
        def __call__(self) -> Mapping[str, str]:
            super().__call__()
            if self.reads == 1:
                raise raised
            return {}

    bad, again = Bad(), asyncio.Event()
    bad.gate.set()
    async with reloader(flow, bad) as reloads:
        on = asyncio.ensure_future(reloads.on(again))
        for times in (1, 2):
            again.set()
            await until(lambda: bad.reads == times, "a signal was heard")  # noqa: B023  (it is awaited here)
        await reloads.reload()
        assert not on.done()
        on.cancel()
        await asyncio.wait([on])


@pytest.mark.anyio
async def test_a_defect_is_said_and_the_next_one_works(flow: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Slow):
        def __call__(self) -> Mapping[str, str]:
            super().__call__()
            if self.reads == 1:
                raise RuntimeError("a defect")
            return {}

    broken = Broken()
    broken.gate.set()
    async with reloader(flow, broken) as reloads:
        save(flow, FLOW.replace("factor: 2", "factor: 3"))
        with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="a defect"):
            await reloads.reload()
        assert caplog.messages == ["not reloaded: failed inside; this is a defect of flowrunner"]
        assert (await reloads.reload()).result == "applied"
