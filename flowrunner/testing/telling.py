"""The outcome of tests in words: for people, and as JUnit XML for the machines that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from flowrunner.errors import Problem
from flowrunner.testing.coverage import Coverage
from flowrunner.testing.playing import Outcome
from flowrunner.testing.view import duration_text

NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KINDS = {"node": "nodes", "port": "ports", "clause": "clauses"}


def lines(one: Outcome) -> Iterator[str]:
    """One test in a line; a failing one with all there is to say."""
    yield f"  {'ok  ' if one.ok else 'FAIL'}  {one.trial.case.name}"
    for failure in one.failures:
        yield f"    {failure.where}: {failure.lines[0]}"
        yield from (f"        {line}" for line in failure.lines[1:])


def failed(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """At the end, where many lines lie between: which they were."""
    for one in outcomes:
        if not one.ok:
            yield f"failed: {one.trial.where('name')}: {one.trial.case.name}"


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """``3 passed, 1 failed in 0.12 s (2 h 30 min of flow time)``."""
    failed = sum(not one.ok for one in outcomes)
    passed = len(outcomes) - failed
    text = f"{passed} passed" + (f", {failed} failed" if failed else "")
    return f"{text} in {seconds:.2f} s ({duration_text(sum(one.passed_ns for one in outcomes))} of flow time)"


def coverage_lines(file: str, coverage: Coverage, chosen: str = "") -> Iterator[str]:
    """``chosen``: by which of the tests, where it was not all."""
    counts = [f"{KINDS[kind]} {coverage.reached[kind]} of {total}" for kind, total in coverage.total.items()]
    yield f"coverage of {file}{chosen and f' by {chosen}'}: {', '.join(counts)}"
    for gap in coverage.gaps:
        yield f"  {gap.file}:{gap.line}:{gap.column}: {gap.kind} not reached: {gap.text}"


def junit(by_file: Mapping[str, Sequence[Outcome]], seconds: Mapping[str, float]) -> bytes:
    """JUnit XML, a suite for each flow file. ``seconds``: by name of the test's place."""
    everything = [one for outcomes in by_file.values() for one in outcomes]
    root = ElementTree.Element("testsuites", _counts("flowrunner", everything, seconds))
    for file, outcomes in by_file.items():
        suite = ElementTree.SubElement(root, "testsuite", _counts(file, outcomes, seconds))
        for one in outcomes:
            place = one.trial.where("name")
            where, line, _ = place.rsplit(":", 2)
            case = ElementTree.SubElement(
                suite, "testcase",
                {"name": _clean(one.trial.case.name), "classname": one.trial.flow, "file": where, "line": line,
                 "time": f"{seconds.get(place, 0.0):.3f}"},
            )  # fmt: skip
            if not one.ok:  # one for each test: that is what all readers count
                told = [
                    line
                    for failure in one.failures
                    for line in (f"{failure.where}: {failure.lines[0]}", *failure.lines[1:])
                ]
                first = {"message": _clean(one.failures[0].lines[0]), "type": "expectation"}
                ElementTree.SubElement(case, "failure", first).text = _clean("\n".join(told))
    return _xml(root)


def junit_of_problems(problems: Sequence[Problem]) -> bytes:
    """The same where nothing could be tested: an error for each problem."""
    count = str(len(problems))
    numbers = {"name": "flowrunner", "tests": count, "failures": "0", "errors": count, "time": "0.000"}
    root = ElementTree.Element("testsuites", numbers)
    suite = ElementTree.SubElement(root, "testsuite", numbers)
    for one in problems:
        place = {"name": _clean(one.path or one.code), "classname": one.file, "file": one.file, "line": str(one.line)}
        case = ElementTree.SubElement(suite, "testcase", {**place, "time": "0.000"})
        error = ElementTree.SubElement(case, "error", {"message": _clean(one.message), "type": one.code})
        error.text = _clean(str(one))
    return _xml(root)


def _xml(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _counts(name: str, outcomes: Sequence[Outcome], seconds: Mapping[str, float]) -> dict[str, str]:
    took = sum(seconds.get(one.trial.where("name"), 0.0) for one in outcomes)
    failures = sum(not one.ok for one in outcomes)
    return {"name": name, "tests": str(len(outcomes)), "failures": str(failures), "errors": "0", "time": f"{took:.3f}"}


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
