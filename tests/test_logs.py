"""The log: what a line looks like, that no value can forge one, and that no secret is in it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowrunner.logs import Formatter, Secrets, Style


def line(
    message: str, style: Style = "text", secrets: Secrets | None = None, error: BaseException | None = None
) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("flowrunner.node", logging.WARNING, "x.py", 1, "%s", (message,), info)
    record.created = 1737837000.25
    record.node = "bess/mqtt"
    return Formatter(style, secrets or Secrets()).format(record)


def failed(text: str) -> BaseException:
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        return error


def test_a_line_for_people() -> None:
    assert line("bess/mqtt: 75 °C") == "2025-01-25T20:30:00.250Z WARNING bess/mqtt: 75 °C"


def test_a_line_for_machines() -> None:
    assert json.loads(line("75 °C", "json")) == {
        "at": "2025-01-25T20:30:00.250Z", "level": "warning", "logger": "flowrunner.node", "message": "75 °C",
        "node": "bess/mqtt",
    }  # fmt: skip


def test_a_traceback_stays_with_its_line() -> None:
    text = line("it failed", error=failed("boom\n2025-01-25T20:30:00.250Z INFO forged"))
    first, *more = text.split("\n")
    assert first == "2025-01-25T20:30:00.250Z WARNING it failed"
    assert more[0] == "    Traceback (most recent call last):"
    assert all(one.startswith("    ") for one in more)
    entry = json.loads(line("it failed", "json", error=failed("boom")))
    assert entry["trace"].endswith("RuntimeError: boom")


@given(st.text())
@example("\n2025-01-25T20:30:00.250Z INFO forged")
@example("\r\x1b[2J\x1b[31mred\x07\u202e\u2028\x85")
@example("\ud800")
def test_no_value_can_forge_a_line_or_move_the_cursor(value: str) -> None:
    text = line(value)
    text.encode()
    first, *more = text.split("\n")
    assert first.startswith("2025-01-25T20:30:00.250Z WARNING ")
    assert all(one.startswith("    ") for one in more)
    assert all(char.isprintable() or char == "\n" for char in text)
    entry = line(value, "json")
    assert "\n" not in entry
    assert json.loads(entry)["message"] == value.encode("utf-8", "backslashreplace").decode()


@given(st.text(min_size=4, max_size=30), st.text(max_size=10), st.sampled_from(["text", "json"]))
@example("sesame", "", "text")
@example("pa\"ss'w\\örd\n€", "", "json")
@example("\udcff\udcff\udcff\udcff", "", "text")
def test_a_secret_is_masked_however_it_is_written(secret: str, around: str, style: Style) -> None:
    secrets = Secrets([secret])
    utf8 = secret.encode("utf-8", "surrogatepass")
    ways = [secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]]
    if not any(0xD800 <= ord(char) < 0xE000 for char in secret):
        ways += [repr(utf8)[2:-1], quote(secret, safe="")]
    for way in ways:
        assert secrets.mask(f"{around}|{way}|{around}").count("***") >= 1
        assert way not in secrets.mask(f"<{way}>") or way in "<***>"
    entry = line(f"key {secret!r}", style, secrets, failed(f"login with {secret} failed"))
    assert secret not in entry or secret in line("key '***'", style, Secrets(), failed("login with *** failed"))


def test_a_secret_within_another_does_not_leave_its_rest() -> None:
    assert Secrets(["sesame", "open sesame now"]).mask("open sesame now, sesame") == "***, ***"


def test_short_values_are_not_masked_but_the_empty_one_does_no_harm() -> None:
    assert Secrets(["", "1", "abc"]).mask("abc 1 2 3") == "abc 1 2 3"


def test_a_line_with_the_wrong_arguments_is_ugly_not_lost() -> None:
    record = logging.LogRecord("paho", logging.INFO, "x.py", 1, "%s and %s", ("one",), None)
    assert Formatter("text", Secrets()).format(record).endswith(" INFO %s and %s ('one',)")


PROGRAM = """
import logging, threading, warnings, sys
from flowrunner import logs
logs.set_up(sys.argv[1], logs.Secrets(["sesame"]))
def fail(): raise RuntimeError("sesame in a thread")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Dies:
    def __del__(self): raise RuntimeError("sesame in a finalizer")
del [Dies()][0]
warnings.warn("sesame is deprecated")
logging.getLogger("uvicorn.error").warning("sesame: Invalid HTTP request received.")
logging.getLogger("flowrunner").debug("sesame")
logging.getLogger("flowrunner").info("the end")
"""


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_python_says_on_its_own_goes_the_same_way(style: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, style], capture_output=True, text=True, check=True)
    assert "sesame" not in done.stdout + done.stderr
    if style == "json":
        entries = [json.loads(one) for one in done.stderr.splitlines()]
        assert [one["level"] for one in entries] == ["critical", "error", "warning", "info"]
        assert [one.get("trace", "").splitlines()[-1:] for one in entries[:2]] == [
            ["RuntimeError: *** in a thread"], ["RuntimeError: *** in a finalizer"],
        ]  # fmt: skip
        assert "*** is deprecated" in entries[2]["message"]
    assert done.stderr.splitlines()[-1].endswith("the end" if style == "text" else '"message":"the end"}')
