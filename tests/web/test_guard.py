"""Host, Origin and exposure: loopback is not trust, and beyond it nothing starts without keys."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from flowrunner.errors import UsageError
from flowrunner.graph import Graph, check_flows
from flowrunner.registry import Registry
from flowrunner.web import check_exposure, is_loopback, listen
from flowrunner.web.guard import host_name
from tests.web.site import FLOW, Site, site

pytestmark = pytest.mark.anyio
FOREIGN = {"error": "origin", "detail": "requests from pages of other sites are refused"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:9000", "localhost"),
        ("localhost.:9000", "localhost"),
        ("127.0.0.1:9000", "127.0.0.1"),
        ("[::1]:9000", "::1"),
        ("[::1]", "::1"),
        ("plant-7.example.org:80", "plant-7.example.org"),
        ("", ""),
        ("evil@localhost", ""),
        ("localhost/evil", ""),
        ("[::1", ""),
        ("::1", ""),
        ("localhost:9000:1", ""),
        ("localhost, evil", ""),
        ("löcalhost", ""),
        ("[", ""),
    ],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


async def asked_as(web: Site, host: str, **headers: str) -> int:
    lines = [f"GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    answer = await web.raw("".join([*lines, "\r\n"]).encode("latin-1"))
    return int(answer.split(b" ")[1])


async def test_a_server_answers_to_its_names_only() -> None:
    async with site(environment={"FLOWRUNNER_HOSTS": "plant.example.org, Runner:9000 ,,"}) as web:
        for host in ("localhost:1", "127.0.0.1", "[::1]:9000", "10.0.0.7:9000", "PLANT.example.org", "runner:9000"):
            assert await asked_as(web, host) == 200, host
        for host in (
            "evil.example.org",
            "localhost.evil.org",
            "",
            "evil@localhost",
            "127.0.0.1.nip.io",
            "[::1",
            "\xe9",
        ):
            assert await asked_as(web, host) == 403, host
        nameless = await web.raw(b"GET /status HTTP/1.0\r\n\r\n")
        assert nameless.startswith(b"HTTP/1.1 403 ")
        assert b"FLOWRUNNER_HOSTS" in nameless


async def test_pages_of_other_sites_change_nothing() -> None:
    async with site() as web:
        own = f"http://127.0.0.1:{web.port}"
        for origin in (
            "https://evil.example.org",
            "null",
            "",
            "http://[",
            f"http://localhost:{web.port}",
            f"{own}.evil.org",
        ):
            answer = await web.post('{"soc_percent": 1}', origin=origin)
            assert (answer.status_code, answer.json()) == (403, FOREIGN), origin
        answer = await web.post('{"soc_percent": 1}', sec_fetch_site="cross-site", sec_fetch_mode="cors")
        assert (answer.status_code, answer.json()) == (403, FOREIGN)
        answer = await web.http.get("/status", headers={"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"})
        assert answer.status_code == 403
        assert web.record is None
        assert (await web.post('{"soc_percent": 1}', origin=own, sec_fetch_site="same-origin")).status_code == 200
        link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert (await web.http.get("/status", headers=link)).status_code == 200, "a link in a page may be followed"
        for site_of in ("cross-site", "same-site"):
            form = {"sec_fetch_site": site_of, "sec_fetch_mode": "navigate"}
            answer = await web.post('{"soc_percent": 2}', **form)
            assert (answer.status_code, answer.json()) == (403, FOREIGN), "a form in a page is not sent"
        assert web.record == {"soc_percent": 1}


async def test_every_answer_carries_the_headers_that_browsers_heed() -> None:
    async with site() as web:
        answers = [
            await web.http.get("/status"),
            await web.http.get("/nothing"),
            await web.http.get("/status", headers={"host": "evil"}),
            await web.post("{"),
        ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


async def test_a_client_cannot_choose_the_address_that_it_is_counted_by() -> None:
    async with site(FLOW.replace("100000/s", "1/h")) as web:
        first = await web.post('{"soc_percent": 1}', x_forwarded_for="10.0.0.1")
        second = await web.post('{"soc_percent": 1}', x_forwarded_for="10.0.0.2")
        assert (first.status_code, second.status_code) == (200, 429)


async def test_ipv6() -> None:
    async with site(host="::1") as web:
        assert (await web.http.get("/status")).status_code == 200


# ---- exposure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.1", False), ("fe80::1%eth0", False), ("::ffff:10.0.0.1", False),
    ],
)  # fmt: skip
def test_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def graph(**environment: str) -> Graph:
    checked = check_flows({"site.yaml": FLOW}, environment, Registry())
    assert checked.graph is not None
    return checked.graph


LONG = "0123456789abcdef"
HOW = "; a key is a random text of at least 16 characters, such as `openssl rand -hex 24` prints"
USERS = "; in place of FLOWRUNNER_API_KEY there may be users: `flowrunner users add NAME --role …`"


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        (
            {},
            "FLOWRUNNER_API_KEY is not set; SITE_KEY (the api_key of site/rest) at site.yaml:4 is not set;"
            " SITE_KEY (the api_key of site/status) at site.yaml:18 is not set",
        ),
        ({"SITE_KEY": LONG}, "FLOWRUNNER_API_KEY is not set"),
        ({"SITE_KEY": LONG, "FLOWRUNNER_API_KEY": LONG[1:]}, "FLOWRUNNER_API_KEY has only 15 characters"),
        (
            {"SITE_KEY": "secret", "FLOWRUNNER_API_KEY": LONG},
            "SITE_KEY (the api_key of site/rest) at site.yaml:4 has only 6 characters;"
            " SITE_KEY (the api_key of site/status) at site.yaml:18 has only 6 characters",
        ),
    ],
)
def test_beyond_loopback_every_missing_and_weak_key_is_named(environment: dict[str, str], missing: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_exposure(graph(**environment), "plant", "10.0.0.7", environment)
    users = "" if "FLOWRUNNER_API_KEY" in environment else USERS
    assert str(caught.value) == f"plant can be reached from other machines, and {missing}{HOW}{users}"
    check_exposure(graph(**environment), "localhost", "127.0.0.1", environment)


def test_beyond_loopback_with_good_keys() -> None:
    environment = {"SITE_KEY": LONG, "FLOWRUNNER_API_KEY": LONG}
    check_exposure(graph(**environment), "0.0.0.0", "0.0.0.0", environment)


def test_beyond_loopback_users_or_machines_keys_take_the_place_of_the_one_key() -> None:
    environment = {"SITE_KEY": LONG}
    check_exposure(graph(**environment), "0.0.0.0", "0.0.0.0", environment, anybody=True)
    with pytest.raises(UsageError, match="FLOWRUNNER_API_KEY has only 3 characters"):
        check_exposure(graph(), "0.0.0.0", "0.0.0.0", {**environment, "FLOWRUNNER_API_KEY": "abc"}, anybody=True)
    with pytest.raises(UsageError, match=r"SITE_KEY .* is not set"):
        check_exposure(graph(), "0.0.0.0", "0.0.0.0", {}, anybody=True)


@pytest.mark.parametrize(("given", "good"), [("", True), ("0", True), ("1", True), ("yes", False), ("true", False)])
def test_https_is_said_by_one_word(given: str, good: bool) -> None:
    with contextlib.nullcontext() if good else pytest.raises(UsageError, match="FLOWRUNNER_HTTPS is 1 where"):
        check_exposure(graph(), "localhost", "127.0.0.1", {"FLOWRUNNER_HTTPS": given})


@pytest.mark.parametrize("key", [f"{LONG} ", f"{LONG}\n", f"\t{LONG}", f"{LONG[:8]}\x7f{LONG[8:]}"])
def test_a_key_that_no_request_can_carry(key: str) -> None:
    with pytest.raises(UsageError, match="FLOWRUNNER_API_KEY cannot be used: it "):
        check_exposure(graph(), "localhost", "127.0.0.1", {"FLOWRUNNER_API_KEY": key})
    problems = check_flows({"site.yaml": FLOW}, {"SITE_KEY": key}, Registry()).problems
    assert [problem.path for problem in problems] == ["rest.api_key", "status.api_key"]
    assert all(LONG not in str(problem) for problem in problems)


# ---- the socket ----


@pytest.fixture
def taken() -> Iterator[int]:
    with listen("127.0.0.1", 0) as other:
        yield other.getsockname()[1]


def test_a_port_that_is_taken(taken: int) -> None:
    with pytest.raises(UsageError) as caught:
        listen("127.0.0.1", taken)
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{taken}: Address already in use; another port is chosen with --port"
    )


def test_a_port_that_is_bound_but_not_yet_listened_on() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        with pytest.raises(UsageError, match="Address already in use"):
            listen("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize("host", ["no.such.name.invalid", "", "300.1.1.1", "a" * 300, "\udc80", "1.2.3.4.5"])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(UsageError, match=r"use --host 127\.0\.0\.1"):
        listen(host, 0)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0: .*--host"):
        listen("192.0.2.1", 0)


def test_localhost_is_ipv4() -> None:
    with listen("localhost", 0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
