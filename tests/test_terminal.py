"""``flowrunner run`` in a terminal: what a person sees there, and that no terminal can do harm to a flow."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import httpx2
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.text import Text

from flowrunner.clock import ScaledClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.logs import Formatter, Secrets
from flowrunner.message import FieldInfo, Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.terminal import wanted
from flowrunner.terminal.device import Device
from flowrunner.terminal.glance import Glance
from flowrunner.terminal.layout import Picture, lines
from flowrunner.terminal.live import Terminal
from flowrunner.terminal.painter import MOST_LINES, Line, Look, Painter, Scene
from flowrunner.terminal.rate import Rate, rate_text
from flowrunner.terminal.region import Region
from flowrunner.terminal.rows import Row, chosen, row
from flowrunner.terminal.values import age_text, message_pieces, plain
from flowrunner.units import SECOND, iso, parse_instant
from tests.peers.program import GOOD
from tests.peers.terminal import OnTerminal, Screen

URL = re.compile(r"ready on (http://[^;\s]+);")
RECORD = {"soc_percent": 75.5, "active_power_mw": 2.5, "temperature_c": 28.3}
SITE = """
flow: site
title: {de: Speicher Nord, en: Battery North}
nodes:
  rest:
    type: http-in
    route: POST /telemetry
    body: {soc_percent: {unit: "%", max: 100}, active_power_mw: {unit: MW}, temperature_c: {unit: °C}}
  manual: {type: manual-in, fields: {soc_percent: {unit: "%"}}, expires_after: 2h}
  telemetry: {type: merge, from: [rest, manual], stale_after: 90s}
  overheated: {type: threshold, from: telemetry, field: temperature_c, above: 40}
  power-limit: {type: threshold, from: overheated, field: active_power_mw, magnitude: true, above: 5}
  warnings: {type: log, from: overheated.above, level: warning, text: "overheated: {overheated} ({temperature_c} °C)"}
"""
HOSTILE = "[bold red]\x1b[2J\x1b]0;owned\x07\u202e[/] :warning: \r\nforged"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site.yaml").write_text(SITE, encoding="utf-8")
    return tmp_path / "site.yaml"


def url(program: OnTerminal) -> str:
    found = URL.search(program.until("; Ctrl-C stops").replace("\n", ""))
    assert found is not None
    return found[1]


def post(address: str, value: Any) -> httpx2.Response:
    return httpx2.post(address, json=value, trust_env=False, timeout=10)


def table(text: str) -> list[str]:
    """The rows of the table, without what is above it."""
    head = text.rindex("\nnode ")
    return text[head + 1 :].split("\n")


def shown(program: OnTerminal, *words: str) -> str:
    """All that is to be seen when the table is there as a whole, and ``words`` somewhere."""

    def there(text: str) -> bool:
        return "\nnode " in text and table(text)[-1].startswith("Ctrl-C stops") and all(one in text for one in words)

    return program.see(there, f"a table with {words}")


def as_found(program: OnTerminal) -> bool:
    """Whether the terminal is as a shell leaves it; else, as the table needs it."""
    assert program.screen.cursor == program.echoes(), "half of it"
    return program.screen.cursor


def row_of(text: str, node: str) -> str:
    return next(one for one in table(text) if one.startswith(f"{node} "))


def with_columns(names: str) -> Callable[[str], bool]:
    return lambda text: table(text)[0].split() == names.split() and table(text)[-1].startswith("Ctrl-C stops")


# ---- the program on a terminal -----------------------------------------------------------------------------------


def test_the_table_and_the_lines_above_it(site: Path) -> None:
    with OnTerminal("run", site, "--port", "0", "--data", site.parent / "data", columns=120, height=40) as program:
        base = url(program)
        text = shown(program, "waiting")
        assert "site  Battery North  2" in text
        assert row_of(text, "telemetry").split() == ["telemetry", "merge", "waiting", "–", "–", "–"]
        assert not as_found(program)
        post(f"{base}/telemetry", RECORD)
        text = shown(program, "telemetry    merge      running")
        assert row_of(text, "rest").endswith("0 s  soc 75.5 %, active power 2.5 MW, temperature 28.3 °C")
        assert "overheated clear, soc 75.5 %" in row_of(text, "overheated")
        post(f"{base}/telemetry", {**RECORD, "temperature_c": 45})
        event = "WARNING site/warnings: overheated: above (45 °C)"
        text = shown(program, event, "overheated above")
        assert text.index(event) < text.rindex("\nsite  Battery North"), "events are above the table"
        assert text.count("\nnode ") == 1, "the table is painted over itself"
        program.type("\x03")
        assert program.end(None) == 0
        last = program.screen.text.rstrip().split("\n")
        assert [one.split(None, 1)[1] for one in last[-2:]] == ["INFO    stopping because of SIGINT", "INFO    stopped"]
        assert last[-3].startswith("warnings"), "the last state stays to be read"
        assert as_found(program)
        assert "\x1b[?1049" not in program.raw, "not the alternate screen"


def test_a_narrow_terminal_and_another_size(site: Path) -> None:
    with OnTerminal("run", site, "--port", "0", "--data", site.parent / "data", columns=60, height=24) as program:
        base = url(program)
        assert table(shown(program, "warnings"))[0].split() == ["node", "state", "age", "last", "value"]
        for columns, names in ((100, "node type state rate age last value"), (44, "node state last value")):
            program.resize(columns, 24)
            text = program.see(with_columns(names), names)
            assert all(len(one) < columns for one in table(text))
            assert text.count("\nnode ") == 1, text
            assert text.replace("\n", "").count(f"ready on {base}") == 1, "nothing above is painted over"
        program.resize(100, 9)
        program.until("4 more nodes, none of them in trouble")
        program.resize(20, 24)
        program.see(lambda seen: "\nsite  Battery North\n" in f"{seen}\n", "one line")
        assert program.end() == 0


def test_the_table_goes_on_after_a_reload(site: Path) -> None:
    with OnTerminal("run", site, "--port", "0", "--data", site.parent / "data", columns=120, height=40) as program:
        base = url(program)
        post(f"{base}/telemetry", RECORD)
        shown(program, "telemetry    merge      running")
        changed = SITE.replace("en: Battery North", "en: Battery South").replace("  warnings: {", "  notices: {")
        site.write_text(changed.replace("above: 40", "above: 20"), encoding="utf-8")
        text = shown(program, "reloaded in ", "site  Battery South  2", "\nnotices ")
        assert "\nwarnings " not in "\n".join(table(text))
        post(f"{base}/telemetry", RECORD)
        shown(program, "overheated above", "overheated: above (28.3 °C)")
        (site.parent / "site.yaml").write_text("flow: [", encoding="utf-8")
        shown(program, "not reloaded", "overheated above")
        assert program.end(signal.SIGHUP) == 0, "its terminal is gone: that is no request"
        assert "stopping because of SIGHUP" in program.screen.text


ECHO = """
flow: echo
nodes:
  rest: {type: http-in, route: POST /x}
  out: {type: log, from: rest, text: "said {text}"}
"""


def test_nothing_from_outside_moves_the_cursor_or_paints(tmp_path: Path) -> None:
    (tmp_path / "echo.yaml").write_text(ECHO)
    arguments: list[str | Path] = ["run", tmp_path / "echo.yaml", "--port", "0", "--data", tmp_path / "data"]
    with OnTerminal(*arguments, columns=120) as program:
        base = url(program)
        shown(program)
        assert post(f"{base}/x", {"text": HOSTILE, HOSTILE: 1}).status_code < 300
        text = shown(program, "echo/out: said [bold red]\\x1b[2J", "rest  http-in  running")
        assert "[bold red]\\x1b[2J\\x1b]0;owned\\x07\\u202e[/] :warning:" in row_of(text, "rest")
        assert program.end() == 0
    assert not {"\x1b[2J", "\x1b]", "\x07", "\u202e"} & set(re.findall(r"\x1b\[2J|\x1b\]|\x07|\u202e", program.raw))


def test_secrets_are_masked_in_the_table_too(tmp_path: Path) -> None:
    (tmp_path / "echo.yaml").write_text(ECHO.replace("/x}", '/x, api_key: "${ECHO_KEY}"}'))
    env = {"ECHO_KEY": "open-sesame-0123456789"}
    arguments: list[str | Path] = ["run", tmp_path / "echo.yaml", "--port", "0", "--data", tmp_path / "data"]
    with OnTerminal(*arguments, env=env) as program:
        base = url(program)
        httpx2.post(
            f"{base}/x", json={"text": f"a {env['ECHO_KEY']}"}, headers={"x-api-key": env["ECHO_KEY"]}, trust_env=False
        )
        program.until("text a ***", "said a ***")
        assert program.end() == 0
    assert env["ECHO_KEY"] not in program.raw


@pytest.mark.parametrize(
    ("arguments", "env"), [(["--plain"], {}), (["--log", "json"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})]
)
def test_plain_lines_where_they_are_asked_for(site: Path, arguments: list[str], env: Mapping[str, str]) -> None:
    with OnTerminal("run", site, "--port", "0", "--data", site.parent / "data", *arguments, env=env) as program:
        base = url(program)
        post(f"{base}/telemetry", {**RECORD, "temperature_c": 45})
        program.until("overheated: above")
        assert program.end() == 0
    assert "\x1b" not in program.raw
    assert "\nnode " not in program.screen.text


def test_a_terminal_that_takes_nothing_does_not_hold_the_flow(tmp_path: Path) -> None:
    (tmp_path / "echo.yaml").write_text(ECHO.replace("/x}", "/x, rate_limit: 10000/s}"))
    with OnTerminal("run", tmp_path / "echo.yaml", "--port", "0", "--data", tmp_path / "data") as program:
        base = url(program)
        shown(program)
        with httpx2.Client(base_url=base, trust_env=False, timeout=5) as client:  # nobody reads from here on
            for number in range(300):
                assert client.post("/x", json={"text": f"{number} " + "x" * 500}).status_code < 300
            program.process.send_signal(signal.SIGTERM)
            assert program.process.wait(10) == 0
        assert program.end(None) == 0
        assert "INFO    stopped" not in program.screen.text, "it was held indeed: not all found room"


def test_a_terminal_that_goes_away_does_not_stop_the_flow(tmp_path: Path) -> None:
    (tmp_path / "echo.yaml").write_text(ECHO)
    arguments: list[str | Path] = ["run", tmp_path / "echo.yaml", "--port", "0", "--data", tmp_path / "data"]
    with OnTerminal(*arguments, owned=False) as program:
        base = url(program)
        shown(program)
        program.close()
        for number in range(20):
            assert post(f"{base}/x", {"text": f"{number}"}).status_code < 300
        assert httpx2.get(f"{base}/api/v1/flows/echo/nodes/out", trust_env=False).json()["received"] == 20
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(10) == 0


def test_ctrl_z_gives_the_shell_its_terminal_and_fg_brings_the_table_back(site: Path) -> None:
    shell = ["bash", "--norc", "--noediting", "-i"]
    with OnTerminal(command=shell, env={"PS1": "$ "}) as program:
        program.until("$ ")
        program.type(f"{sys.executable} -m flowrunner run {site} --port 0 --data {site.parent}\n")
        base = url(program)
        shown(program)
        program.see(lambda _: not as_found(program), "a table")
        program.type("\x1a")
        program.until("Stopped")
        program.see(lambda _: as_found(program), "a shell")
        program.type("fg\n")
        program.see(lambda seen: seen.count("\nnode ") == 2 and not as_found(program), "the table again")
        assert post(f"{base}/telemetry", RECORD).status_code == 200
        program.type("\x03")
        program.until("stopped")
        program.see(lambda _: as_found(program), "a shell again")


FATAL = '''
from flowrunner.errors import Fatal
from flowrunner.node import Node

class Stops(Node):
    """Stops all at the first message."""

    def process(self, message, ctx):
        print("half a line", end="")
        print(" and its end")
        raise Fatal("the breaker is open")
'''


def test_a_flow_that_fails_leaves_the_terminal_as_it_was_and_its_words_readable(tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(FATAL)
    for name in ("north", "south"):
        flow = f"flow: {name}\ntitle: Site {name}\nnodes:\n  rest: {{type: http-in, route: POST /{name}}}\n"
        (tmp_path / f"{name}.yaml").write_text(f"{flow}  x: {{type: stops, from: rest}}\n")
    with OnTerminal("run", tmp_path, "--nodes", tmp_path, "--port", "0", "--data", tmp_path / "data") as program:
        base = url(program)
        text = shown(program)
        groups = [one.split()[0] for one in table(text)]
        assert groups == ["node", "north", "rest", "x", "south", "rest", "x", "Ctrl-C"]
        post(f"{base}/south", {})
        assert program.end(None) == 1
        text = program.screen.text
        assert "\nhalf a line and its end\n" in text
        assert "ERROR   stopping because of south/x: the breaker is open" in text
        assert as_found(program)


def test_in_the_background_there_are_lines_and_no_table(site: Path) -> None:
    shell = ["bash", "--norc", "--noediting", "-i"]
    with OnTerminal(command=shell, env={"PS1": "$ "}) as program:
        program.until("$ ")
        program.type(f"{sys.executable} -m flowrunner run {site} --port 0 --data {site.parent} &\n")
        base = url(program)
        post(f"{base}/telemetry", {**RECORD, "temperature_c": 45})
        assert "\nnode " not in program.until("overheated: above")
        assert as_found(program)
        program.type("fg\n")
        shown(program, "overheated above")
        program.type("\x03")
        program.until("stopped")


# ---- the clock of a simulated world --------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_flow_time_is_shown_where_it_is_another_one(terminal: tuple[TextIO, Screen, Callable[..., str]]) -> None:
    stream, _, seen = terminal
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter("text", Secrets()))
    logging.getLogger().addHandler(handler)
    clock = ScaledClock(parse_instant("2025-01-25T20:30:00Z"), 60)
    checked = check_flows(
        {"good.yaml": GOOD.replace("1h", "1min").replace("from: tick", "from: tick, level: warning")}, {}, Registry()
    )
    engine = Engine(checked, store=Store.open(None), clock=clock)
    try:
        with Terminal(stream, Secrets()) as shown:
            await engine.start()
            shown.show(engine, "http://127.0.0.1:9")
            await asyncio.to_thread(seen, "1/min")
        await engine.stop()
    finally:
        logging.getLogger().removeHandler(handler)
    text = seen()
    assert re.search(r"^good  flow time 2025-01-25 20:3\d:\d\dZ ×60  http", text, re.M), text
    assert re.search(r"^20:31:0\dZ WARNING good/out: 1$", text, re.M), text
    assert text.count("2025-01-25\n") == 1, "the day is said once"
    assert "rates and ages in flow time" in text
    assert logging.getLogger().handlers[-1] is not handler


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, Screen, Callable[..., str]]]:
    """A terminal of 100 by 30 to write to, what is on it, and a look at that, which may wait for words."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    screen = Screen(100, 30)

    def seen(words: str = "") -> str:
        deadline = time.monotonic() + 20
        while select.select([master], [], [], 0 if words in screen.text else max(deadline - time.monotonic(), 0))[0]:
            screen.feed(os.read(master, 1 << 16).decode())
        assert words in screen.text, f"{words!r} never came:\n{screen.text}"
        return screen.text

    with open(slave, "w") as stream:  # noqa: PTH123  (a descriptor, not a path)
        yield stream, screen, seen
    os.close(master)


def test_a_defect_of_the_table_loses_no_line(terminal: tuple[TextIO, Screen, Callable[..., str]]) -> None:
    stream, _, _ = terminal
    given_up: list[tuple[Exception, list[Line]]] = []

    def broken(text: str) -> str:
        raise ValueError(f"a defect, met at {text!r}")

    scene = Scene("http://127.0.0.1:9", 1.0, True)
    painter = Painter(Device(stream.fileno()), scene, broken, lambda *what: given_up.append(what))
    for line in (Line(0, "INFO", "one", "0 INFO one"), Line(0, "INFO", "two", "0 INFO two")):
        painter.say(line)
    painter.show(Look(0, 0, [], {"f": "A title"}))
    painter.start()
    painter.join(10)
    assert not painter.is_alive()
    ((error, left),) = given_up
    assert str(error) == "a defect, met at 'A title'"
    assert [one.whole for one in left] == ["0 INFO one", "0 INFO two"]


class Broken(Secrets):
    """Fails where the table asks it."""

    def mask(self, text: str) -> str:
        raise ValueError("a defect")


@pytest.mark.anyio
async def test_after_a_defect_of_the_table_the_log_goes_on_in_plain_lines(
    terminal: tuple[TextIO, Screen, Callable[..., str]],
) -> None:
    stream, screen, seen = terminal
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter("text", Secrets()))
    logging.getLogger().addHandler(handler)
    engine = Engine(check_flows({"good.yaml": GOOD}, {}, Registry()), store=Store.open(None))
    try:
        with Terminal(stream, Broken()) as shown:
            shown.show(engine, "http://127.0.0.1:9")
            await asyncio.to_thread(seen, "the table cannot be shown")
            logging.getLogger("flowrunner").warning("and on it goes")
        await engine.stop()
    finally:
        logging.getLogger().removeHandler(handler)
    text = seen()
    assert "Z ERROR the table cannot be shown; this is a defect of flowrunner" in text
    assert "    ValueError: a defect\n" in text
    assert re.search(r"^2\S+Z WARNING and on it goes$", text, re.M)
    assert screen.cursor


def test_lines_that_a_held_terminal_did_not_take_are_counted(
    terminal: tuple[TextIO, Screen, Callable[..., str]],
) -> None:
    stream, _, seen = terminal
    painter = Painter(Device(stream.fileno()), Scene("", 1.0, True), str, lambda *what: None)
    for number in range(MOST_LINES + 7):
        painter.say(Line(0, "", f"line {number}", ""))
    painter.start()
    seen(f"line {MOST_LINES + 6}\n")
    assert painter.end(10)
    assert seen().startswith("7 lines were left out: the terminal did not take them\nline 7\n")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "", "CI": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_who_gets_a_table(
    environment: dict[str, str], expected: bool, terminal: tuple[TextIO, Screen, Callable[..., str]], tmp_path: Path
) -> None:
    assert wanted(terminal[0], environment) is expected
    with (tmp_path / "log").open("w") as file:
        assert not wanted(file, environment)


# ---- what is in a row ----------------------------------------------------------------------------------------------

NOW = parse_instant("2025-01-25T20:30:00Z")


def message(payload: Any, **changes: Any) -> Message:
    return Message(payload=payload, at=NOW, received_at=NOW, source="x", **changes)


def info(**changes: Any) -> FieldInfo:
    return FieldInfo(at=NOW, received_at=NOW, source="x", **changes)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (message(21.5), "21.5"),
        (message("open"), "open"),
        (message(None), "null"),
        (message([1, 2]), "[2 items]"),
        (message({}), "{}"),
        (message({"a": {"b": 1}, "on": True}), "a {1 field}, on true"),
        (message({"soc_percent": 7500}), "soc_percent 7500"),
        (message({"soc_percent": 75.5}, fields={"soc_percent": info(unit="%")}), "soc 75.5 %"),
        (message({"price_eur_mwh": -3}, fields={"price_eur_mwh": info(unit="EUR/MWh")}), "price -3 EUR/MWh"),
        (message({"a": 1}, fields={"a": info(), "b": info(quality="bad")}), "a 1, b bad"),
        (message({"a": 1, "b": 2}, fields={"a": info(origin="manual"), "b": info()}), "a 1 manual, b 2"),
        (message({"a": 1, "b": 2}, fields={"a": info(valid_until=NOW), "b": info(valid_until=NOW)}), "stale: a 1, b 2"),
        (message({"a": 1}, fields={"a": info(valid_until=NOW)}), "a 1 stale"),
        (
            message({"a": 1}, fields={"a": info(valid_from=NOW + 900 * SECOND, valid_until=NOW + 1800 * SECOND)}),
            f"a 1 from {iso(NOW + 900 * SECOND)[11:16]}Z",
        ),
        (message({"a": 1, "b": 2}, quality="uncertain"), "uncertain: a 1, b 2"),
        (message(1, origin="simulated"), "simulated: 1"),
        (message({"verdict": "clear", "a": 1}), "a 1, verdict clear"),
    ],
)
def test_the_last_value_in_a_few_words(shown: Message, expected: str) -> None:
    assert "".join(text for text, _ in message_pieces(shown, ["a"], NOW, str)) == expected


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON_VALUES, st.dictionaries(st.text(), st.text(max_size=5), max_size=3))
@example({HOSTILE: HOSTILE}, {HOSTILE: HOSTILE})
@example("x" * 100_000, {})
@example(10**5000, {})
def test_any_payload_is_a_short_line_without_control_characters(payload: Any, units: dict[str, str]) -> None:
    fields = {name: info(unit=unit) for name, unit in units.items()} if isinstance(payload, dict) else None
    text = "".join(piece for piece, _ in message_pieces(message(payload, fields=fields), [], NOW, str))
    assert text.isprintable()
    assert len(text) < 5000


def test_a_secret_is_masked_before_a_text_is_cut() -> None:
    text = plain("x" * 55 + "sesame", Secrets(["sesame"]).mask)
    assert (text, len(text)) == ("x" * 55 + "***", 58)


def seen_node(**changes: Any) -> Glance:
    plain_one: dict[str, Any] = {
        "flow": "f", "id": "a", "type": "merge", "state": "running", "passed": 0, "errors": 0, "dropped": 0,
        "last": None, "last_at": None, "last_error": "", "adds": (),
    }  # fmt: skip
    return Glance(**{**plain_one, **changes})


def test_the_state_and_what_goes_with_it() -> None:
    def shown(**changes: Any) -> tuple[str, str, str]:
        one = row(seen_node(**changes), None, NOW, 60 * SECOND, str)
        return one.state[0], one.age, "".join(text for text, _ in one.value)

    assert shown() == ("waiting", "–", "–")
    assert shown(last_at=NOW - 90 * SECOND) == ("running", "1 min", "–")
    away = {"state": "disconnected", "last": message(1), "last_at": NOW, "last_error": "not-connected: refused"}
    assert shown(**away) == ("disconnected", "0 s", "refused")
    assert shown(state="restarting", last_error="exception: boom")[2] == "exception: boom"
    assert shown(last=message(1), last_error="value: long ago")[2] == "1"


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(-1, 30))
def test_rows_that_matter_most_are_kept_in_their_order(ranks: list[int], room: int) -> None:
    rows = [msgspec.structs.replace(A_ROW, id=str(number), rank=rank) for number, rank in enumerate(ranks)]
    kept = chosen(rows, room)
    assert len(kept) == min(len(rows), max(room, 0))
    assert [one.id for one in kept] == sorted((one.id for one in kept), key=int)
    left = [one.rank for one in rows if one not in kept]
    assert not left or not kept or max(one.rank for one in kept) <= min(left)


A_ROW = Row("f", "a", "merge", ("running", "good"), "1/s", "0 s", [("75.5 %", "")], "", "", 2)
WIDE = msgspec.structs.replace(
    A_ROW, flow="g", id="長い名前" * 9, value=[("值" * 99, "bad")], errors="7", dropped="9", rank=0
)


@given(st.integers(2, 250), st.integers(1, 80), st.integers(0, 40), st.booleans())
def test_the_table_fits_every_screen(columns: int, height: int, nodes: int, closing: bool) -> None:
    rows = [A_ROW] * nodes + [WIDE] * (nodes // 3)
    picture = Picture(["f", "A title 長い", "2025-01-25 20:30:00Z"], {"f": "", "g": "G"}, rows, ["note"], closing)
    text = lines(picture, columns, height)
    assert all(one.cell_len <= columns - 1 for one in text)
    assert len(text) <= max(height - 1, 1)
    hidden = len(rows) - sum(one.plain.startswith(("a ", "長")) for one in text)
    if len(text) > 1 and hidden:
        assert f"{hidden} more node" in text[-1].plain or columns < 40


def test_trouble_that_is_hidden_is_told() -> None:
    picture = Picture(["f"], {"f": ""}, [msgspec.structs.replace(A_ROW, rank=0)] * 9)
    assert lines(picture, 100, 10)[-1].plain == "Ctrl-C stops   6 more nodes, 6 of them in trouble"


# ---- rates and ages --------------------------------------------------------------------------------------------------


def rate_of(changes: list[tuple[float, int]], now: float) -> str:
    rate = Rate(10 * SECOND)
    for at, count in changes:
        rate.learn(count, int(at * SECOND))
    return rate_text(rate.at(int(now * SECOND)))


def test_rates() -> None:
    assert rate_of([], 5) == "–"
    assert rate_of([(1, 1)], 5) == "–", "one message is no rate"
    assert rate_of([(one, one) for one in range(1, 100)], 99.5) == "1/s"
    assert rate_of([(one / 4, one * 25) for one in range(1, 100)], 25) == "100/s"
    assert rate_of([(30 * one, one) for one in range(1, 9)], 250) == "2/min"
    assert rate_of([(300, 1), (600, 2)], 800) == "12/h"
    assert rate_of([(one, one) for one in range(1, 100)], 99 + 3600) == "11/h", "it has fallen silent"
    assert rate_of([(1, 5), (2, 6), (3, 1), (4, 2)], 4) == "1/s", "a node that was made anew"
    assert rate_of([(100, 5), (1, 6), (2, 7)], 2) == "1/s", "a clock that was set back"
    assert rate_of([(one / 1000, one * 20) for one in range(1, 100)], 0.1) == "20k/s"
    assert rate_text(0.1 / 3600 / SECOND) == "<1/h"


@given(st.floats(1e-9, 1e12))
def test_a_rate_has_room_in_its_column(per_second: float) -> None:
    assert len(rate_text(per_second / SECOND)) <= 7


def test_ages() -> None:
    assert [age_text(int(one * SECOND)) for one in (-1, 0.9, 59, 60, 3599, 7200, 86400 * 3)] == [
        "0 s", "0 s", "59 s", "1 min", "59 min", "2 h", "3 d",
    ]  # fmt: skip


# ---- its place on the screen -----------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.lists(st.text("ab ", max_size=70), max_size=3), st.integers(1, 6), st.sampled_from([20, 40, 60]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_lines_are_kept_above_a_table_that_changes_and_a_screen_that_is_resized(
    steps: list[tuple[list[str], int, int]],
) -> None:
    region, screen, said = Region(), Screen(40, 30), []
    for number, (above, height, columns) in enumerate(steps):
        screen.resize(columns, 30)
        shown = [Text(f"{number} {line}".ljust(columns - 1, "-")) for line in range(height)]
        screen.feed(region.paint([Text(one) for one in above], shown, columns, 30))
        said += above
        joined = ["".join(part) for part in logical(screen)]
        assert joined == [*said, *(one.plain for one in shown)]


def logical(screen: Screen) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for text, goes_on in zip(screen.rows, screen.goes_on, strict=True):
        found[-1].append(text)
        if not goes_on:
            found.append([])
    return found[:-1]


def test_nothing_is_written_when_nothing_has_changed() -> None:
    region = Region()
    assert region.paint([], [Text("a"), Text("b"), Text("c")], 80, 24)
    assert region.paint([], [Text("a"), Text("b"), Text("c")], 80, 24) == ""
    changed = region.paint([], [Text("a"), Text("x"), Text("c")], 80, 24)
    assert "a" not in changed
    assert "x" in changed
