"""The pure parts of the dashboard: where tiles stand, bars, what is wrong with a value, charts as lanes and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.units import SECOND, parse_instant
from flowrunner.web.dashboard.course import Bucket
from flowrunner.web.dashboard.tiles import Line, Tile
from flowrunner.web.pages import chart_views, dashboard, tile_rows
from flowrunner.web.pages.chart_views import HOUR, Drawn, value_at
from flowrunner.web.pages.dashboard import WORDS
from flowrunner.web.pages.engine_words import Cause
from flowrunner.web.pages.order_rows import figures
from flowrunner.web.pages.tile_bars import WIDTH, bar, line
from flowrunner.web.pages.tile_values import Known, Source, reading

NOW = parse_instant("2026-01-26T09:42:00Z")
ZONE = "Europe/Vienna"
NOTHING_WRONG = Cause()
STATIC = Path(dashboard.__file__).parents[1] / "static"


def tile(kind: str = "value", **more: Any) -> Tile:
    """A resolved tile, as the API gives it."""
    plain: dict[str, Any] = {
        "tile": kind, "id": 0, "title": {"en": "", "de": ""}, "width": None, "node": "bess/telemetry", "port": "out",
        "field": "soc_percent", "unit": None, "decimals": None, "min": None, "max": None, "limit": None, "marks": [],
        "span": None, "series": [], "lines": [], "from": [], "fields": {}, "values": {}, "confirm": False,
        "expires_after_s": None, "overrides": False, "text": None, "line": 1, "file": "bess.yaml",
    }  # fmt: skip
    return cast(Tile, plain | more)


def words(lang: str) -> Any:
    place = ("en", "de").index(lang)
    return lambda key, **values: WORDS[key][place].format(**values)


def known(value: Any, **more: Any) -> Known:
    at = NOW // 1_000_000 - 800
    row: Known = {
        "value": value, "at": at, "received_at": at, "source": "rest", "origin": "automatic", "quality": "good",
        "unit": "%", "stale": False, "reason": None, "until": None, "since": None,
        "key": "",
    }  # fmt: skip
    row.update(more)  # type: ignore[typeddict-item]  # the keys are those of Known
    return row


def read(row: Known | None, *, lang: str = "de", cause: Cause = NOTHING_WRONG) -> Any:
    sources: dict[str, Source] = {
        "price": {"type": "price-in", "name": "ENTSO-E"}, "rest": {"type": "http-in", "name": ""},
    }  # fmt: skip
    return reading(tile(), row, cause, t=words(lang), lang=lang, zone=ZONE, now=NOW, sources=sources)


# ---- words -----------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_places() -> None:
    for key, texts in WORDS.items():
        english, german = (set(re.findall(r"\{(\w+)\}", text)) for text in texts)
        assert english == german, key
        assert all(texts), key


def test_the_scripts_say_only_words_that_they_are_given() -> None:
    """And are given no others: each costs bytes."""
    scripts = ("dashboard", "reading", "panels", "entries", "charts", "chart")
    texts = [(STATIC / f"{name}.js").read_text("utf-8") for name in scripts]
    said = {key for text in texts for key in re.findall(r'"(dashboard\.[a-z0-9-]+)"', text)}
    assert said == set(dashboard.JS_WORDS)


def test_every_word_is_said_somewhere() -> None:
    files = [*STATIC.glob("*.js"), *STATIC.parent.glob("templates/dashboard*.html"), *STATIC.parent.glob("pages/*.py")]
    texts = "".join(one.read_text("utf-8") for one in files if one.name != "dashboard_words.py")
    made = ("span-", "state-", "severity-", "guard-", "verdict-", "why-", "banner-")  # by f-strings
    silent = [key for key in WORDS if key not in texts and not key.removeprefix("dashboard.").startswith(made)]
    assert silent == []


# ---- where tiles stand ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(list(tile_rows.SIZES)), st.none() | st.integers(1, 12)), max_size=30))
def test_every_tile_stands_once_and_in_its_order(kinds: list[tuple[str, int | None]]) -> None:
    tiles = [tile(kind, id=place, width=width) for place, (kind, width) in enumerate(kinds)]
    laid = list(tile_rows.rows(tiles))
    assert [one["id"] for row in laid for column in row for one in column.tiles] == list(range(len(tiles)))
    for row in laid:
        explicit = row[0].tiles[0]["width"]
        assert sum(column.span for column in row) == (explicit or 12)


def test_narrow_tiles_stand_beside_a_chart() -> None:
    kinds = ["value", "power", "value", "value", "chart", "why", "form", "orders", "events"]
    laid = [[(column.span, [one["tile"] for one in column.tiles]) for column in row]
            for row in tile_rows.rows([tile(kind) for kind in kinds])]  # fmt: skip
    assert laid == [
        [(3, ["value"]), (3, ["power"]), (3, ["value"]), (3, ["value"])],
        [(8, ["chart"]), (4, ["why", "form"])],
        [(7, ["orders"]), (5, ["events"])],
    ]


# ---- a value in words ---------------------------------------------------------------------------------------------


def test_a_fresh_value_says_its_source_and_its_age() -> None:
    told = read(known(75.5))
    assert (told.state, told.figure, told.unit, told.source, told.node) == (
        "", "75,5", "%", "Automatische Telemetrie", "rest",
    )  # fmt: skip
    assert told.age == "vor 0,8 s"
    assert read(known(75.5), lang="en").figure == "75.5"


def test_a_value_typed_by_a_person_says_so_and_until_when() -> None:
    told = read(known(61, origin="manual", source="manual", until=NOW // 1_000_000 + 33 * 60_000))
    assert (told.state, told.icon, told.source, told.age) == ("man", "hand", "Manuelle Eingabe", "bis 11:15")


def test_a_price_says_who_publishes_it() -> None:
    assert read(known(127.4, source="price", unit="EUR/MWh")).source == "ENTSO-E"
    assert read(known(127.4, source="price", unit="EUR/MWh")).unit == "€/MWh"


def test_a_stale_value_keeps_its_figure_and_says_since_when() -> None:
    old = known(28.1, stale=True, reason="stale", at=NOW // 1_000_000 - 47_000, received_at=NOW // 1_000_000 - 47_000)
    told = read(old)
    assert (told.state, told.figure, told.source) == ("stale", "28,1", "veraltet")
    assert told.cause == ("Kein neuer Wert von rest seit 47 s.", "")


def test_what_the_source_is_not_sure_of_is_not_called_stale() -> None:
    told = read(known(28.1, stale=True, reason="uncertain", quality="uncertain"))
    assert (told.state, told.source) == ("stale", "unsicher")


@pytest.mark.parametrize("row", [None, known(None, stale=True, reason="bad", quality="bad")], ids=["nothing", "bad"])
def test_no_value_is_a_dash_with_its_cause_and_never_a_number(row: Known | None) -> None:
    away = Cause("price hat keine Verbindung.", "source-away: no answer")
    told = read(row, cause=away)
    assert (told.state, told.figure, told.number, told.unit) == ("none", "–", None, "")
    assert told.cause == away
    assert read(row).cause.text.startswith("telemetry ")


@given(st.text() | st.booleans() | st.lists(st.integers()))
def test_what_is_no_number_is_shown_as_it_is(value: Any) -> None:
    told = read(known(value))
    assert told.number is None
    assert told.figure == str(value)[:60]


def test_a_value_names_the_site_that_it_is_of() -> None:
    for row in (
        known(75.5, key="north"),
        known(None, key="north"),
        known(1.0, key="north", stale=True, reason="stale"),
    ):
        assert read(row).key == "north"
    assert read(known(75.5)).key == read(None).key == ""


# ---- bars ---------------------------------------------------------------------------------------------------------

FINITE = st.floats(-1e9, 1e9)


@given(FINITE, FINITE, FINITE, FINITE, st.sampled_from(["value", "power"]))
def test_a_bar_never_leaves_its_box(value: float, low: float, high: float, limit: float, kind: str) -> None:
    for most in (limit, None):
        drawn = bar(tile(kind, min=low, max=high, limit=most, marks=[low, value], unit="MW"), value)
        if drawn is not None:
            assert 0 <= drawn.x <= drawn.x + drawn.width <= WIDTH + 1e-6
            assert all(0 <= mark <= WIDTH for mark in drawn.marks)


def test_a_bar_is_as_long_as_the_flow_says_and_none_where_it_says_nothing() -> None:
    assert bar(tile(unit="%"), 50.0) is None
    half = bar(tile(unit="%", min=20, max=80), 50.0)
    assert half is not None
    assert half.width == WIDTH / 2


def test_without_a_value_a_bar_is_empty() -> None:
    drawn = bar(tile("power", limit=5), None)
    assert drawn is not None
    assert drawn.width == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [(2.5, ["Entladen", "50 % von 5 MW"]), (-1, ["Laden", "20 % von 5 MW"]), (0, ["Ruht", "0 % von 5 MW"]),
     (-5.2, ["Laden", "über der Grenze von 5 MW"]), (None, ["Grenze 5 MW"])],
)  # fmt: skip
def test_power_is_told_with_its_direction(value: float | None, said: list[str]) -> None:
    of = tile("power", limit=5, unit="MW")
    assert [part.text for part in line(of, None, value, t=words("de"), lang="de", zone=ZONE, now=NOW)] == said


def test_a_price_of_the_next_slot_is_told_as_delivery_and_a_running_one_as_valid() -> None:
    of = tile(unit="EUR/MWh")
    begin = NOW // 1_000_000 + 180_000
    ahead = known(50.0, since=begin, until=begin + 900_000)
    running = known(50.0, since=begin - 900_000, until=begin)
    said = [line(of, row, 50.0, t=words("de"), lang="de", zone=ZONE, now=NOW)[0].text for row in (ahead, running)]
    assert said == ["Lieferung 10:45 – 11:00", "gilt 10:30 – 10:45"]


# ---- charts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-01-26T09:42:00Z", 24), ("2026-03-29T09:00:00Z", 23), ("2026-10-25T09:00:00Z", 25)]
)
def test_a_day_begins_and_ends_at_midnight_of_the_flow(day: str, hours: int) -> None:
    begin, end = chart_views.period("day", parse_instant(day), ZONE)
    assert end - begin == hours * HOUR
    assert begin <= parse_instant(day) < end


def series(points: list[tuple[int, float | None]], *ahead: tuple[int, int, float], **spec: Any) -> Drawn:
    of = {"node": "bess/price", "port": "out", "field": "price_eur_mwh", "unit": "EUR/MWh", "kind": "step",
          "decimals": None, "title": {"en": "Price", "de": "Preis"}, "marks": [], **spec}  # fmt: skip
    buckets = [Bucket(at, value, value, value, manual=False) for at, value in points]
    return Drawn(cast(Line, of), buckets, ahead, 900 * SECOND)


def test_a_gap_has_no_value_and_what_is_ahead_is_planned() -> None:
    one = series([(0, 50.0), (HOUR, None), (2 * HOUR, 60.0)], (3 * HOUR, 4 * HOUR, 70.0))
    now = 3 * HOUR
    assert [value_at(one, at * HOUR, now) for at in (-1, 0, 1, 2, 3)] == [None, 50.0, None, 60.0, 70.0]
    assert value_at(one, HOUR * 3 // 2, now) is None
    assert value_at(one, 5 * HOUR, now) is None


def test_what_was_measured_says_nothing_of_the_time_to_come() -> None:
    one = series([(0, 50.0)], (HOUR, 2 * HOUR, 70.0))
    minute = HOUR // 60
    assert [value_at(one, at * minute, now=5 * minute) for at in (0, 5, 6, 60)] == [50.0, 50.0, None, 70.0]


def chart(*drawn: Drawn) -> dict[str, Any]:
    teller = chart_views.Teller(
        t=words("de"), lang="de", zone=ZONE, now=NOW, marks={"bess/telemetry|out|soc_percent": [30, 70]}
    )
    return teller.told(drawn, "day", chart_views.period("day", NOW, ZONE))


def test_a_chart_has_a_lane_for_each_unit_and_says_its_figures_in_a_table() -> None:
    begin, end = chart_views.period("day", NOW, ZONE)
    soc = {"unit": "%", "kind": "line", "field": "soc_percent", "node": "bess/telemetry"}
    told = chart(
        series([(begin + hour * HOUR, 50.5 + hour) for hour in range(3)], (end - HOUR, end, 99.0)),
        series([(begin, 20.0)], title={"en": "SoC", "de": "SoC"}, **soc),
    )
    lanes = [(lane["title"], lane["unit"], lane["marks"]) for lane in told["drawing"]["lanes"]]
    assert lanes == [("Preis", "€/MWh", []), ("SoC", "%", [30, 70])]
    assert told["heads"] == ["Preis €/MWh", "SoC %"]
    assert told["rows"] == [
        ["00:00", "50,50", "20,0"], ["01:00", "51,50", "–"], ["02:00", "52,50", "–"], ["23:00", "99,00", "–"],
    ]  # fmt: skip
    assert told["kept"]
    assert told["ahead"]


def test_a_bucket_keeps_its_least_and_its_most_and_a_gap_its_begin() -> None:
    begin, _ = chart_views.period("day", NOW, ZONE)
    of = series([], unit="MW", kind="line", field="active_power_mw")
    kept = [Bucket(begin, -4.9, 2.0, 1.0, manual=False), Bucket(begin + HOUR, None, None, None, manual=False)]
    (lane,) = chart(of._replace(buckets=kept))["drawing"]["lanes"]
    assert lane["series"][0]["points"] == [[begin // 10**6, 1.0, -4.9, 2.0], [(begin + HOUR) // 10**6, None]]


def test_each_site_has_a_line_of_its_own_and_its_name() -> None:
    begin, _ = chart_views.period("day", NOW, ZONE)
    of: dict[str, Any] = {"unit": "MW", "kind": "bars", "field": "active_power_mw", "title": {"en": "P", "de": "P"}}
    north = series([(begin, 1.0)], **of)._replace(site="north")
    south = series([(begin, 2.0)], **of)._replace(site="south", left=3)
    told = chart(north, south)
    (lane,) = told["drawing"]["lanes"]
    assert lane["kind"] == "line"  # bars would hide each other
    assert [(one["site"], one["title"], one["points"][0][1]) for one in lane["series"]] == [
        ("north", "P north", 1.0), ("south", "P south", 2.0),
    ]  # fmt: skip
    assert told["heads"] == ["P north MW", "P south MW"]
    assert [one["title"] for one in told["keys"]] == ["P north", "P south", "3 weitere nicht gezeichnet"]
    assert [one["title"] for one in chart(north)["keys"]] == ["Laden", "Entladen"]  # the only one needs no name


def test_the_last_hours_go_on_as_far_as_something_is_published_half_a_day_at_most() -> None:
    def ends(span: chart_views.Span, *hours: int) -> float:
        ahead = [(NOW, NOW + one * HOUR, 1.0) for one in hours]
        return (chart_views.until(span, NOW, NOW, ahead) - NOW) / HOUR

    assert [ends("24h"), ends("24h", 1, 5), ends("24h", 1, 30), ends("7d", 5)] == [0, 5, 12, 0]


def test_a_chart_opens_on_its_own_period() -> None:
    day = chart_views.DAY
    charts = [tile("chart", span=span) for span in (day, 7 * day, 30 * day)]
    assert [chart_views.opening(one) for one in charts] == ["24h", "7d", "30d"]
    assert chart_views.opening_of(charts[:1]) == "24h"
    assert chart_views.opening_of(charts) is None  # they have none in common
    assert chart_views.opening_of([tile()]) is None


def test_nothing_kept_is_no_drawing() -> None:
    told = chart(series([]))
    assert not told["kept"]
    assert told["rows"] == []


def test_a_clause_without_an_outcome_says_why() -> None:
    clause = {"text": "soc_percent > 70", "value": 75.5, "op": ">", "limit": 70, "outcome": True, "reason": ""}
    assert figures(clause, "de") == "75,5 > 70"
    assert figures({**clause, "outcome": None, "reason": "soc_percent is stale"}, "de") == "soc_percent is stale"
    assert figures({**clause, "op": "< <=", "limit": [5, 95]}, "de") == "75,5 < <= 5 … 95"
