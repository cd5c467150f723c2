"""docs/testing-flows.md: its example runs, its tables name what there is, and what it shows is what is said."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import msgspec

from flowrunner.flowfile import Case, CaseStep, Expectation
from flowrunner.registry import Registry
from flowrunner.testing.playing import Outcome, play
from flowrunner.testing.stubs import OPTIONS
from flowrunner.testing.suite import read_suite
from flowrunner.testing.telling import lines

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "testing-flows.md").read_text(encoding="utf-8")
BESS = (ROOT / "flows" / "bess.yaml").read_text(encoding="utf-8")


def outcomes_of(text: str) -> list[Outcome]:
    suite = read_suite("flows/bess.yaml", BESS, ("flows/bess.test.yaml", text), {}, Registry())
    assert not [one for one in suite.problems if one.severity == "error"]
    return [play(trial, Registry()) for trial in suite.trials]


def example() -> str:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_passes() -> None:
    assert [(one.trial.case.name, one.ok) for one in outcomes_of(example())] == [
        ("buys once when cheap and empty", True)
    ]


def test_a_failing_test_looks_as_the_page_shows() -> None:
    shown = dedent(PAGE.partition("line of the expectation:\n\n")[2].partition("\n\nA node")[0]).strip()
    text = example().replace("buys once when cheap and empty", "buys when it is dear").replace("50}", "150}")
    text = text.replace("      - {from: exchange, count: 1", "      - {from: exchange, count: 1", 1)
    text = text.replace(" and quantity_mwh == 1.0", "")
    text = re.sub(r"      - \{advance: 30s\}\n.*\n", "", text)
    (outcome,) = outcomes_of(text)
    said = [line.removeprefix("  ") for line in lines(outcome)]
    place = re.compile(r"bess\.test\.yaml:\d+:\d+")
    wanted = [place.sub("PLACE", line) for line in shown.splitlines()]
    assert [place.sub("PLACE", line) for line in said][: len(wanted)] == wanted


def test_the_tables_name_all_that_there_is() -> None:
    for kind in (Case, CaseStep, Expectation):
        for field in msgspec.structs.fields(kind):
            assert re.search(rf"`[^`\n]*\b{field.encode_name}\b", PAGE), field.encode_name
    for name in OPTIONS:
        assert re.search(rf"[`{{ ]{name}:", PAGE), name
