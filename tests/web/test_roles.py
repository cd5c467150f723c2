"""Who may what: each route with each role, by key and by session, and everything else that is no way around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from flowrunner.store.people import ROLES, Role
from tests.web.site import FLOW, Site, key_of, site

pytestmark = pytest.mark.anyio
OPEN = "open"
NODE = "/api/v1/flows/{flow}/nodes/{node}"
FLOW_PARTS = ("strip", "then", "source", "refused", "work", "layout", "dashboard")
TABLE: dict[tuple[str, str], Role | str] = {
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/metrics"): "viewer",
    ("GET", "/api/v1/openapi.json"): "viewer",
    ("GET", "/api/v1/me"): "viewer",
    ("GET", "/api/v1/flows"): "viewer",
    ("GET", "/api/v1/flows/{flow}"): "viewer",
    **{("GET", f"/api/v1/flows/{{flow}}/{what}"): "viewer" for what in FLOW_PARTS},
    **{("GET", f"{NODE}/{what}"): "viewer" for what in ("why", "reference")},
    ("GET", "/api/v1/series"): "viewer",
    ("GET", NODE): "viewer",
    ("POST", f"{NODE}/values"): "operator",
    ("GET", "/api/v1/problems"): "viewer",
    ("GET", "/api/v1/config"): "viewer",
    ("GET", "/api/v1/orders"): "viewer",
    ("GET", "/api/v1/orders/{order}"): "viewer",
    ("GET", "/api/v1/refusals"): "viewer",
    ("GET", "/api/v1/trading"): "viewer",
    ("POST", "/api/v1/trading/stop"): "operator",
    ("POST", "/api/v1/trading/resume"): "operator",
    ("GET", "/api/v1/history"): "viewer",
    ("GET", "/api/v1/alarms"): "viewer",
    ("POST", "/api/v1/alarms/{id}/acknowledge"): "operator",
    ("GET", "/api/v1/dead-letters"): "viewer",
    ("POST", "/api/v1/dead-letters"): "editor",
    ("GET", "/api/v1/dead-letters/{letter}"): "viewer",
    ("DELETE", "/api/v1/dead-letters/{letter}"): "editor",
    ("POST", "/api/v1/dead-letters/{letter}/replay"): "editor",
    ("POST", "/api/v1/reload"): "editor",
    ("GET", "/api/v1/live"): "viewer",
    ("GET", "/api/v1/events"): "viewer",
    ("GET", "/api/v1/events.csv"): "viewer",
}
"""Every route of the program and what it needs. A new one is added here by who adds it."""
PLACES = {"{flow}": "site", "{node}": "hand", "{order}": "x", "{id}": "1", "{letter}": "1"}
KEYS: dict[str, Role] = {role: role for role in ROLES}


@pytest.fixture(scope="module")
async def roles(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server with a key and a user for each role."""
    folder: Path = tmp_path_factory.mktemp("roles")
    users: dict[str, Role] = {f"anna-{role}": role for role in ROLES}
    async with site(FLOW, folder=folder, keys=KEYS, users=users, speed=1000.0) as web:  # no limit on calls
        yield web


async def asked(http: httpx2.AsyncClient, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Status and error; of a stream nothing else is read."""
    for place, name in PLACES.items():
        path = path.replace(place, name)
    async with http.stream(method, path, headers=headers) as answer:
        if answer.headers.get("content-type", "").startswith("application/json") and answer.status_code >= 400:
            await answer.aread()
            return answer.status_code, str(answer.json().get("error", ""))
        return answer.status_code, ""


async def test_the_table_has_every_route_of_the_program(roles: Site) -> None:
    document = (await roles.http.get("/api/v1/openapi.json", headers={"x-api-key": key_of("viewer")})).json()
    own = {"/values", "/status", "/api/v1/flows/site/nodes/hand/values"}
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item if path not in own}
    assert found == set(TABLE)
    for (method, path), needed in TABLE.items():
        operation = document["paths"][path][method.lower()]
        assert (operation["security"] == []) == (needed == OPEN), path
        said = f"It needs the role {needed}." in operation["description"]
        assert said == (needed in ("operator", "editor")), f"{method} {path}"


@pytest.mark.parametrize(("method", "path"), TABLE)
async def test_a_route_is_for_who_has_the_role(method: str, path: str, roles: Site) -> None:
    needed = TABLE[method, path]
    status, error = await asked(roles.http, method, path, {})
    assert (status, error) == (401, "unauthorized") if needed != OPEN else status not in (401, 403)
    for role in ROLES:
        status, error = await asked(roles.http, method, path, {"x-api-key": key_of(role)})
        if needed != OPEN and ROLES.index(role) < ROLES.index(needed):
            assert (status, error) == (403, "role"), role
        else:
            assert status not in (401, 403), (role, error)


@pytest.mark.parametrize("role", ROLES)
async def test_a_session_may_what_a_key_of_its_role_may(role: Role, roles: Site) -> None:
    async with httpx2.AsyncClient(base_url=roles.http.base_url, trust_env=False) as http:
        web = Site(roles.engine, roles.server, http, roles.reloader)
        await web.log_in(f"anna-{role}")
        for (method, path), needed in TABLE.items():
            headers = {} if method == "GET" else web.csrf
            status, error = await asked(http, method, path, headers)
            allowed = needed == OPEN or ROLES.index(role) >= ROLES.index(needed)
            assert (status not in (401, 403)) if allowed else (status, error) == (403, "role"), f"{method} {path}"


async def test_a_refusal_says_what_it_needs_and_who_one_is(roles: Site) -> None:
    answer = await roles.http.post("/api/v1/trading/stop", headers={"x-api-key": key_of("viewer")})
    assert answer.json()["detail"] == "this needs the role operator, and viewer is a viewer"


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_a_key_that_is_nearly_one(header: str, roles: Site) -> None:
    prefix = "Bearer " if header == "authorization" else ""
    good = await roles.http.get("/metrics", headers={header: prefix + key_of("viewer")})
    assert good.status_code == 200
    for given in (key_of("viewer")[:-1], key_of("viewer") + "x", key_of("nobody"), key_of("viewer").upper(), "'--"):
        answer = await roles.http.get("/metrics", headers={header: prefix + given})
        assert answer.status_code in (401, 429), given


async def test_a_wrong_key_is_not_made_good_by_a_session(roles: Site) -> None:
    async with httpx2.AsyncClient(base_url=roles.http.base_url, trust_env=False) as http:
        await Site(roles.engine, roles.server, http, roles.reloader).log_in("anna-editor")
        assert (await http.get("/api/v1/me")).json()["role"] == "editor"
        assert (await http.get("/api/v1/me", headers={"x-api-key": "wrong"})).status_code in (401, 429)


async def test_who_tries_keys_out_is_slowed_down() -> None:
    async with site(keys={"grafana": "viewer"}) as web:
        found = [(await web.http.get("/metrics", headers={"x-api-key": f"guess {n}"})).status_code for n in range(12)]
        assert 429 in found
        assert (await web.http.get("/metrics", headers={"x-api-key": key_of("grafana")})).status_code == 200


async def test_the_one_key_is_an_editor_s() -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": "k" * 20}) as web:
        told = (await web.http.get("/api/v1/me", headers={"x-api-key": "k" * 20})).json()
        assert told == {"name": "API key", "role": "editor", "by": "key"}


async def test_while_nobody_is_there_a_server_on_loopback_is_open() -> None:
    async with site() as web:
        assert (await web.http.get("/api/v1/me")).json() == {"name": "", "role": "editor", "by": "open"}


async def test_beyond_loopback_it_never_is() -> None:
    async with site(host="0.0.0.0") as web:
        answer = await web.http.get(f"http://127.0.0.1:{web.port}/api/v1/me")
        assert answer.status_code == 401


# ---- ways around ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/%66lows", "//api/v1/flows", "/api/v1//flows", "/api/v1/flows/", "/./api/v1/flows",
        "/health/../api/v1/flows", "/health/%2e%2e/api/v1/flows", "/health/..%2fapi/v1/flows",
        "/api/v1/flows%2f..%2fflows", "/api/v1/flows;x=1", "/api/v1/flows%00", "/API/V1/FLOWS", "/api\\v1\\flows",
        "/static/../api/v1/flows", "/static/x/%2e%2e/%2e%2e/api/v1/flows", "/login/../api/v1/flows", "/api/v1/flows%20",
        "http://127.0.0.1/api/v1/flows", "/api/v1/flows?x=/login", "/api/v1/flows#/login",
    ],
)  # fmt: skip
async def test_no_spelling_of_a_path_leads_past_the_gate(path: str, roles: Site) -> None:
    raw = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    answer = await roles.raw(raw)
    assert int(answer.split(b" ")[1]) in (303, 400, 401, 403, 404), answer[:100]
    assert b'"nodes"' not in answer
    assert b"site.yaml" not in answer


async def test_a_method_in_a_header_or_query_counts_for_nothing(roles: Site) -> None:
    headers = {"x-api-key": key_of("viewer"), "x-http-method-override": "POST"}
    before = (await roles.http.get("/api/v1/trading", headers=headers)).json()
    answer = await roles.http.get("/api/v1/trading/stop?_method=POST", headers=headers)
    assert answer.status_code == 405
    assert (await roles.http.get("/api/v1/trading", headers=headers)).json() == before


@pytest.mark.parametrize("size", [100, 60_000])
async def test_cookies_without_end(size: int, roles: Site) -> None:
    one = b"a" * 50
    many = b"; ".join(one + b"=" + b"%d" % number for number in range(size // 50))
    head = b"GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nCookie: " + many + b"\r\n\r\n"
    answer = await roles.raw(head)
    assert int(answer.split(b" ")[1]) in (401, 431)


async def test_strange_cookies_are_nobody_s(roles: Site) -> None:
    name = roles.server.people.cookie.encode()
    for value in (b"", b"\xff\xfe", b'"', b"\\", b"a" * 5000, b"../../etc/passwd", b"%00", b"x" + b"; " + name + b"=y"):
        head = b"GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        answer = await roles.raw(head + b"Cookie: " + name + b"=" + value + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401 "), value
