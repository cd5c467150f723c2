"""``/events`` and ``/orders/{order}`` as HTML from a real server, read as a browser without JavaScript reads them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from urllib.parse import quote

import httpx2
import pytest

from flowrunner.store import Alarms, Raised
from tests.orders.example import BUY
from tests.web import eventful
from tests.web.eventful import ALARM_LINE, FLOW, QUIET, enter, until_alarm, until_clear
from tests.web.site import site

pytestmark = pytest.mark.anyio
VOID = frozenset({"meta", "link", "input", "img", "br", "use", "path", "circle", "rect"})


class Read(HTMLParser):
    """What a page says: its text, its links, its form, and whether its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.inputs: dict[str, str] = {}
        self.said: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self._link = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "a":
            self._link = given.get("href", "")
        if tag in ("input", "select"):
            self.inputs[given.get("name", "")] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag
        if tag == "a":
            self._link = ""

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not (self._open and self._open[-1] in ("script", "style")):
            self.said.append(text)
            if self._link:
                self.links[text] = self._link

    @property
    def text(self) -> str:
        return " ".join(self.said)


async def read(http: httpx2.AsyncClient, path: str, status: int = 200, lang: str = "en") -> Read:
    answer = await http.get(path, headers={"cookie": f"lang={lang}", "accept": "text/html"})
    assert answer.status_code == status, answer.text[:2000]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Read(answer.text)


@pytest.fixture(scope="module")
async def journal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    async with eventful.journal(tmp_path_factory.mktemp("data")) as http:
        yield http


async def test_nothing_yet_says_what_to_write() -> None:
    async with site(FLOW) as web:
        page = await read(web.http, "/events")
        assert "Nothing has happened yet" in page.text
        assert "type: alarm-out" in page.text
        assert "No alarms" in (await read(web.http, "/events?kind=alarm,acknowledgement")).text
        found = await read(web.http, "/events?text=x")
        assert "No event that is kept passes these filters." in found.text
        assert "alarm-out" not in found.text
        assert "Noch ist nichts passiert" in (await read(web.http, "/events", lang="de")).text


async def test_an_alarm_and_what_becomes_of_it() -> None:
    async with site(FLOW) as web:
        await enter(web, 45, by="hs", reason="sensor")
        alarm = await until_alarm(web)
        page = await read(web.http, "/events")
        assert "Critical alarm temperature_c 45 °C" in page.text
        assert "open goes on" in page.text
        assert page.links["site/alarms"] == "/flows/site#node=alarms"
        assert f"site.yaml:{ALARM_LINE}" in page.text
        assert "Entered by hand temperature_c: 45" in page.text
        assert "by hs “sensor”" in page.text
        assert "Times in Europe/Vienna" in page.text
        assert "Alarms 1 1 not acknowledged" in page.text
        await enter(web, 20)
        await until_clear(web)
        await web.http.post(f"/api/v1/alarms/{alarm.id}/acknowledge", json={"by": "hs"})
        page = await read(web.http, "/events", lang="de")
        assert "quittiert von hs vorbei: der Schwellwert ist frei" in page.text
        assert "temperature_c: 45 → 20" in page.text
        assert "nicht quittiert" not in page.text


async def test_filters_work_as_a_form() -> None:
    """What a browser without JavaScript sends finds the same; times are the flow's zone, in the file UTC."""
    async with site(FLOW) as web:
        await enter(web, 20, by="Anna")
        await enter(web, 21, by="Bert")
        form = (await read(web.http, "/events?kind=entry")).inputs
        assert set(form) >= {"kind", "text", "severity", "from", "to"}
        assert form["kind"] == "entry"
        query = "&".join(f"{name}={quote(value)}" for name, value in {**form, "text": "anna"}.items())
        page = await read(web.http, f"/events?{query}")
        assert "by Anna" in page.text
        assert "by Bert" not in page.text
        assert page.links["CSV"] == "/api/v1/events.csv?kind=entry&text=anna"
        assert page.links["Search: anna"] == "/events?kind=entry"
        late = await read(web.http, "/events?from=2099-07-01T12:00")
        assert late.inputs["from"] == "2099-07-01T12:00"
        assert late.links["CSV"] == "/api/v1/events.csv?from=2099-07-01T10:00:00.000Z"


@pytest.mark.parametrize(
    ("query", "said"),
    [("kind=nothing", "kind: 'nothing' is none"), ("from=soon", "from: 'soon' is not a time"),
     ("before=x", "before: 'x' is no place in the list"), ("severity=high", "severity: 'high' is none")],
)  # fmt: skip
async def test_a_filter_that_cannot_be(journal: httpx2.AsyncClient, query: str, said: str) -> None:
    page = await read(journal, f"/events?{query}", status=422)
    assert said in page.text
    assert page.links["Reset"] == "/events"


async def test_an_order_stands_once_with_all_its_steps(journal: httpx2.AsyncClient) -> None:
    page = await read(journal, "/events?kind=order")
    assert page.text.count("The whole story") == 4
    assert f"/orders/{BUY}" in page.links.values() or "The whole story" in page.links
    assert "Sell 1 MWh at 180.00 €/MWh for 02:00 to 02:15" in page.text
    assert "outcome not known" in page.text
    german = await read(journal, "/events?kind=order", lang="de")
    assert "Kauf 0,5 MWh zu −45,50 €/MWh für 01:30 bis 01:45" in german.text
    assert "Samstag, 25. Januar 2025" in german.text


async def test_older_pages_are_reached(journal: httpx2.AsyncClient) -> None:
    """The link to what is older goes on with the same filters; a page further back leads to the newest."""
    async with site(QUIET) as web:
        row = ("reload", "hs", "", "", "", "", '{"result": "applied"}')
        await web.engine.store.submit(
            lambda sql: sql.executemany(
                "INSERT INTO audit (at, kind, who, origin, flow, node, text, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(number, *row) for number in range(150)],
            )
        )
        first = await read(web.http, "/events?kind=reload")
        assert first.text.count("Flow reloaded") == 100
        assert "Thursday, 1 January 1970" in first.text
        older = first.links["Older events"]
        assert older.startswith("/events?kind=reload&before=")
        second = await read(web.http, older)
        assert second.text.count("Flow reloaded") == 50
        assert "That is all that is kept." in second.text
        assert second.links["To the newest"] == "/events?kind=reload"


async def test_the_story_of_an_order(journal: httpx2.AsyncClient) -> None:
    page = await read(journal, "/orders/epex_at-20250125T0130Z-BUY")
    assert "Buy 0.5 MWh at −45.50 €/MWh for 01:30 to 01:45" in page.text
    assert "0.5 MWh (of 1.75 MWh because of loaded)" in page.text
    assert "paper: not sent to the exchange" in page.text
    for part in ("decided", "being sent", "accepted", "soc_percent < 50", "20 < 50", "meter@test:5 > hot", "meter"):
        assert part in page.text
    assert "400: SELL disabled at SoC 80.0%" in (await read(journal, "/orders/epex_at-20250125T0145Z-SELL")).text


async def test_an_order_that_is_not_there(journal: httpx2.AsyncClient) -> None:
    for name in ("x", "%3Cscript%3Ealert(1)", "a" * 3000):
        page = await read(journal, f"/orders/{name}", status=404)
        assert "There is no such order" in page.text


async def test_texts_from_outside_are_texts() -> None:
    """An entry whose reason is markup: it is there as text, and makes no element."""
    evil = "</script><img src=x onerror=alert(1)>\"'<!--"
    async with site(FLOW) as web:
        plain = await read(web.http, "/events")
        await enter(web, 20, by=evil, reason=evil)
        alarm = Raised(
            flow="site", node=evil, wire=evil, key=evil, identity="", severity="info", text=evil,
            at=web.engine.clock.now(),
        )  # fmt: skip
        await Alarms(web.engine.store).add([alarm])
        answer = await web.http.get(f"/events?text={quote('onerror')}")
        assert "<img" not in answer.text
        assert answer.text.count("onerror") >= 4
        assert "onerror=alert" not in re.sub(r"&lt;img[^<]*", "", answer.text)
        page = Read(answer.text)
        assert evil.replace("\n", " ") in page.text
        assert "img" not in page.tags
        assert set(page.tags) - set(plain.tags) <= {"b", "section", "h2", "ol", "li", "time", "p"}
