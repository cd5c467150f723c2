"""What the engine says by a code is said in the reader's language; what it says in sentences is marked as English."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowrunner.expression.errors import Unusable
from flowrunner.message import NOT_YET
from flowrunner.web.pages.dashboard import WORDS
from flowrunner.web.pages.engine_words import Said, alarm, refusal, trouble
from flowrunner.web.pages.words import translator
from tests.web.site import site

ROOT = Path(__file__).resolve().parents[2]
GERMAN, ENGLISH = translator(WORDS, "de"), translator(WORDS, "en")
COMPUTED = {"stale", "uncertain", "bad", "untrusted"}
"""Codes that a variable holds: of a value's trouble."""


def codes() -> set[str]:
    """Every code that the source gives to a Refusal."""
    found = set(COMPUTED)
    for file in [*(ROOT / "flowrunner").rglob("*.py"), *(ROOT / "nodes").glob("*.py")]:
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Refusal":
                first = call.args[0] if call.args else None
                if isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_every_code_of_a_refusal_has_its_words_and_no_word_is_left_over() -> None:
    assert len(codes()) > 15
    assert {key.removeprefix("refusal.") for key in WORDS if key.startswith("refusal.")} == codes()
    for code in codes():
        assert refusal(code, GERMAN) != refusal(code, ENGLISH)
    assert refusal("one-of-another-version", GERMAN) == "one-of-another-version"


@pytest.mark.parametrize(
    "reason", ["stale", "uncertain", "bad", "missing", "null", "not a finite number", "not a single value", NOT_YET]
)
def test_what_is_wrong_with_a_value_is_said(reason: str) -> None:
    said = trouble(str(Unusable("x", reason)).removeprefix("x is "), GERMAN)
    assert said is not None
    assert said != reason
    assert trouble("something else", GERMAN) is None


def test_an_alarm_that_the_engine_words_is_known_by_its_code() -> None:
    told = alarm("sell: SELL 1 MWh for 18:00: overheated is stale (stopped)", GERMAN)
    assert told == (
        "durch Schwellwert gesperrt",
        Said("sell: SELL 1 MWh for 18:00: overheated is stale (stopped)", True),
    )
    assert alarm("price: no answer (source-away)", GERMAN) == ("", Said("price: no answer (source-away)", True))
    for own in ("Zu heiß!", "zu heiß (Halle 3)", "too hot (see B)"):
        assert alarm(own, GERMAN) == ("", Said(own))


# ---- on the page -----------------------------------------------------------------------------------------------------

FLOW = """flow: site
timezone: Europe/Vienna
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  hand:
    type: manual-in
    fields: {soc_percent: {min: 0, max: 100, unit: "%"}, temperature_c: {unit: °C}, price_eur_mwh: {}}
  hot: {type: threshold, from: hand, field: temperature_c, above: 40}
  buy:
    type: rule
    from: hot
    when: [soc_percent < 30, price_eur_mwh <= 60]
    then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard: {type: risk-guard, from: buy, price: {min: -500, max: 50}, stop_while: [hot], manual: allow}
  orders: {type: log, from: [guard, guard.blocked]}
  alarms: {type: alarm-out, from: guard.blocked}
dashboard:
  tiles:
    - {tile: why, from: [buy, guard]}
    - {tile: events}
"""


async def german(web: Any) -> str:
    answer = await web.http.get("/", headers={"accept": "text/html", "accept-language": "de"})
    assert answer.status_code == 200
    return re.sub(r'<script type="application/json".*?</script>', "", answer.text, flags=re.DOTALL)


@pytest.mark.anyio
async def test_a_german_page_says_why_in_german_and_quotes_the_engine() -> None:
    async with site(FLOW) as web:
        values = {"soc_percent": 20, "temperature_c": 25, "price_eur_mwh": 55}
        answer = await web.http.post("/api/v1/flows/site/nodes/hand/values", json={"values": values})
        assert answer.status_code == 200, answer.text
        alarms = web.engine.runtime.workers["site/alarms"]
        await web.until(lambda: alarms.at_rest and alarms.counters.received > 0, "the guard has blocked it")
        await web.engine.store.flush()
        page = await german(web)
        assert "Der Wächter sperrt es" in page
        assert "Preis außerhalb der Grenzen" in page
        said = "55 EUR/MWh is outside of -500 to 50"
        assert page.count(said) >= 3  # the card, the event, the alarm
        quoted = re.findall(r'<q class="eng" lang="en">(.*?)</q>', page)
        assert sum(said in one for one in quoted) == page.count(said)
        assert not re.search(r">\s*(wish|blocked|passed|repeat|price)\s*<", page)


@pytest.mark.anyio
async def test_what_is_wrong_with_a_value_that_no_tile_shows_is_said_too() -> None:
    async with site(FLOW) as web:
        answer = await web.http.post("/api/v1/flows/site/nodes/hand/values", json={"values": {"soc_percent": 20}})
        assert answer.status_code == 200
        buy = web.engine.runtime.workers["site/buy"]
        await web.until(lambda: buy.at_rest and buy.counters.received > 0, "it is judged")
        page = await german(web)
        assert re.search(r">Preis</span><span[^>]*>fehlt<", page)
        assert json.dumps("is missing") not in page
