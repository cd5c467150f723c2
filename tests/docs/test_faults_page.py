"""docs/faults.md: its faults stand in tables that say what shows them, and its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from flowrunner.httpclient.stream import PING_S
from flowrunner.mqtt.client import FIRST_DELAY_S, LAST_DELAY_S
from flowrunner.mqtt.link import CONNECT_S, SILENT_SHARE
from flowrunner.mqtt.settings import Settings
from flowrunner.node import RetryPolicy
from flowrunner.registry import Registry
from flowrunner.runtime.supervision import CLOSE_LIMIT_S, OPEN_LIMIT_S
from flowrunner.store.damaged import LOOK_SECONDS
from flowrunner.store.writer import RETRY_FIRST, RETRY_LAST, UNSAVED_LIMIT

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text("utf-8")
WITHIN = dict(re.findall(r"^\| (.+?) \| ([^|]+) \|$", PAGE.partition("## Figures")[2], re.MULTILINE))


def test_each_fault_stands_in_a_table_that_says_what_shows_it() -> None:
    heads = re.findall(r"^(\|.*\|)\n\|[-|]+\|$", PAGE.partition("## Figures")[0], re.MULTILINE)
    assert heads == ["| what fails | noticed | what the program does | what is lost | shown by |"] * 3


def test_the_figures_are_those_of_the_code() -> None:
    retry = RetryPolicy()
    found = {
        "what": "within",
        "silent MQTT broker": f"{SILENT_SHARE:g} × {_default(Settings, 'keepalive')} s",
        "MQTT connecting": f"{CONNECT_S:g} s",
        "Modbus answer or connection": _timeout("modbus-in"),
        "HTTP answer or connection": _timeout("http-poll"),
        "dead stream": f"2 × {PING_S:g} s",
        "`open` of a node": f"{OPEN_LIMIT_S:g} s",
        "`close` of a node": f"{CLOSE_LIMIT_S:g} s",
        "back-off of a node": f"`retry`: `{retry.first}`, doubled up to `{retry.max}`",
        "back-off of an MQTT connection": (
            f"{FIRST_DELAY_S:g} s, doubled up to {LAST_DELAY_S:g} s, "
            "or to the shortest `retry: {max: …}` of its nodes"
        ),
    }
    assert found == WITHIN
    assert f"({UNSAVED_LIMIT:,} at most) and tried again every {RETRY_FIRST:g} to {RETRY_LAST:g} s" in PAGE
    assert LOOK_SECONDS == 5
    assert "five seconds" in PAGE


def _timeout(kind: str) -> str:
    return f"`timeout` of the node, `{_default(Registry().get(kind).cls.Options, 'timeout')}` unless told"


def _default(struct: type[msgspec.Struct], field: str) -> object:
    return next(one.default for one in msgspec.structs.fields(struct) if one.name == field)
