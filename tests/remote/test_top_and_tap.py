"""``flowrunner top`` and ``flowrunner tap`` against a running engine: what they print, and why they cannot."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flowrunner.cli import main
from flowrunner.errors import UsageError
from flowrunner.remote.tap import chosen, line, pretty
from tests.peers.program import PATIENCE_S, ROOT, Program, environment, run
from tests.peers.terminal import OnTerminal

KEY = "a-key-that-nobody-sees"
FLOW = """
flow: site
title: {en: Battery North}
nodes:
  tick: {type: inject, every: 200ms, payload: {soc_percent: 50, name: north}}
  scale: {type: scale, from: tick, fields: {soc_percent: {factor: 0.1}}}
  note: {type: log, from: scale, level: debug}
"""
OTHER = "flow: other\nnodes:\n  tick: {type: inject, every: 1h, payload: 1}\n  out: {type: log, from: tick}\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("engine")
    (folder / "site.yaml").write_text(FLOW, "utf-8")
    (folder / "other.yaml").write_text(OTHER, "utf-8")
    with Program(
        folder / "site.yaml", folder / "other.yaml", data=folder / "data", env={"FLOWRUNNER_API_KEY": KEY}
    ) as program:
        yield program


def ask(*words: str, url: str, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    done = run(*words, "--url", url, env={} if key is None else {"FLOWRUNNER_API_KEY": key})
    assert KEY not in done.stdout + done.stderr
    return done


def ask_here(words: list[str], url: str, monkeypatch: pytest.MonkeyPatch, key: str = KEY) -> int:
    """The same in this process, which is sooner done."""
    monkeypatch.setenv("FLOWRUNNER_API_KEY", key)
    return main([*words, "--url", url])


def hidden(screen: OnTerminal) -> bool:
    """Whether the cursor is away, as the table needs it."""
    return not screen.screen.cursor


# ---- top -----------------------------------------------------------------------------------------------------------


def test_top_into_a_pipe_is_one_table(engine: Program) -> None:
    done = ask("top", "--flow", "site", url=engine.url)
    assert done.returncode == 0, done.stderr
    head, names, *rows = done.stdout.splitlines()
    assert head.startswith("site  Battery North  2")
    assert head.endswith(engine.url)
    assert names.split() == ["node", "type", "state", "rate", "age", "inbox", "last", "value"]
    told = {row.split()[0]: row for row in rows}
    assert list(told) == ["tick", "scale", "note"]
    assert "inject" in told["tick"]
    assert "5/s" in told["tick"] or "4." in told["tick"] or "5." in told["tick"]
    assert "soc_percent 5, name north" in told["scale"]
    assert "running" in told["note"]


def test_top_for_tools(engine: Program) -> None:
    done = ask("top", "--json", "--sort", "rate", url=engine.url)
    found = json.loads(done.stdout)
    assert found["generation"] == 1
    assert found["status"]["ready"] is True
    nodes = {f"{one['flow']}/{one['id']}": one for one in found["nodes"]}
    assert nodes.keys() == {"site/tick", "site/scale", "site/note", "other/tick", "other/out"}
    assert nodes["site/scale"]["received"] > 0
    assert 3 < nodes["site/scale"]["rate_per_s"] < 8
    assert nodes["other/out"]["last_at"] is None
    assert [one["flow"] for one in found["nodes"]][-2:] == ["other", "other"]


def test_top_on_a_terminal_says_when_the_engine_goes_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(FLOW, "utf-8")
    with Program(file, data=tmp_path / "data") as first, OnTerminal("top", "--url", first.url, columns=110) as screen:
        text = screen.until("soc_percent 5", "Ctrl-C ends")
        assert "site  Battery North" in text
        assert hidden(screen)
        port = first.url.rpartition(":")[2]
        first.end()
        screen.until("NOT CONNECTED, as of")
        with Program(file, data=tmp_path / "data", port=int(port)):
            screen.see(lambda text: "NOT CONNECTED" not in text, "it is back")
            assert screen.end(signal.SIGINT) == 0
        assert not hidden(screen)
        assert screen.echoes()


# ---- tap -----------------------------------------------------------------------------------------------------------


def test_tap_prints_lines_of_json_into_a_pipe(engine: Program) -> None:
    done = ask("tap", "scale", "note", "--count", "4", url=engine.url)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(one) for one in done.stdout.splitlines()]
    assert len(lines) == 4
    assert {(one["node"], one["port"]) for one in lines} == {("site/scale", "out"), ("site/note", "in")}
    assert lines[0]["message"]["payload"] == {"soc_percent": 5, "name": "north"}
    assert lines[0]["message"]["lineage"].startswith("tick@")
    assert done.stderr == f"flowrunner: site/scale, site/note at {engine.url}; Ctrl-C ends\n"


def test_tap_for_people(engine: Program) -> None:
    done = ask("tap", "site/scale", "--count", "1", "--pretty", url=engine.url)
    head, *body, lineage = done.stdout.splitlines()
    assert head.endswith("Z  site/scale  out")
    assert json.loads("\n".join(body)) == {"soc_percent": 5, "name": "north"}
    assert lineage.strip().endswith("> scale")
    assert "\x1b" not in done.stdout


def test_tap_goes_on_when_the_engine_was_away(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(FLOW, "utf-8")
    with Program(file, data=tmp_path / "data") as first:
        port = first.url.rpartition(":")[2]
        command = [sys.executable, "-m", "flowrunner", "tap", "scale", "--url", first.url]
        with subprocess.Popen(
            command, env=environment(), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as tap:
            watchdog = threading.Thread(target=_kill_if_it_stays, args=[tap])
            watchdog.start()
            try:
                assert tap.stdout is not None
                assert tap.stderr is not None
                assert json.loads(tap.stdout.readline())["node"] == "site/scale"
                assert "Ctrl-C ends" in tap.stderr.readline()
                first.end()
                assert tap.stderr.readline().endswith("has ended the stream; trying again\n")
                with Program(file, data=tmp_path / "data", port=int(port)):
                    assert tap.stderr.readline() == f"flowrunner: connected again to {first.url}\n"
                    while not json.loads(tap.stdout.readline())["message"]["payload"]["soc_percent"]:
                        pass
                    tap.send_signal(signal.SIGINT)
                    assert tap.wait(PATIENCE_S) == 0
            finally:
                tap.kill()
                watchdog.join()


def _kill_if_it_stays(program: subprocess.Popen[str]) -> None:
    """So that no line is waited for without end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(PATIENCE_S)
    program.kill()


# ---- why it cannot -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["tap", "scal"], 2, "no node 'scal' runs there, did you mean 'scale'?"),
        (["tap", "site/tik"], 2, "no node 'site/tik' runs there, did you mean 'site/tick'?"),
        (["tap", "tick"], 2, "2 flows have a node 'tick'; name one of "),
        (["tap", "scale", "--rate", "11"], 2, "--rate: at most 10 messages a second of each node are sent"),
        (["top", "--flow", "sit"], 2, "no flow 'sit' runs there; did you mean 'site'?"),
        (
            ["top", "--key", "wrong-key-of-mine"],
            1,
            "the key is wrong; it is read from FLOWRUNNER_API_KEY, or given with",
        ),
        (["top", "--key", ""], 1, "a key is needed; it is read from FLOWRUNNER_API_KEY, or given with --key"),
        (["top", "--key", "schlüssel"], 2, "the key holds a character that no key can hold"),
    ],
)
def test_what_cannot_be_is_said(
    engine: Program,
    words: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ask_here(words, engine.url, monkeypatch) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert "wrong-key-of-mine" not in err
    assert KEY not in err


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("http://127.0.0.1:9", 1, "no engine answers at http://127.0.0.1:9 (Connection refused); `flowrunner run`"),
        ("127.0.0.1:9", 1, "no engine answers at http://127.0.0.1:9"),
        ("ftp://x", 2, "--url: an address begins with http:// or https://"),
        ("http://me:word@127.0.0.1:9", 2, "--url: leave the login out"),
    ],
)
def test_where_no_engine_is(
    url: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask_here(["top"], url, monkeypatch) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "word@" not in err


class Page(BaseHTTPRequestHandler):
    """Some other web server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>welcome</h1>")

    def log_message(self, *_: object) -> None: ...


def test_where_something_else_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        code = ask_here(["tap", "x"], f"http://127.0.0.1:{server.server_port}", monkeypatch)
        server.shutdown()
        thread.join()
    assert code == 1
    assert "is no flowrunner" in capsys.readouterr().err


# ---- words ---------------------------------------------------------------------------------------------------------


def test_an_id_alone_is_enough_where_one_flow_has_it() -> None:
    nodes = dict.fromkeys(["a/x", "a/y", "b/x"])
    assert chosen(["y", "b/x", "a/y"], nodes) == ["a/y", "b/x"]
    with pytest.raises(UsageError, match="2 flows have a node 'x'; name one of a/x, b/x"):
        chosen(["x"], nodes)
    with pytest.raises(UsageError, match=r"no node 'nothing' runs there; `flowrunner top` lists them \(a, b\)"):
        chosen(["nothing"], nodes)


def test_what_a_message_holds_moves_no_cursor() -> None:
    hostile = "\x1b[2J\x9b2J\u202eforged\n"
    message = {"payload": {hostile: hostile}, "key": hostile, "at": 0, "received_at": 0, "source": "x",
               "origin": "manual", "quality": "bad", "lineage": hostile}  # fmt: skip
    one = {"node": "a/x", "at": 0, "port": "out", "dropped": 3, "message": message}
    text = pretty(one, colours=False)
    assert all(row.isprintable() for row in text.split("\n"))
    assert "manual  bad" in text
    assert "3 before it are not shown" in text
    assert line(one).isprintable()
    assert json.loads(line(one))["message"]["payload"] == {hostile: hostile}
    cut = message | {"payload": '{"a": 12', "cut": True}
    assert '{"a": 12… (cut)' in pretty(one | {"message": cut}, colours=True)
