"""The flow page as the server makes it, and what its scripts ask for."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowrunner.web.pages import flow
from flowrunner.web.pages.flow_words import WORDS
from flowrunner.web.pages.words import places
from tests.web.site import FLOW, Site, site

pytestmark = pytest.mark.anyio
EVIL = "</script><img src=x onerror=alert(1)>"


async def page(web: Site, path: str = "/flows/site", **headers: str) -> str:
    answer = await web.http.get(path, headers={"accept": "text/html", **headers})
    assert answer.status_code == 200, answer.text
    return answer.text


def rows(text: str) -> dict[str, dict[str, str]]:
    """Node → part → text, of the table."""
    found = {}
    for name, body in re.findall(r'<tr data-node="([^"]+)"(.*?)</tr>', text, re.DOTALL):
        cells = re.findall(r'data-part="(\w+)">([^<]*)<', body)
        found[name] = {part: html.unescape(said) for part, said in cells}
    return found


def data(text: str) -> Any:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert match
    return json.loads(match[1])


# ---- the page -------------------------------------------------------------------------------------------------------


async def test_flows_leads_to_the_first_flow(web: Site) -> None:
    answer = await web.http.get("/flows", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/flows/site")


async def test_the_table_with_the_newest_values_is_in_the_page() -> None:
    async with site() as web:
        found = rows(await page(web))
        assert list(found) == ["rest", "hand", "record", "status"]  # in the order of the file
        nothing = {"state": "waiting", "last": "nothing yet", "rate": "–", "age": "–", "inbox": "–", "errors": "0"}
        assert found["hand"] == nothing
        assert found["record"]["inbox"] == "0/1,000"
        await web.post('{"soc_percent": 75.5, "power_mw": -2.25}')
        await web.until(lambda: web.record is not None and "power_mw" in web.record, "no record")
        found = rows(await page(web))
        assert found["record"]["state"] == "active"
        assert found["record"]["last"] == "soc_percent 75.5 %, power_mw −2.25 MW"
        assert found["record"]["age"].endswith(" s ago")
        german = rows(await page(web, **{"accept-language": "de"}))
        assert german["record"]["last"] == "soc_percent 75,5 %, power_mw −2,25 MW"
        assert german["record"]["state"] == "aktiv"


async def test_half_a_figure_is_not_shown() -> None:
    async with site() as web:
        await web.http.post("/values", json={"name": "n" * 40, "soc_percent": 75.5125})
        await web.until(lambda: web.record is not None, "no record")
        assert "75.5125"[:2] not in rows(await page(web))["record"]["last"]
        assert rows(await page(web))["record"]["last"].endswith(", …")


async def test_a_stale_value_is_said_to_be_stale() -> None:
    async with site(speed=60.0) as web:
        await web.post('{"soc_percent": 75.5}')
        last = web.last
        await web.until(lambda: last("record", "stale") is not None, "nothing became stale")
        text = await page(web)
        assert rows(text)["record"]["state"] == "stale"
        assert '<tr data-node="record" data-state="stale" class="stale">' in text
        work = (await web.http.get("/api/v1/flows/site/work")).json()
        assert work["nodes"]["record"]["stale"] == ["soc_percent"]
        assert work["at"] - work["nodes"]["record"]["stale_at"] >= 90_000


async def test_text_from_outside_is_text() -> None:
    async with site() as web:
        await web.http.post("/values", json={"name": EVIL})
        await web.until(lambda: web.record is not None, "no record")
        text = await page(web)
        assert EVIL not in text
        assert "onerror" in rows(text)["record"]["last"] or "…" in rows(text)["record"]["last"]
        assert data(text)["rows"]["record"]["last"].startswith("name </script>")


async def test_a_flow_that_is_not_there_is_a_page_that_says_so(web: Site) -> None:
    answer = await web.http.get(f"/flows/{EVIL.replace('/', '%2F')}", headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert "<img" not in answer.text
    answer = await web.http.get("/flows/nobody", headers={"accept": "text/html"})
    assert "There is no flow nobody." in answer.text


async def test_what_does_not_run_is_named_with_its_reason() -> None:
    text = FLOW.replace("hand: {type: manual-in,", "hand: {type: manual-in, enabled: false,")
    async with site(text) as web:
        found = await page(web)
        assert list(rows(found)) == ["rest", "record", "status"]
        assert re.search(r'<b class="mono">hand</b> \S+', found)


async def test_no_request_is_needed_to_begin(web: Site) -> None:
    """Everything that is drawn at first is in the page."""
    told = data(await page(web))
    assert {one["id"] for one in told["layout"]["nodes"]} == {"rest", "hand", "record", "status"}
    assert {one["from"] for one in told["layout"]["wires"]} == {"rest", "hand", "record"}
    assert set(told["rows"]) == {"rest", "hand", "record", "status"}
    assert told["refused"] == []
    assert told["zone"] == "UTC"
    assert told["decides"] == []


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_it_with_the_same_places(key: str) -> None:
    english, german = WORDS[key]
    assert english
    assert german
    assert places(english) == places(german)


def test_every_word_is_said_somewhere_and_every_said_word_is_there() -> None:
    """What is put together of parts (``flow.state-`` + state) counts by its beginning."""
    web = Path(flow.__file__).resolve().parent.parent
    files = [*(web / "static").glob("*.js"), web / "templates" / "flow.html", web / "pages" / "flow.py"]
    text = "\n".join(one.read_text("utf-8") for one in files)
    said = set(re.findall(r"""["'](flow\.[a-z][\w-]*)["']""", text))
    begun = tuple(re.findall(r'["`](flow\.[a-z-]*)(?:" ~|\$\{|["`] \+)', text))
    assert {one for one in said if not one.endswith((".html", "-"))} - set(WORDS) - {
        "flow.css",
        "flow.js",
        "flow.py",
    } == set()
    assert [key for key in WORDS if key not in said and not key.startswith(begun)] == []


# ---- what scripts ask for -------------------------------------------------------------------------------------------


async def test_the_source_has_the_lines_of_each_node(web: Site) -> None:
    told = (await web.http.get("/api/v1/flows/site/source")).json()
    lines = ["".join(text for _, text in line) for line in told["lines"]]
    assert lines == FLOW.split("\n")
    first, last = told["spans"]["rest"]
    assert lines[first - 1] == "  rest:"
    assert lines[last - 1].startswith("    reply:")
    assert told["refused"] == []


async def test_a_secret_is_in_no_line_of_the_source() -> None:
    text = FLOW.replace("api_key: ${SITE_KEY:-}", "api_key: ${SITE_KEY:-hunter2-hunter2}")
    assert text != FLOW
    async with site(text) as web:
        answer = await web.http.get("/api/v1/flows/site/source")
        assert "hunter2" not in answer.text
        assert "hunter2" not in await page(web)


async def test_a_refused_file_is_told_with_its_lines(tmp_path: Path) -> None:
    async with site(folder=tmp_path) as web:
        newer = FLOW.replace("stale_after: 90s", "stale_afte: 90s").replace("flow: site", "flow: site  # newer")
        (tmp_path / "site.yaml").write_text(newer, "utf-8")
        assert (await web.reloader.reload()).result == "refused"
        told = (await web.http.get("/api/v1/flows/site/source")).json()
        (wrong,) = told["refused"]
        assert (await web.http.get("/api/v1/flows/site/refused")).json() == [wrong]
        lines = newer.split("\n")
        assert "stale_afte:" in lines[wrong["line"] - 1]
        shown = ["".join(text for _, text in line) for line in wrong["lines"]]
        assert (
            shown
            == newer.replace('"${SITE_KEY:-}"', '"${SITE_KEY}"').split("\n")[wrong["first"] - 1 : wrong["first"] + 4]
        )
        assert "did you mean 'stale_after'?" in wrong["hint"]
        text = await page(web)
        assert "The newer file was refused; the one before runs on." in text
        assert f"site.yaml:{wrong['line']}, column {wrong['column']}" in text
        (tmp_path / "site.yaml").write_text(FLOW, "utf-8")
        await web.reloader.reload()
        assert 'data-note="refused"' not in await page(web)


async def test_the_picture_changes_with_the_wiring_alone(tmp_path: Path) -> None:
    async with site(folder=tmp_path) as web:
        before = (await web.http.get("/api/v1/flows/site/layout")).json()
        for change, same in (("stale_after: 60s", True), ("stale_after: 60s, prefer: [rest]", True)):
            (tmp_path / "site.yaml").write_text(FLOW.replace("stale_after: 90s", change), "utf-8")
            assert (await web.reloader.reload()).result == "applied"
            now = (await web.http.get("/api/v1/flows/site/layout")).json()
            assert (now["nodes"] == before["nodes"]) is same
            assert now["generation"] > before["generation"]
        (tmp_path / "site.yaml").write_text(FLOW.replace("from: [rest, hand]", "from: rest"), "utf-8")
        assert (await web.reloader.reload()).result == "applied"
        now = (await web.http.get("/api/v1/flows/site/layout")).json()
        assert {one["from"] for one in now["wires"]} == {"rest", "record"}


async def test_work_counts_what_nodes_did() -> None:
    async with site() as web:
        await web.post('{"soc_percent": 75.5}')
        await web.until(lambda: web.record is not None, "no record")
        told = (await web.http.get("/api/v1/flows/site/work")).json()["nodes"]
        assert told["record"]["received"] == 1
        assert told["record"]["sent"] == 1
        assert told["record"]["process_seconds"] > 0
        assert told["hand"]["process_seconds"] == told["hand"]["received"] == 0
        assert told["hand"]["stale_at"] is None


async def test_the_reference_of_a_type(web: Site) -> None:
    told = (await web.http.get("/api/v1/flows/site/nodes/record/reference")).json()
    assert told["type"] == "merge"
    assert told["doc"].startswith("Keep the newest")
    options = {one["name"]: one for one in told["options"]}
    assert options["stale_after"]["about"]
    assert options["stale_after"]["depth"] == 0
    assert told["example"]
    assert "error" in told["ports"]
    below = (await web.http.get("/api/v1/flows/site/nodes/rest/reference")).json()["options"]
    assert max(one["depth"] for one in below) > 0


@pytest.mark.parametrize("path", ["layout", "source", "refused", "work", "nodes/record/reference"])
async def test_unknown_names_are_refused(web: Site, path: str) -> None:
    answer = await web.http.get(f"/api/v1/flows/nobody/{path}")
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown")
    answer = await web.http.get("/api/v1/flows/site/nodes/nobody/reference")
    assert answer.status_code == 404


async def test_an_old_wish_is_no_stale_value() -> None:
    """A rule that makes none now has nothing to renew: only what it reads grows old."""
    then = "{side: BUY, quantity_mwh: 1.0, order_type: MARKET}"
    rule = f"  low: {{type: rule, from: record, when: [soc_percent < 30], then: {then}}}\n"
    market = "market: {name: epex_at, slot: 15min}\nnodes:"
    async with site(FLOW.replace("nodes:", market, 1) + rule, speed=60.0) as web:
        await web.post('{"soc_percent": 20}')
        last = web.last
        await web.until(lambda: last("low") is not None, "no wish")
        await web.until(lambda: last("record", "stale") is not None, "nothing became stale")
        work = (await web.http.get("/api/v1/flows/site/work")).json()["nodes"]
        assert work["record"]["stale"] == ["soc_percent"]
        assert work["low"]["stale"] == []
        assert rows(await page(web))["low"]["state"] == "active"


async def test_the_scripts_have_the_words_that_they_say(web: Site) -> None:
    given = data(await page(web))["words"]
    folder = Path(flow.__file__).parents[1] / "static"
    names = ("flow", "strip", "inspector", "tap", "graph", "graph_box", "tree")
    said = {
        key for name in names for key in re.findall(r'"(flow\.[a-z-]+)"', (folder / f"{name}.js").read_text("utf-8"))
    }
    assert len(said) > 60
    assert said <= given.keys()
    assert not flow.OF_THE_TEMPLATE & given.keys()
    assert WORDS.keys() >= flow.OF_THE_TEMPLATE


@pytest.mark.parametrize("what", ["source", "layout", "nodes/record/reference"])
async def test_what_holds_no_secret_is_compressed(web: Site, what: str) -> None:
    path = f"/api/v1/flows/site/{what}"
    small = await web.http.get(path, headers={"accept-encoding": "gzip"})
    plain = await web.http.get(path, headers={"accept-encoding": "identity"})
    assert small.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert small.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert small.json() == plain.json()
    assert int(small.headers["content-length"]) < len(plain.content)


@pytest.mark.parametrize("path", ["/flows/site", "/events", "/api/v1/flows/site/nodes/record", "/api/v1/me"])
async def test_what_may_hold_one_is_not(web: Site, path: str) -> None:
    """Its length would tell of a session's token, or of a value, to who can have it repeat some text."""
    answer = await web.http.get(path, headers={"accept-encoding": "gzip, deflate, br"})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers
