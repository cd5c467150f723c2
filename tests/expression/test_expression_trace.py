"""The explanation of a result: each clause with value, limit, outcome, or why it has none."""

from __future__ import annotations

import pytest

from flowrunner.expression import Clause, Scalar
from flowrunner.message import JSON
from tests.expression.scopes import info, program, scope

FIELDS: dict[str, JSON] = {"soc": 20, "price": 75.5, "side": "BUY", "hot": False, "power": 0}
CLAUSES: list[tuple[str, list[Clause]]] = [
    (
        "soc < 30 and price <= cheap",
        [Clause("soc < 30", 20, "<", 30, True), Clause("price <= cheap", 75.5, "<=", 60, False)],
    ),
    ("30 > soc", [Clause("30 > soc", 20, "<", 30, True)]),
    ("cheap <= price", [Clause("cheap <= price", 75.5, ">=", 60, True)]),
    ("5 < soc <= 15", [Clause("5 < soc <= 15", 20, "< <=", [5, 15], False)]),
    ("soc + 5 < price * 2", [Clause("soc + 5 < price * 2", 25, "<", 151.0, True)]),
    ("(soc + 5) * 2 < 90", [Clause("(soc + 5) * 2 < 90", 50, "<", 90, True)]),
    (
        'hot or (side == "BUY" and soc > 30)',
        [
            Clause("hot", False, "", None, False),
            Clause('side == "BUY"', "BUY", "==", "BUY", True),
            Clause("soc > 30", 20, ">", 30, False),
        ],
    ),
    (
        "not hot and not soc > 30",
        [Clause("not hot", False, "not", None, True), Clause("not soc > 30", 20, "not >", 30, True)],
    ),
    (
        "not (hot or soc > 30)",
        [Clause("hot", False, "", None, False), Clause("soc > 30", 20, ">", 30, False)],
    ),
    ('side in ["BUY"]', [Clause('side in ["BUY"]', "BUY", "in", ["BUY"], True)]),
    ('side not in ["a",\n "b"]', [Clause('side not in ["a", "b"]', "BUY", "not in", ["a", "b"], True)]),
    ("between(soc, 30, 70)", [Clause("between(soc, 30, 70)", 20, "between", [30, 70], False)]),
    (
        'between("22:00", "06:00")',
        [Clause('between("22:00", "06:00")', "02:00", "between", ["22:00", "06:00"], True)],
    ),
    ("age(soc) < 90s", [Clause("age(soc) < 90s", 12.0, "<", 90, True)]),
    ("6 <= hour()", [Clause("6 <= hour()", 2, ">=", 6, False)]),
    (
        "power != 0 and soc / power > 2",
        [
            Clause("power != 0", 0, "!=", 0, False),
            Clause("soc / power > 2", None, ">", 2, None, "division by zero: 20 / 0"),
        ],
    ),
    ("soc + 1", []),
]


@pytest.mark.parametrize(("text", "clauses"), CLAUSES, ids=[text for text, _ in CLAUSES])
def test_clauses(text: str, clauses: list[Clause]) -> None:
    rule = program(text, {"cheap": 60})
    inputs = scope(FIELDS, {"soc": info(age_s=12)})
    trace = rule.explain(inputs)
    assert trace.clauses == clauses
    assert trace.error == ""
    assert trace.outcome == rule.evaluate(inputs)


def test_a_missing_input_is_named_where_it_is_needed_and_the_other_clauses_are_told() -> None:
    rule = program("soc < 30 and price <= cheap and hot", {"cheap": 60})
    trace = rule.explain(scope({"soc": 20, "hot": True}))
    assert trace.outcome is None
    assert trace.error == "price is missing"
    assert trace.clauses == [
        Clause("soc < 30", 20, "<", 30, True),
        Clause("price <= cheap", None, "<=", 60, None, "price is missing"),
        Clause("hot", True, "", None, True),
    ]


def test_a_wrong_kind_is_told_in_the_reason() -> None:
    trace = program("soc < 30").explain(scope({"soc": "20"}))
    assert trace.error == "soc is text ('20'), not a number"
    assert trace.clauses == [Clause("soc < 30", None, "<", 30, None, "soc is text ('20'), not a number")]


@pytest.mark.parametrize("flag", [True, False])
def test_a_field_alone_is_a_clause(flag: Scalar) -> None:
    trace = program("flag").explain(scope({"flag": flag}))
    assert trace.clauses == [Clause("flag", flag, "", None, bool(flag))]


def test_a_number_has_no_outcome_as_a_clause() -> None:
    assert program("flag").explain(scope({"flag": 3})).clauses == [Clause("flag", 3, "", None, None)]
