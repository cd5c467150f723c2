"""docs/web.md: its tables name what there is, and its dashboard is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from flowrunner import people_arguments
from flowrunner.flowfile.dashboard import SPANS, TILES, ChartSeries, Kind, Tile
from flowrunner.graph import check_flows
from flowrunner.orders.book import REFUSALS_KEPT
from flowrunner.registry import Registry
from flowrunner.store import audit
from flowrunner.store.alarms import MOST_ALARMS, SAME_OCCURRENCE
from flowrunner.store.letters import LETTERS_KEPT
from flowrunner.store.people import ROLES
from flowrunner.units import Duration
from flowrunner.web.events.api import FOR_OPERATORS, MOST_IN_SHEET
from flowrunner.web.events.asked import KINDS, MOST, PAGES, QUERIES
from flowrunner.web.events.event import Course
from flowrunner.web.events.merged import MOST_LOOKED
from flowrunner.web.guard import API_KEY, HOSTS, HTTPS
from flowrunner.web.pages import every_page
from flowrunner.web.pages.face import Face
from flowrunner.web.people import passwords, register, waits
from tests.docs.tables import options, rows
from tests.web.site import site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "web.md").read_text("utf-8")


def test_every_tile_is_there_with_its_options() -> None:
    found = rows(PAGE, "tile")
    assert set(found) == set(TILES)
    found["power"] = found["value"]
    for name, kind in TILES.items():
        told = set(re.findall(r"`(\w+)`", found[name][1].partition("(each")[0] + found[name][1].partition(")")[2]))
        assert told == options(kind) - options(Tile) - {"tile"}, name
    assert set(re.findall(r"`(\w+)`", found["chart"][1].partition("(")[2].partition(")")[0])) == options(ChartSeries)
    assert options(Tile) == {"title", "width"}
    assert all(f"`{one}`" in PAGE for one in (*SPANS, *get_args(Kind)))


def test_the_dashboard_that_is_shown_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    checked = check_flows({"tank.yaml": text}, {}, Registry())
    assert checked.problems == []


@pytest.mark.anyio
async def test_every_page_is_named() -> None:
    async with site() as web:
        paths = {page.path for page in every_page(Face(web.engine))}
    places = re.sub(r"\{\w+\}", "{}", PAGE)
    assert {path for path in paths if f"`{re.sub(r'{.*?}', '{}', path)}`" not in places} <= {"/flows"}  # leads to one
    assert {
        head for head in rows(PAGE, "page") if head not in {re.sub("{flow}", "{name}", one) for one in paths}
    } == set()


def test_every_key_of_the_flow_page_is_told() -> None:
    static = ROOT / "flowrunner" / "web" / "static"
    script = "".join((static / name).read_text("utf-8") for name in ("flow.js", "graph.js"))
    taken = {one for one in re.findall(r'(?:event\.|[^.])\bkey === "([^"]+)"', script) if not one.startswith("Arrow")}
    told = {"Esc": "Escape", "space": " "}
    named = {told.get(one, one) for head in rows(PAGE, "key") for one in head.split(", ")}
    assert taken - {"="} == named - {"arrows", "Shift and arrows"}  # "=" is "+" without Shift


def test_the_kinds_courses_and_parameters_of_events_are_those_of_the_code() -> None:
    kinds = rows(PAGE, "`kind`")
    assert list(kinds) != []
    assert set(kinds) == set(KINDS)
    assert {name for name, told in kinds.items() if "operators and editors" in told[0]} == FOR_OPERATORS
    assert set(rows(PAGE, "course")) == set(get_args(Course))
    named = {name for cell in rows(PAGE, "parameter") for name in cell.split(", ")}
    assert named == {one.name for one in (*QUERIES, *PAGES)}


def test_the_figures_are_those_of_the_code() -> None:
    for number, where in (
        (MOST_ALARMS, "alarms"), (REFUSALS_KEPT, "refusals"), (LETTERS_KEPT, "letters"), (audit.KEPT, "entries"),
        (audit.FAILURES_KEPT, "failed log-ins"), (MOST_IN_SHEET, "lines"), (MOST_LOOKED, "events"),
    ):  # fmt: skip
        assert f"{number:,} {where}" in PAGE.replace("\n", " ")
    assert f"up to {MOST} (" in PAGE
    assert Duration.parse("10min") == SAME_OCCURRENCE
    assert f"at least {passwords.SHORTEST} characters" in PAGE
    assert (Duration.parse("12h"), Duration.parse("7d")) == (register.IDLE, register.LONGEST)
    assert f"up to {waits.LONGEST_S:g} s" in PAGE


def test_commands_roles_and_variables_are_those_of_the_code() -> None:
    named = {" ".join(command.split()[1:3]) for command in rows(PAGE, "command")}
    assert named == set(people_arguments.COMMANDS)
    assert list(rows(PAGE, "role")) == list(ROLES)
    assert set(rows(PAGE, "variable")) == {HOSTS, HTTPS, API_KEY}
