"""The numbers of ``--coverage``, reckoned by hand."""

from __future__ import annotations

from flowrunner.testing.coverage import Coverage, coverage_of
from flowrunner.testing.playing import play
from tests.trying.stage import AT, REGISTRY, suite

FLOW = """\
flow: small
timezone: Europe/Vienna
nodes:
  meter:
    type: http-in
    route: POST /m
    body: {t_c: {type: number}, load: {type: number}}
  hot: {type: threshold, from: meter, field: t_c, above: 40}
  sorted:
    type: switch
    from: hot
    cases:
      busy: load > 5 and t_c > 0
      idle: load < 1 or t_c < -10
  spare:
    type: filter
    enabled: ${SPARE:-false}
    from: meter
    when: load > 100
  show: {type: log, from: [sorted.busy, sorted.idle, meter.error]}
"""
# Nodes: meter, hot, sorted, show, and spare where it is enabled. Ports: meter.out, meter.error (show reads it),
# hot.out, hot.above, hot.cleared (hot.below cannot be), sorted.busy, sorted.idle, sorted.else; of spare: out, else.
# Clauses: 4 of sorted, 1 of spare.


def covered(*tests: tuple[str, str]) -> Coverage:
    """``tests``: environment and steps."""
    text = "tests:\n" + "".join(
        f"  - {{name: t{number}, {AT}, env: {{{env}}}, steps: [{steps}], expect: [{{from: meter, at_most: 9}}]}}\n"
        for number, (env, steps) in enumerate(tests)
    )
    found = suite(FLOW, text)
    assert not found.is_bad, found.problems
    return coverage_of(found, [play(trial, REGISTRY) for trial in found.trials])


def emit(t_c: float, load: float) -> str:
    return f"{{emit: meter, value: {{t_c: {t_c}, load: {load}}}}}"


def test_nothing_is_reached() -> None:
    found = covered(("", "{advance: 1s}"))
    assert found.reached == {"node": 0, "port": 0, "clause": 0}
    assert found.total == {"node": 5, "port": 8, "clause": 4}


def test_some_is_reached() -> None:
    found = covered(("", emit(20, 6)))
    assert found.reached == {"node": 4, "port": 3, "clause": 0}  # meter, hot, sorted, show; meter, hot, sorted.busy
    gaps = {gap.text: gap.line for gap in found.gaps}
    assert gaps["spare: it does not run in any test (SPARE is false)"] == 15
    assert gaps["sorted: load > 5: never false"] == 13
    assert gaps["sorted: load < 1: never true and never false"] == 14  # the first that holds is the last that is judged
    assert gaps["hot.above: nothing left it"] == 8


def test_all_is_reached_by_several_tests_together() -> None:
    found = covered(
        ("", f"{emit(20, 6)}, {emit(50, 3)}, {emit(20, 0)}, {emit(-20, 3)}"),
        ("", "{emit: meter.error, value: {code: x, reason: y}}"),
        ("SPARE: true", f"{emit(20, 6)}, {emit(20, 101)}"),
    )
    assert found.gaps == []
    assert found.reached == found.total == {"node": 5, "port": 10, "clause": 5}


def test_a_clause_counts_that_nothing_ever_came_to() -> None:
    assert covered(("SPARE: true", "{advance: 1s}")).total["clause"] == 5
