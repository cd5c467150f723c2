"""What a person sees in an editor: the real yaml-language-server on the flows that ship and on broken ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowrunner.flowfile import FlowFile
from flowrunner.registry import Registry
from flowrunner.schema import schema_of
from tests.editors.desk import CASES, HEAD, HEAD_OF_TESTS, HOW, Desk, cases, examples, shipped_flows
from tests.editors.installed import MANIFEST, language_server

REGISTRY = Registry()
NO_FINDING = {"substitutions.yaml"}
NODE = "flow: site\nnodes:\n  one:\n"


def properties(name: str) -> dict[str, Any]:
    return dict(REGISTRY.get(name).form.schema["properties"])


# ---- findings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_flows())
def test_a_flow_that_ships_has_no_finding(editor: Desk, name: str) -> None:
    assert editor.findings(name) == []


def test_a_letter_too_much_in_a_flow_that_ships_is_found(editor: Desk) -> None:
    """So the flow's own first line leads the server to the schema; without one it would find nothing."""
    right = shipped_flows()["bess.yaml"]
    wrong = right.replace("type: modbus-in\n", "type: modbus-inn\n")
    editor.open_all({"wrong.yaml": wrong})
    (finding,) = editor.findings("wrong.yaml")
    assert wrong.splitlines()[finding.line - 1][finding.column - 1 :] == "modbus-inn"


def test_a_letter_too_much_in_a_file_of_tests_is_found(editor: Desk) -> None:
    right = shipped_flows()["bess.test.yaml"]
    wrong = right.replace("{advance: ", "{advanse: ", 1)
    editor.open_all({"wrong.test.yaml": wrong})
    (finding,) = editor.findings("wrong.test.yaml")
    assert wrong.splitlines()[finding.line - 1][finding.column - 1 :].startswith("advanse")


@pytest.mark.parametrize("name", examples())
def test_the_example_of_a_type_has_no_finding(editor: Desk, name: str) -> None:
    assert editor.findings(name) == []


@pytest.mark.parametrize("name", cases())
def test_what_is_said_of_a_broken_file(editor: Desk, name: str) -> None:
    golden = (CASES / name).with_suffix(".txt")
    assert golden.is_file(), HOW
    assert editor.said(name) == golden.read_text("utf-8"), HOW
    assert (editor.findings(name) == []) == (name in NO_FINDING)


def test_nobody_has_to_read_a_pattern() -> None:
    """What the server makes of a schema without words for it."""
    said = "".join(file.read_text("utf-8") for file in CASES.glob("*.txt"))
    assert "pattern" not in said
    assert " | " not in said


def test_every_case_is_complete() -> None:
    assert {file.stem for file in CASES.glob("*.txt")} == {Path(name).stem for name in cases()}
    assert all(text.startswith((HEAD, HEAD_OF_TESTS)) for text in [*cases().values(), *shipped_flows().values()])


# ---- completion ------------------------------------------------------------------------------------------------


def test_the_head_of_a_flow_is_offered(editor: Desk) -> None:
    keys = schema_of(FlowFile)["properties"]
    assert editor.offered("▮\n") == {key: one.get("description", "") for key, one in keys.items()}


def test_a_node_begins_with_its_type(editor: Desk) -> None:
    assert list(editor.offered(f"{NODE}    ▮\n")) == ["type"]


@pytest.mark.parametrize("begun", ["", "mod"])
def test_every_node_type_is_offered_with_what_it_does(editor: Desk, begun: str) -> None:
    offered = editor.offered(f"{NODE}    type: {begun}▮\n")
    assert offered.keys() == set(REGISTRY.names)
    for name, about in offered.items():
        assert about.startswith(REGISTRY.get(name).summary)


def test_types_and_options_are_offered_amid_a_flow_that_ships(editor: Desk) -> None:
    right = shipped_flows()["bess.yaml"]
    assert editor.offered(right.replace("type: merge\n", "type: ▮\n", 1)).keys() == set(REGISTRY.names)
    offered = editor.offered(right.replace("    stale_after: 90s", "    ▮", 1))
    assert "stale_after" in offered
    assert offered.keys() < properties("merge").keys()


@pytest.mark.parametrize("name", REGISTRY.names)
def test_the_options_of_a_type_are_offered_with_what_they_do(editor: Desk, name: str) -> None:
    options = {key: one.get("description", "") for key, one in properties(name).items() if key != "type"}
    assert editor.offered(f"{NODE}    type: {name}\n    ▮\n") == options


def test_what_is_written_already_is_not_offered_again(editor: Desk) -> None:
    offered = editor.offered(f"{NODE}    type: threshold\n    above: 5\n    ▮\n")
    assert "below" in offered
    assert "above" not in offered


def test_the_words_of_an_option_are_offered(editor: Desk) -> None:
    assert set(editor.offered(f"{NODE}    type: log\n    level: ▮\n")) == set(properties("log")["level"]["enum"])


def test_options_deep_in_a_node_are_offered(editor: Desk) -> None:
    registers = properties("modbus-in")["registers"]["additionalProperties"]["properties"]
    offered = editor.offered(f"{NODE}    type: modbus-in\n    registers:\n      power_mw:\n        ▮\n")
    assert set(offered) == set(registers)


# ---- hover -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["5", "${LIMIT:-5}"])
def test_an_option_says_what_it_does(editor: Desk, value: str) -> None:
    shown = editor.shown(f"{NODE}    type: threshold\n    abo▮ve: {value}\n")
    assert properties("threshold")["above"]["description"] in shown
    assert ("threshold" if value == "5" else "${…}") in shown


@pytest.mark.parametrize("place", ["  o▮ne:\n    type: filter", "  one:\n    type: fil▮ter"])
def test_a_node_says_what_its_type_does(editor: Desk, place: str) -> None:
    doc = REGISTRY.get("filter").doc
    shown = editor.shown(f"flow: site\nnodes:\n{place}\n    when: power_mw > 5\n")
    assert re.sub(r"\s+", " ", doc) in re.sub(r"\s+", " ", shown)


# ---- the installation ------------------------------------------------------------------------------------------


def test_the_lock_file_pins_contents_and_names_no_registry() -> None:
    manifest, lock = (json.loads((CASES.parent / name).read_text("utf-8")) for name in MANIFEST)
    packages = lock["packages"]
    assert packages.pop("")["dependencies"] == manifest["dependencies"]
    assert packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def test_it_is_installed_once(editor: Desk) -> None:
    """A second time it is only found: the tests run where no registry can be reached."""
    *_, script = language_server()
    before = Path(script).stat()
    assert language_server()[-1] == script
    assert Path(script).stat() == before
