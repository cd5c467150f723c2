"""The list of events as CSV: every cell comes back, and no spreadsheet takes one for a formula."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.sheet import FORMULA, cell, guarded
from flowrunner.web.events.sheet import COLUMNS, sheet
from flowrunner.web.events.shown import EventShown

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.builds(
    "{}{}".format, st.sampled_from(FORMULA), st.sampled_from(['cmd|" /C calc"!A0', "SUM(1;2)", "1", "", '",x\r\n"'])
)


def event(**changes: Any) -> EventShown:
    plain: EventShown = {
        "id": "5.6.7", "kind": "entry", "at": "2025-01-25T20:30:00.000Z", "since": None, "until": None, "flow": "bess",
        "node": "hand", "line": 12, "file": "flows/bess.yaml", "title": {"key": "entry", "values": {}}, "text": "",
        "who": "hs", "origin": "::1", "severity": "info", "state": "", "course": None, "count": 1, "detail": {},
        "order": None, "alarm": None, "link": None,
    }  # fmt: skip
    return {**plain, **changes}  # type: ignore[typeddict-item]  # the test's own keys


def rows(raw: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "=HYPERLINK(…)"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert guarded(text) == f"'{text}"
    head, row = rows(sheet([event(text=text, who=text, origin=text, node=text)]))
    told = dict(zip(head, row, strict=True))
    assert {told[name] for name in ("text", "who", "origin", "node")} == {f"'{text}"}


@pytest.mark.parametrize("begins", [";", ';"', "\t", "\r\n"])
def test_no_part_is_a_formula_for_who_separates_by_semicolons(begins: str) -> None:
    """A German spreadsheet reads the whole line up to the next semicolon, whatever quotes stand inside."""
    text = f"hot{begins}=cmd|' /C calc'!A0;"
    assert guarded(text) == f"hot{begins}'=cmd|' /C calc'!A0;"
    parts = [part.lstrip('"') for part in re.split(r"[;\t\r\n]", sheet([event(text=text)]).decode())]
    assert not any(part.startswith(FORMULA[:4]) for part in parts)


@given(st.text("=+-@＝＋－＠;\t\r\n\",ab'", max_size=12))
def test_by_a_plain_reading(text: str) -> None:
    """Sign by sign: whether a cell begins there, at the very beginning or behind what may separate cells."""
    expected = "'" * text.startswith(("\t", "\r", "\n"))
    for place, sign in enumerate(text):
        before = text[:place].rstrip('"')
        begins = place == 0 or before.endswith((";", "\t", "\r", "\n"))
        expected += "'" * (begins and sign in "=+-@＝＋－＠") + sign
    assert guarded(text) == expected


@pytest.mark.parametrize(
    "text", ["", "hot", "2; 3", "a;b=c", "a -1; x", "5 MW", "a=b", "'=1", " =1", "°C", "2025-01-25T20:30:00.000Z"]
)
def test_what_is_none_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text


@pytest.mark.parametrize("value", [-1, -2.5, None, True])
def test_a_number_is_none(value: object) -> None:
    assert cell(value) is value


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=5))
def test_every_cell_comes_back(texts: list[tuple[str, str, str]]) -> None:
    """RFC 4180: commas, quotes and line ends in a cell stay in it; one line of names, then one for each event."""
    raw = sheet([event(text=text, who=who, node=node) for text, who, node in texts])
    head, *found = rows(raw)
    assert tuple(head) == COLUMNS
    assert raw.endswith(b"\r\n")
    for row, (text, who, node) in zip(found, texts, strict=True):
        told = dict(zip(head, row, strict=True))
        assert (told["text"], told["who"], told["node"]) == (guarded(text), guarded(who), guarded(node))
        assert not any(cell.startswith(FORMULA) for cell in row)
        assert told["at"] == "2025-01-25T20:30:00.000Z"


def test_titles_are_words() -> None:
    values = {"quantity_mwh": 2.0, "price_eur_mwh": -45.5, "delivery_start": "a", "delivery_end": "b"}
    raw = sheet([
        event(title={"key": "order.SELL", "values": values}),
        event(title={"key": "order.BUY.any-price", "values": {**values, "price_eur_mwh": None}}),
    ])  # fmt: skip
    head, *found = rows(raw)
    assert [row[head.index("title")] for row in found] == [
        "Sell 2.0 MWh at -45.5 €/MWh for a to b",
        "Buy 2.0 MWh at any price for a to b",
    ]


def test_nothing_is_a_line_of_names() -> None:
    assert sheet([]) == (",".join(COLUMNS) + "\r\n").encode()
