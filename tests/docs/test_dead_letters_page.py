"""docs/dead-letters.md: its flows do what is said, its commands and routes are there, its words are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest

from flowrunner.cli import _in_one_word, _parser
from flowrunner.graph import check_flows
from flowrunner.node import NodeState
from flowrunner.registry import Registry
from flowrunner.runtime.letters import LETTER_CAP
from flowrunner.store.letters import LETTERS_KEPT, OBSTACLES
from flowrunner.testing import Rig, run_flow
from flowrunner.web.letters import endpoints
from tests.runtime.kit import types

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "dead-letters.md").read_text("utf-8")
FLOWS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^    flowrunner (dead-letters.*?)(?:   .*)?$", PAGE, re.MULTILINE)


def test_there_is_something_to_hold_it_to() -> None:
    assert len(FLOWS) == 2
    assert len(COMMANDS) == 8


@pytest.mark.parametrize("text", FLOWS)
def test_its_flows_are_good(text: str) -> None:
    assert [str(one) for one in check_flows({"tank.yaml": text}, {}, Registry()).problems] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_understood(command: str) -> None:
    options = _parser().parse_args(_in_one_word(shlex.split(command)))
    assert options.command.startswith("dead-letters")


def test_each_option_is_named() -> None:
    groups: Any = _parser()._subparsers
    parsers = [one for name, one in groups._group_actions[0].choices.items() if name.startswith("dead-letters")]
    names = {one for parser in parsers for one in parser._option_string_actions if one.startswith("--")}
    assert len(names) > 8
    assert {one for one in names if f"`{one}" not in PAGE and f" {one}" not in PAGE} == {"--help"}


def test_its_sentences_and_figures_are_those_of_the_program() -> None:
    for said in OBSTACLES.values():
        assert f"| {said} |" in PAGE
    assert f"{LETTERS_KEPT:,} letters" in PAGE
    assert f"{LETTER_CAP:,} characters" in PAGE
    assert [state for state in get_args(NodeState) if f"`{state}`" not in PAGE] == []


def test_its_routes_are_those_of_the_program() -> None:
    async def story(rig: Rig) -> set[tuple[str, str]]:
        return {(one.method, one.path) for one in endpoints(rig.engine)}

    told = set(re.findall(r"^\| `(GET|POST|DELETE) (/api/\S+)` \|", PAGE, re.MULTILINE))
    assert told == run_flow(FLOWS[0], story)


def test_what_it_shows_is_what_happens() -> None:
    async def story(rig: Rig) -> None:
        await rig.request("POST", "/tank", b'{"level": 4}')
        (record,) = rig.payloads("errors")
        assert set(record) == {"node", "code", "reason", "message"}
        assert (record["node"], record["reason"]) == ("level", "level_m is missing")
        (letter,) = rig.engine.store.dead_letters()
        assert f"{letter.address}  {letter.code}  {letter.reason}" in PAGE
        rig.worker("telemetry").ctx.connected(False, "away")
        await rig.settle()
        assert {one for state in rig.payloads("states") for one in state} == {
            "node", "state", "connected", "reason", "since",
        }  # fmt: skip
        heard = {wire.source for wire in rig.engine.graph.nodes["tank/errors"].wires}
        assert heard == {"tank/telemetry", "tank/level", "tank/warning"}

    run_flow(FLOWS[1], story, registry=types())


def test_who_reads_the_error_port_makes_it_no_letter() -> None:
    async def story(rig: Rig) -> None:
        await rig.request("POST", "/tank", b'{"level": 4}')
        assert rig.engine.store.dead_letters() == []
        assert rig.worker("not-understood").counters.received == 1

    run_flow(FLOWS[0], story)
