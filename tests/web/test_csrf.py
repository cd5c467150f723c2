"""What changes something in a session needs its token: a page of another site, or of another session, has none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from flowrunner.store import Audit
from flowrunner.web.people.person import csrf_token
from tests.web.site import FLOW, Site, key_of, site

pytestmark = pytest.mark.anyio
ENTER = "/api/v1/flows/site/nodes/hand/values"
ENTRY = '{"values": {"soc_percent": 50}}'


@pytest.fixture
async def web() -> AsyncIterator[Site]:
    """anna is logged in."""
    async with site(FLOW, users={"anna": "editor", "bert": "operator"}, keys={"plc": "operator"}) as running:
        assert (await running.log_in("anna")).status_code == 303
        yield running


async def test_without_the_token_nothing_is_changed(web: Site) -> None:
    async with httpx2.AsyncClient(base_url=web.http.base_url, trust_env=False) as http:
        other = Site(web.engine, web.server, http, web.reloader)
        await other.log_in("bert")
        foreign = other.csrf["x-csrf-token"]
    session = web.http.cookies[web.server.people.cookie]
    for token in ("", "wrong", foreign, csrf_token(""), session, web.csrf["x-csrf-token"][:-1], "ÿ".encode()):
        headers = {"x-csrf-token": token, "content-type": "application/json"}
        answer = await web.http.post(ENTER, content=ENTRY, headers=headers)  # type: ignore[arg-type]  # bytes are one
        assert (answer.status_code, answer.json()["error"]) == (403, "csrf"), token
    answer = await web.post(ENTRY, ENTER)
    assert (answer.status_code, answer.json()["error"]) == (403, "csrf")
    for method, path in (("POST", "/api/v1/trading/stop"), ("DELETE", "/api/v1/dead-letters/1"), ("POST", "/logout")):
        answer = await web.http.request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (403, "csrf"), path
    assert web.record is None
    assert (await web.http.get("/api/v1/trading")).json()["stopped"] is False
    assert Audit(web.engine.store).find(["entry", "trading", "logout"]) == []


async def test_with_the_token_it_is(web: Site) -> None:
    answer = await web.post(ENTRY, ENTER, **web.csrf)
    assert answer.status_code == 200
    await web.until(lambda: web.record == {"soc_percent": 50}, "the entry")


async def test_the_token_of_a_session_is_of_no_use_after_it(web: Site) -> None:
    before = web.csrf
    await web.log_in("anna")
    answer = await web.post(ENTRY, ENTER, **before)
    assert (answer.status_code, answer.json()["error"]) == (403, "csrf")


async def test_a_page_of_another_site_is_refused_even_with_it(web: Site) -> None:
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}):
        answer = await web.post(ENTRY, ENTER, **web.csrf, **headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "origin")


async def test_a_key_needs_none(web: Site) -> None:
    async with httpx2.AsyncClient(base_url=web.http.base_url, trust_env=False) as http:
        headers = {"x-api-key": key_of("plc"), "content-type": "application/json"}
        assert (await http.post(ENTER, content=ENTRY, headers=headers)).status_code == 200


async def test_reading_needs_none(web: Site) -> None:
    assert (await web.http.get("/api/v1/flows")).status_code == 200
    assert (await web.http.head("/api/v1/flows")).status_code == 200


async def test_a_form_may_carry_it_to_the_log_out(web: Site) -> None:
    answer = await web.http.post("/logout", data={"csrf": "wrong"})
    assert answer.status_code == 403
    answer = await web.http.post("/logout", data={"csrf": web.csrf["x-csrf-token"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert web.server.people.cookie not in web.http.cookies
    assert (await web.http.get("/api/v1/me")).status_code == 401
