"""The report of a replay as a page: what stands on it, what it asks for (nothing), and what it weighs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.replay.page import page
from flowrunner.replay.page.overview import overview
from flowrunner.replay.page.reading import Slots
from flowrunner.replay.page.render import data_block
from flowrunner.replay.page.series import lengths, pack, runs
from flowrunner.replay.page.words import figure, moment, period, signed
from tests.replay.result_example import ZONE, Result, made

VENDOR = Path(__file__).resolve().parents[2] / "flowrunner" / "replay" / "page" / "vendor"
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


class Seen(HTMLParser):
    """A page taken apart: its tags with their attributes, its texts by section, its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.rows: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self.values: list[str] = []
        self._section = ""
        self._open = ""
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append((tag, known))
        self._open = tag
        if tag in self.raw:
            self.raw[tag].append("")
        if tag == "section" or "data-figure" in known:
            self._section = known.get("id") or known.get("data-figure") or ""
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self.rows[self._section][-1].append("")
            self._cell = True
        if tag == "data":
            self.values.append(known["value"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""
        if tag in ("section", "article"):
            self._section = ""
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._open in self.raw:
            self.raw[self._open][-1] += data
            return
        self.texts[self._section] = self.texts.get(self._section, "") + " " + " ".join(data.split())
        if self._cell:
            rows = self.rows[self._section]
            rows[-1][-1] = f"{rows[-1][-1]} {' '.join(data.split())}".strip()

    def text(self, section: str) -> str:
        return " ".join(self.texts[section].split())


@pytest.fixture(scope="module")
def year() -> Result:
    return made(date(2024, 1, 1), date(2024, 12, 31))


@pytest.fixture(scope="module")
def seen(year: Result) -> Seen:
    return Seen(page(year))


# ---- content ----------------------------------------------------------------------------------------------------


def test_headline_says_what_was_replayed_and_whose_prices_these_are(seen: Seen) -> None:
    head = seen.text("")
    for said in ("Battery North", "1 Jan – 31 Dec 2024", "Europe/Berlin", "10 MWh · 5 MW", "shipped:DE-LU-2024.csv"):
        assert said in head
    assert head.count("Bundesnetzagentur | SMARD.de") == 2


def test_headline_figures_are_those_of_the_result(year: Result, seen: Seen) -> None:
    assert f"{year['profit_eur']:,.2f} €" in seen.text("profit_eur")
    assert str(year["profit_eur"]) in seen.values  # unrounded, for machines
    energy = seen.text("bought_mwh")
    assert f"{year['energy']['bought_mwh']:,.1f} MWh" in energy
    assert f"↑ Sold {year['energy']['sold_mwh']:,.1f} MWh" in energy
    assert f"Lost in conversion {year['energy']['losses_mwh']:,.1f} MWh" in energy
    assert "Sold, not delivered 3.25 MWh" in energy
    assert "Bought, not delivered" not in energy
    assert "90.25 % of 1 MWh bought, 0.9025 MWh can be sold" in seen.text("round_trip")
    assert f"{year['profit_eur'] / year['energy']['sold_mwh']:,.2f} €" in seen.text("eur_per_mwh")
    assert f"{year['battery']['full_cycles']:,.1f}" in seen.text("full_cycles")


def test_mean_prices_come_from_the_orders_so_that_negative_ones_count_as_they_are() -> None:
    result = made(date(2024, 1, 1), date(2024, 1, 1))
    buy, sell = deepcopy(result["orders"][0]), deepcopy(result["orders"][0])
    buy |= {"quantity_mwh": 2.0, "price_eur_mwh": -30.0}
    sell |= {"side": "SELL", "quantity_mwh": 1.0, "price_eur_mwh": 50.0}
    unfilled = sell | {"status": "unfilled", "price_eur_mwh": None}
    result |= {"orders": [buy, sell, unfilled], "revenue_eur": 110.0, "cost_eur": 0.0}
    assert "Mean price sold 50.00 € ↓ Mean price bought −30.00 €" in Seen(page(result)).text("eur_per_mwh")


def test_months_table_has_every_month_and_their_sum(year: Result, seen: Seen) -> None:
    head, *months, total = seen.rows["months"]
    assert [cell for cell in head if cell] == [
        "Month", "Profit €", "Share of the best", "Bought MWh", "Sold MWh", "Orders", "Cycles",
    ]  # fmt: skip
    assert len(months) == 12
    for shown, told in zip(months, year["months"], strict=True):
        assert shown[1] == figure(told["profit_eur"], 2)
        assert shown[3:6] == [
            figure(told["bought_mwh"], 1), figure(told["sold_mwh"], 1), figure(told["orders"]),
        ]  # fmt: skip
    assert [row[0] for row in months[:2]] == ["Jan 2024", "Feb 2024"]
    assert total[:2] == ["In all", figure(year["profit_eur"], 2)]


def test_best_and_worst_days_lead_to_their_stretch_of_the_charts(year: Result, seen: Seen) -> None:
    ranked = sorted(year["days"], key=lambda one: one["profit_eur"])
    rows = seen.rows["days"]
    assert rows[1][1] == figure(ranked[-1]["profit_eur"], 2)
    assert rows[7][1] == figure(ranked[0]["profit_eur"], 2)
    best = date.fromisoformat(ranked[-1]["date"])
    assert f"{best.day} {best:%b} {best.year}" in rows[1][0]
    (link,) = [known for tag, known in seen.tags[-10_000:] if tag == "a" and _covers(known, best)]
    assert int(link["data-to"] or 0) - int(link["data-from"] or 0) == 86400


def _covers(known: dict[str, str | None], day: date) -> bool:
    midnight = datetime.combine(day, datetime.min.time(), ZONE).timestamp()
    return known.get("data-from") == str(round(midnight)) and int(known["data-to"] or 0) - midnight <= 90000


def test_days_when_clocks_change_are_as_long_as_they_were() -> None:
    for day, hours in ((date(2024, 3, 31), 23), (date(2024, 10, 27), 25)):
        found = Seen(page(made(day, day, below=200.0)))
        (link,) = [known for tag, known in found.tags if tag == "a" and _covers(known, day) and known["href"]][-1:]
        assert int(link["data-to"] or 0) - int(link["data-from"] or 0) == hours * 3600
        assert f"{hours} hours" in found.text("days")


def test_orders_by_status_blocked_limits_and_rules(seen: Seen, year: Result) -> None:
    sides = [one["side"] for one in year["orders"]]
    assert seen.rows["statuses"][1] == [
        "filled", figure(sides.count("BUY")), figure(sides.count("SELL")), figure(len(sides)),
    ]  # fmt: skip
    assert seen.rows["blocked"][1] == ["energy", "1,849", "3,644"]
    assert "it would end at -0.5 %, below 5 %" in seen.text("blocked")
    assert seen.rows["limits"][1:] == [
        ["At full power", "1,204.0", "13.7 %"],
        ["At the lowest state of charge", "12.5", "0.1 %"],
    ]
    rules = seen.rows["rules"]
    assert rules[1] == ["price_eur_mwh <= 45", "", "2,334 of 8,784"]
    assert rules[2] == ["soc_percent < 0", "", "0 of 8,700, 84 not judged never"]


def test_a_long_list_of_orders_is_begun_and_the_rest_is_where_it_says(seen: Seen, year: Result) -> None:
    assert len(year["orders"]) > 100
    assert len(seen.rows["orders"]) == 101
    assert f"{len(year['orders']) - 100:,} more are in the file" in seen.text("orders")
    assert ("details", {}) in seen.tags  # closed


def test_unfilled_orders_say_why() -> None:
    result = made(date(2024, 5, 1), date(2024, 5, 3))
    result["orders"][0] |= {"status": "unfilled", "price_eur_mwh": None, "reason": "the slot cost 120 EUR/MWh"}
    row = Seen(page(result)).rows["orders"][1]
    assert row[3] == "–"
    assert row[5] == "unfilled the slot cost 120 EUR/MWh"


def test_without_orders_it_says_why_and_draws_no_charts() -> None:
    result = made(date(2024, 5, 1), date(2024, 5, 31), below=-1000.0, above=9000.0)
    found = Seen(page(result | {"blocked": {}}))
    assert "These never did: buy: soc_percent < 0 never held (0 of 8,700, 84 not judged)" in found.text("empty")
    assert "charts" not in found.texts
    assert "months" not in found.texts
    assert len(found.raw["script"]) == 1  # the theme's
    assert "These never did" not in Seen(page(result)).text("empty")
    assert "The guard held back all" in Seen(page(result)).text("empty")
    assert "no rule that could make one" in Seen(page(result | {"blocked": {}, "rules": {}})).text("empty")


def test_remarks_are_shown(year: Result) -> None:
    assert Seen(page(year | {"remarks": ["Mind the gap."]})).text("remarks") == "Mind the gap."


def test_a_result_that_is_none_is_refused_with_the_key(year: Result) -> None:
    with pytest.raises(msgspec.ValidationError, match="profit_eur"):
        page({key: value for key, value in year.items() if key != "profit_eur"})
    short = deepcopy(year)
    short["series"]["slots"]["power_mw"].pop()
    with pytest.raises(ValueError, match=r"power_mw: 8783 values for 8784 slots"):
        page(short)
    back = deepcopy(year)
    back["series"]["slots"]["start"][7] = 0
    with pytest.raises(ValueError, match="start: 0 does not come after"):
        page(back)


# ---- what it asks for, weighs, and refuses to run -------------------------------------------------------------------


def test_nothing_comes_from_outside(year: Result) -> None:
    text = page(year)
    assert "://" not in text
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|\beval\(|new Function", text)
    for tag, known in Seen(text).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert "src" not in known
        assert "style" not in known
        assert not [name for name in known if name.startswith("on")]
        assert (known.get("href") or "#").startswith("#")


def test_the_policy_allows_these_scripts_and_this_style_and_nothing_else(seen: Seen) -> None:
    (policy,) = [known["content"] for tag, known in seen.tags if known.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    assert rules["default-src"] == "'none'"
    kinds = [known.get("type") for tag, known in seen.tags if tag == "script"]
    run = [text for kind, text in zip(kinds, seen.raw["script"], strict=True) if kind is None]
    assert rules["script-src"].split() == [_hash(text) for text in run]
    assert rules["style-src"].split() == [_hash(text) for text in seen.raw["style"]]
    assert "unsafe" not in (policy or "")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("key", ["flow", "title", "prices", "credit", "remarks", "rules", "blocked", "orders"])
def test_what_others_wrote_stays_text(key: str) -> None:
    result = made(date(2024, 5, 1), date(2024, 5, 3))
    clean = Seen(page(result | {"remarks": ["x"]})).raw["script"]
    evil: dict[str, Any] = {
        "remarks": [EVIL],
        "rules": {EVIL: {"conditions": [{"text": EVIL}] * 2}},
        "blocked": {EVIL: {"example": EVIL}},
        "orders": [one | {"rule": EVIL, "status": EVIL, "order": EVIL} for one in result["orders"]],
    }
    found = Seen(page(result | {"remarks": ["x"]} | {key: evil.get(key, EVIL)}))
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert found.raw["script"] == clean
    assert any(EVIL in text for text in found.texts.values())


def test_data_end_no_script_element(year: Result) -> None:
    block = data_block({"zone": f"<!-- {EVIL} & x"})
    assert not set("<>&") & set(block)
    assert json.loads(block) == {"zone": f"<!-- {EVIL} & x"}
    with pytest.raises(ValueError, match="there is no time zone"):
        page(year | {"zone": EVIL})


def test_the_same_result_makes_the_same_bytes(year: Result, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(page(deepcopy(year)), encoding="utf-8")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_year_of_quarter_hours_weighs_less_than_a_megabyte() -> None:
    result = made(date(2024, 1, 1), date(2024, 12, 31), parts=4)
    slots = result["series"]["slots"]
    assert len(slots["start"]) == 35136
    slots["price_eur_mwh"] = [price + i * 7 % 11 / 10 for i, price in enumerate(slots["price_eur_mwh"])]
    assert len(page(result).encode()) < 700_000


def test_vendored_files_are_those_that_the_readme_names() -> None:
    named = re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in named} == {"uPlot.iife.min.js", "uPlot.min.css"}
    for name, digest in named:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
    assert "Leon Sorokin" in (VENDOR / "uPlot.LICENSE").read_text()


# ---- columns and words --------------------------------------------------------------------------------------------


def unpacked(text: str, scale: int) -> list[float | None]:
    """What the page's script does."""
    found: list[float | None] = []
    last = 0
    for word in text.split(","):
        last += int(word) if word not in ("", "x") else 0
        found.append(None if word == "x" else last / scale)
    return found


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1))
def test_columns_come_back_rounded_and_gaps_stay_gaps(values: list[float | None]) -> None:
    back = unpacked(pack(values, 100), 100)
    assert len(back) == len(values)
    for one, other in zip(values, back, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or abs(one - other) <= 0.005 + 1e-6


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([0], [[0, 3600, 1]]),
        ([0, 3600, 7200], [[0, 3600, 3]]),
        ([0, 3600, 10800, 14400], [[0, 3600, 2], [10800, 3600, 2]]),  # an hour is missing
        ([0, 900, 1800, 86400, 87300], [[0, 900, 3], [86400, 900, 2]]),  # most of a day is missing
        ([0, 3600, 7200, 8100, 9000], [[0, 3600, 2], [7200, 900, 3]]),  # from hours to quarter-hours
        ([0, 900, 1800, 5400, 9000], [[0, 900, 2], [1800, 3600, 3]]),  # and back
    ],
)
def test_slots_of_one_length_make_a_run(at: Sequence[int], expected: list[list[int]]) -> None:
    assert runs(at) == expected


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_no_slot_reaches_into_the_next(gaps: list[int]) -> None:
    at = [sum(gaps[:n]) * 900 for n in range(len(gaps) + 1)]
    for start, following, length in zip(at, at[1:], lengths(at), strict=False):
        assert 0 < length <= min(following - start, 3600)


def test_what_is_not_known_is_a_gap_in_the_overview_too() -> None:
    at = [n * 3600 for n in range(4)]
    columns: dict[str, list[float | None]] = {"power_mw": [0.0] * 4, "soc_percent": [0.0] * 4, "profit_eur": [0.0] * 4}
    price = overview(Slots(start=at, price_eur_mwh=[10.0, None, -10.0, 20.0], **columns), 4 * 3600)[0]
    (line,) = [path for kind, path in price.paths if kind == "price line"]
    assert line.count("M") == 2
    assert price.zero is not None


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(-1234.5, 2, "−1,234.50"), (-0.004, 2, "0.00"), (0, 0, "0"), (1e6, 0, "1,000,000"), (-0.4, 0, "0")],
)
def test_figure(value: float, digits: int, expected: str) -> None:
    assert figure(value, digits) == expected


def test_words() -> None:
    assert [signed(4.9, 1), signed(-4.9, 1), signed(0.01, 1)] == ["+4.9", "−4.9", "0.0"]
    assert period(date(2024, 1, 1), date(2024, 1, 1)) == "1 Jan 2024"
    assert period(date(2024, 1, 1), date(2024, 1, 7)) == "1 – 7 Jan 2024"
    assert period(date(2023, 12, 31), date(2024, 1, 7)) == "31 Dec 2023 – 7 Jan 2024"
    twice = [moment(f"2024-10-27T0{hour}:00:00.000Z", ZONE) for hour in (0, 1)]
    assert twice == ["2024-10-27 02:00 CEST", "2024-10-27 02:00 CET"]
    assert moment(datetime(2024, 7, 1, tzinfo=UTC).isoformat(), ZONE) == "2024-07-01 02:00"


def test_the_data_is_json_for_the_script(seen: Seen, year: Result) -> None:
    kinds = [known.get("type") for tag, known in seen.tags if tag == "script"]
    data = json.loads(seen.raw["script"][kinds.index("application/json")])
    assert data["runs"] == [[year["series"]["slots"]["start"][0], 3600, 8784]]
    assert [len(data[unit]) for unit in ("days", "weeks", "months")] == [366, 53, 12]
    assert unpacked(data["price"], data["scales"]["price"]) == year["series"]["slots"]["price_eur_mwh"]
