"""The log-in and the system page as a browser without scripts gets them, each page's role, and headers everywhere."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from flowrunner.store.people import ROLES, Role
from flowrunner.web.pages import every_page
from flowrunner.web.pages.face import Face
from flowrunner.web.people.person import csrf_token
from flowrunner.web.pulse import KEPT, Pulse
from tests.peers.until import until
from tests.web.site import PASSWORD, Site, hashed_password, key_of, site

pytestmark = pytest.mark.anyio
HTML = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server with a user and a key of each role, on a real folder."""
    users: dict[str, Role] = {f"anna-{role}": role for role in ROLES}
    keys: dict[str, Role] = {f"key-{role}": role for role in ROLES}
    async with site(users=users, keys=keys, data=tmp_path_factory.mktemp("data")) as web:
        yield web


def paths(web: Site) -> dict[str, Role | None]:
    face = Face(web.engine, hub=web.server.hub, people=web.server.people)
    return {page.path.replace("{order}", "x").replace("{flow}", "site").replace("{name}", "site"): page.role
            for page in every_page(face)}  # fmt: skip


async def text(answer: httpx2.Response) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.text))


# ---- who sees which page -------------------------------------------------------------------------------------------


async def test_every_page_but_the_log_in_is_for_people_who_are_known(closed: Site) -> None:
    found = paths(closed)
    assert [path for path, role in found.items() if role is None] == ["/login"]
    assert {"/system", "/events"} <= set(found)
    for path, role in found.items():
        answer = await closed.http.get(f"{path}?x=1", headers=HTML)
        if role is None:
            assert answer.status_code == 200
            continue
        assert answer.status_code == 303, path
        assert answer.headers["location"] == f"/login?next={path.replace('/', '%2F')}%3Fx%3D1"


@pytest.mark.parametrize("role", ROLES)
async def test_a_page_is_for_who_has_its_role(role: Role, closed: Site) -> None:
    async with httpx2.AsyncClient(base_url=closed.http.base_url, trust_env=False) as http:
        await Site(closed.engine, closed.server, http, closed.reloader).log_in(f"anna-{role}")
        for path, needed in paths(closed).items():
            answer = await http.get(path, headers=HTML)
            allowed = needed is None or ROLES.index(role) >= ROLES.index(needed)
            assert (answer.status_code == 403) == (not allowed), path
            if answer.status_code == 303:  # to another page
                assert not answer.headers["location"].startswith("/login"), path
                continue
            assert answer.status_code in (200, 403, 404), path
            assert answer.headers["content-type"].startswith("text/html"), path


async def test_a_page_takes_no_post_and_a_key_opens_it_too(closed: Site) -> None:
    answer = await closed.http.get("/system", headers={**HTML, "x-api-key": key_of("key-viewer")})
    assert answer.status_code == 200
    answer = await closed.http.post("/system", headers={"x-api-key": key_of("key-editor")})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    answer = await closed.http.put("/login")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "POST"})


async def test_every_answer_has_the_headers_that_browsers_heed(closed: Site) -> None:
    answers = [await closed.http.get(path, headers=HTML) for path in (*paths(closed), "/nothing", "/api/v1/me")]
    answers += [await closed.http.get("/api/v1/me", headers={"x-api-key": key_of("key-viewer")})]
    answers += [await closed.http.get("/system", headers={**HTML, "x-api-key": key_of("key-viewer")})]
    answers += [await closed.http.post("/login", data={"name": "x"}), await closed.http.post("/logout")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'"), answer.url
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert "require-trusted-types-for 'script'" in policy
            assert "form-action 'self'" in policy


# ---- the log-in ----------------------------------------------------------------------------------------------------


async def test_the_form(closed: Site) -> None:
    answer = await closed.http.get("/login?next=/events%3Fkind%3Dalarm", headers=HTML)
    page = answer.text
    assert '<form method="post" action="/login">' in page
    assert '<input type="hidden" name="next" value="/events?kind=alarm">' in page
    assert 'autocomplete="current-password"' in page
    assert "Log in" in page
    german = await closed.http.get("/login", headers={**HTML, "accept-language": "de-AT,de;q=0.9"})
    assert "Anmelden" in german.text


async def test_a_link_to_somewhere_else_is_not_taken_over(closed: Site) -> None:
    answer = await closed.http.get("/login", params={"next": "//evil.example/x"}, headers=HTML)
    assert "evil.example" not in answer.text
    answer = await closed.http.get("/login", params={"next": '/"><script>alert(1)</script>'}, headers=HTML)
    assert "<script>alert" not in answer.text


async def test_what_is_wrong_is_said_on_the_page_and_the_name_stays(closed: Site) -> None:
    odd = '"><img src=x onerror=alert(1)>'
    answer = await closed.http.post("/login", data={"name": odd, "password": "x", "next": "/events"}, headers=HTML)
    assert answer.status_code == 401
    assert "The name or the password is wrong" in await text(answer)
    assert "<img" not in answer.text
    assert html.escape(odd, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in answer.text
    assert 'name="next" value="/events"' in answer.text
    assert "x" not in re.findall(r'name="password"[^>]*value="([^"]*)"', answer.text)


async def test_the_wait_is_said_on_the_page() -> None:
    async with site(users={"anna": "viewer"}) as web:
        said = ""
        for _ in range(8):
            answer = await web.http.post("/login", data={"name": "anna", "password": "wrong"}, headers=HTML)
            said = await text(answer)
            if answer.status_code == 429:
                break
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert re.search(r"There were too many wrong tries\. Wait \d+ s", said)


async def test_where_nobody_is_there_yet_it_says_what_to_type() -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": "k" * 20}) as web:
        answer = await web.http.get("/login", headers=HTML)
        assert "There is no user yet" in answer.text
        assert "flowrunner users add NAME --role operator" in answer.text
        assert '<form method="post" action="/login">' not in answer.text
        assert (await web.log_in("anna")).status_code == 401, "and nobody gets in"


async def test_where_everybody_may_do_everything_it_says_so() -> None:
    async with site() as web:
        answer = await web.http.get("/login", headers=HTML)
        assert "Nobody has to log in here" in answer.text
        assert (await web.log_in("anna")).headers["location"] == "/"
        assert not web.http.cookies


async def test_who_follows_a_link_of_another_site_is_asked_again_with_the_cookie(closed: Site) -> None:
    link = {**HTML, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    answer = await closed.http.get("/login?next=/events", headers=link)
    assert answer.headers["refresh"] == "0; url=/events"
    again = await closed.http.get("/login?next=/events", headers={**link, "sec-fetch-site": "same-origin"})
    assert "refresh" not in again.headers


# ---- the system page -----------------------------------------------------------------------------------------------


async def test_the_system_page_tells_who_and_what_and_no_secret(closed: Site) -> None:
    async with httpx2.AsyncClient(base_url=closed.http.base_url, trust_env=False) as http:
        web = Site(closed.engine, closed.server, http, closed.reloader)
        await web.log_in("anna-operator")
        answer = await http.get("/system", headers=HTML)
        session = http.cookies[closed.server.people.cookie]
    said = " ".join((await text(answer)).split())
    assert re.search(r"anna-operator you operator \d+ \d+(\.\d)? (s|min) ago", said), "the role, sessions, just now"
    assert "key-editor" in said
    assert "never" in said
    for word in ("Python", "starlette", "Generation", "Connected browsers", "Data folder"):
        assert word in said
    for secret in (PASSWORD, hashed_password(), "$argon2", session, key_of("key-editor")):
        assert secret not in answer.text
    assert answer.text.count(csrf_token(session)) >= 1, "its own session's token"


async def test_who_else_is_there_is_nothing_for_a_viewer(closed: Site) -> None:
    answer = await closed.http.get("/system", headers={**HTML, "x-api-key": key_of("key-viewer")})
    said = await text(answer)
    assert "are shown to operators and editors" in said
    assert "anna-editor" not in said
    assert "key-editor" not in said
    assert "starlette" in said


async def test_the_system_page_where_nobody_is_there() -> None:
    async with site() as web:
        said = await text(await web.http.get("/system", headers=HTML))
    assert "Everybody on this machine may do everything." in said
    assert "flowrunner users add NAME --role viewer|operator|editor" in said
    assert "flowrunner keys add NAME --role viewer|operator|editor" in said
    assert "in memory only" in said


async def test_the_one_key_is_named(tmp_path: Path) -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": "k" * 20}) as web:
        answer = await web.http.get("/system", headers={**HTML, "x-api-key": "k" * 20})
        assert "from FLOWRUNNER_API_KEY" in answer.text
        assert "k" * 20 not in answer.text


# ---- the pulse -----------------------------------------------------------------------------------------------------


async def test_the_pulse_knows_a_loop_that_was_held_up() -> None:
    pulse = Pulse()
    assert pulse.late_s() is None
    pulse.start()
    try:
        await until(lambda: pulse.late_s() is not None, "the first call")
        begun = pulse.up_s
        while pulse.up_s - begun < 0.3:  # nobody else has a turn meanwhile
            pass
        await until(lambda: (pulse.late_s(1.0) or 0) > 0.1, "the late call")
        assert pulse.late_s(0.0) is not None
    finally:
        pulse.close()
        pulse.close()
    assert KEPT * 0.1 == 60
