"""Logging in and out over a real socket: cookies, sessions, what ends them, and who must wait."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.errors import UsageError
from flowrunner.store import Audit, Store
from flowrunner.store.people import (
    ROLES,
    SESSIONS_OF_ONE,
    add_user,
    checked_name,
    read_people,
    remove_user,
    set_password,
    set_role,
    spelled,
)
from flowrunner.units import SECOND, Duration
from flowrunner.web.people import People, passwords
from flowrunner.web.people.log_in import own_path
from flowrunner.web.people.register import IDLE, LONGEST
from flowrunner.web.people.waits import FORGET, LONGEST_S, MOST, Waits, neighbourhood
from tests.web.site import PASSWORD, Site, hashed_password, key_of, site

pytestmark = pytest.mark.anyio
ME = "/api/v1/me"
MINUTE = Duration.parse("1min")
USERS = {"anna": "operator", "bert": "viewer"}


@pytest.fixture
async def closed() -> AsyncIterator[Site]:
    """A server with two users."""
    async with site(users=USERS) as web:  # type: ignore[arg-type]  # the roles are roles
        yield web


def cookies(answer: httpx2.Response) -> dict[str, str]:
    """Name → the whole header."""
    return {one.partition("=")[0]: one for one in answer.headers.get_list("set-cookie")}


def stranger(web: Site) -> httpx2.AsyncClient:
    """Another browser."""
    return httpx2.AsyncClient(base_url=web.http.base_url, trust_env=False)


# ---- the session ---------------------------------------------------------------------------------------------------


async def test_a_person_logs_in_and_out(closed: Site) -> None:
    assert (await closed.http.get(ME)).status_code == 401
    answer = await closed.log_in("anna")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await closed.http.get(ME)).json() == {"name": "anna", "role": "operator", "by": "session"}
    kept = dict(closed.http.cookies)
    assert (await closed.http.post("/logout", headers=closed.csrf)).json() == {"status": "OK"}
    closed.http.cookies.update(kept)  # who has copied it
    ended = await closed.http.get(ME)
    assert (ended.status_code, ended.json()["detail"]) == (401, "the session has ended; log in again at /login")


async def test_the_cookie_can_be_read_by_no_script_and_is_sent_by_no_other_site(closed: Site) -> None:
    answer = await closed.log_in("anna")
    name = f"flowrunner-{closed.port}"
    session = cookies(answer)[name]
    assert {part.strip().lower() for part in session.split(";")[1:]} == {"httponly", "samesite=strict", "path=/"}
    assert len(closed.http.cookies[name]) >= 43, "256 bits"
    device = cookies(answer)[f"{name}-device"].lower()
    assert all(flag in device for flag in ("httponly", "samesite=strict", "path=/login"))
    for text in (session, device):
        assert "domain" not in text


async def test_with_tls_in_front_cookies_are_sent_by_tls_only() -> None:
    async with site(users={"anna": "viewer"}, environment={"FLOWRUNNER_HTTPS": "1"}) as web:
        found = cookies(await web.log_in("anna"))
    assert set(found) == {f"__Host-flowrunner-{web.port}", f"flowrunner-{web.port}-device"}
    assert all("; secure" in text.lower() for text in found.values())


async def test_a_session_that_was_foisted_on_a_browser_is_not_the_one_that_is_begun(closed: Site) -> None:
    name = closed.server.people.cookie
    for foisted in ("chosen-by-somebody", ""):
        closed.http.cookies.set(name, foisted)
        assert (await closed.log_in("anna")).status_code == 303
        assert closed.http.cookies.get(name, domain="127.0.0.1") not in (foisted, None)
        closed.http.cookies.clear()


async def test_a_new_log_in_ends_the_browser_s_old_session(closed: Site) -> None:
    await closed.log_in("anna")
    name = closed.server.people.cookie
    first = closed.http.cookies[name]
    await closed.log_in("bert")
    assert closed.http.cookies[name] != first
    async with stranger(closed) as other:
        other.cookies.set(name, first)
        assert (await other.get(ME)).status_code == 401


async def test_what_is_kept_lets_nobody_in(tmp_path: Path) -> None:
    async with site(users={"anna": "viewer"}, keys={"grafana": "viewer"}, data=tmp_path / "data") as web:
        await web.log_in("anna")
        session = web.http.cookies[web.server.people.cookie]
        secrets = (PASSWORD, session, key_of("grafana"))
    kept = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir() if file.is_file())
    assert kept
    for secret in secrets:
        assert secret.encode() not in kept


async def test_sessions_outlive_a_restart(tmp_path: Path) -> None:
    async with site(users={"anna": "viewer"}, data=tmp_path / "data") as web:
        await web.log_in("anna")
        session = web.http.cookies[web.server.people.cookie]
    async with site(data=tmp_path / "data") as web:
        web.http.cookies.set(web.server.people.cookie, session)
        assert (await web.http.get(ME)).json()["name"] == "anna"


async def test_a_user_has_so_many_sessions_and_no_more(closed: Site) -> None:
    people = closed.server.people
    user = people.user("anna")
    assert user is not None
    begun = [await people.begin(user) for _ in range(SESSIONS_OF_ONE + 2)]
    assert [people.of_session(one) is not None for one in begun] == [False] * 2 + [True] * SESSIONS_OF_ONE


class Moved:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1_700_000_000 * SECOND

    def now(self) -> int:
        return self.at


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = Store.open(None)
    await opened.submit(lambda sql: add_user(sql, "anna", "viewer", hashed_password(), 0))
    yield opened
    await opened.close()


async def test_a_session_ends_when_nobody_asks_and_at_the_latest_after_a_week(store: Store) -> None:
    clock = Moved()
    people = People(store, clock=clock)  # type: ignore[arg-type]  # only the time is asked
    user = people.user("anna")
    assert user is not None
    idle = await people.begin(user)
    clock.at += IDLE
    assert people.of_session(idle) is not None
    clock.at += IDLE + 1
    assert people.of_session(idle) is None
    used = await people.begin(user)
    begun = clock.at
    while clock.at + IDLE - 1 < begun + LONGEST:
        clock.at += IDLE - 1
        assert people.of_session(used) is not None
        await people.look()
    assert people.of_session(idle) is None, "it was not used"
    clock.at = begun + LONGEST + 1
    assert people.of_session(used) is None
    clock.at += MINUTE
    await people.look()
    assert store.read(read_people).sessions == {}, "and nothing of them is kept"


async def test_when_something_was_used_is_kept_now_and_then(store: Store) -> None:
    clock = Moved()
    people = People(store, clock=clock)  # type: ignore[arg-type]  # only the time is asked
    user = people.user("anna")
    assert user is not None
    session = await people.begin(user)
    clock.at += Duration.parse("30s")
    person = people.of_session(session)
    assert person is not None
    await people.look()
    assert store.read(read_people).sessions[person.mark].seen_at == clock.at - Duration.parse("30s")
    clock.at += Duration.parse("31s")
    people.of_session(session)
    await people.look()
    assert store.read(read_people).sessions[person.mark].seen_at == clock.at


@pytest.mark.parametrize("what", ["password", "role", "user"])
async def test_another_password_role_or_no_user_ends_all_sessions(what: str, closed: Site) -> None:
    await closed.log_in("anna")
    session = closed.http.cookies[closed.server.people.cookie]
    person = closed.server.people.of_session(session)
    assert person is not None
    assert closed.server.people.knows(person)
    work = {
        "password": lambda sql: set_password(sql, "anna", "another hash"),
        "role": lambda sql: set_role(sql, "anna", "editor"),
        "user": lambda sql: remove_user(sql, "anna"),
    }[what]
    await closed.engine.store.submit(work)
    await closed.server.people._read()
    assert (await closed.http.get(ME)).status_code == 401
    assert not closed.server.people.knows(person), "nor does an answer that lasts go on"


async def test_a_log_in_that_a_new_password_overtakes_begins_nothing(store: Store) -> None:
    people = People(store)
    user = people.user("anna")
    assert user is not None
    await store.submit(lambda sql: set_password(sql, "anna", "another hash"))
    assert await people.begin(user) == ""
    assert store.read(read_people).sessions == {}
    await store.submit(lambda sql: remove_user(sql, "anna"))
    assert await people.begin(user) == ""


async def test_the_last_user_s_removal_opens_nothing(closed: Site) -> None:
    for name in USERS:
        await closed.engine.store.submit(lambda sql, name=name: remove_user(sql, name))  # type: ignore[misc]
    await closed.server.people._read()
    assert (await closed.http.get(ME)).status_code == 401


# ---- wrong ones ----------------------------------------------------------------------------------------------------


async def test_a_wrong_password_and_a_wrong_name_are_told_alike(closed: Site) -> None:
    wrong = await closed.log_in("anna", "wrong")
    nobody = await closed.log_in("nobody", "wrong")
    assert (wrong.status_code, nobody.status_code) == (401, 401)
    assert not cookies(wrong)
    alike = [re.sub(r"\d", "0", one.text) for one in (wrong, nobody)]  # the time of day aside
    assert alike[0].replace("anna", "nobody") == alike[1]


def test_a_wrong_name_costs_the_work_of_a_wrong_password() -> None:
    """The decoy has the very parameters of a real hash: the work is the same by construction."""
    hasher = passwords._hasher()
    assert not hasher.check_needs_rehash(passwords.DECOY)
    assert not hasher.check_needs_rehash(passwords.hashed("some password"))
    assert not passwords.fits("", passwords.DECOY)
    began = time.perf_counter()
    passwords.fits("x", passwords.DECOY)
    decoy = time.perf_counter() - began
    assert decoy > 0.005, "it is not refused for its form"


async def test_who_guesses_waits_longer_and_longer_and_nobody_else_does(closed: Site) -> None:
    closed.server.people.clock = Moved()  # type: ignore[assignment]  # only the time is asked
    for _ in range(3):
        assert (await closed.log_in("anna", "wrong")).status_code == 401
    waits = await closed.log_in("anna")
    assert (waits.status_code, waits.headers["retry-after"]) == (429, "1"), "the right one is not looked at either"
    assert (await closed.log_in("bert")).status_code == 303, "another name does not wait"


async def test_a_browser_that_knew_the_password_is_not_kept_out_by_others(closed: Site) -> None:
    closed.server.people.clock = Moved()  # type: ignore[assignment]  # only the time is asked
    await closed.log_in("anna")
    device = closed.http.cookies[f"{closed.server.people.cookie}-device"]
    async with stranger(closed) as other:
        for _ in range(5):
            await other.post("/login", data={"name": "anna", "password": "wrong"})
        assert (await other.post("/login", data={"name": "anna", "password": PASSWORD})).status_code == 429
        for forged in ("x.y", "", device[:-1], f"{device}x", "."):
            other.cookies.set(f"{closed.server.people.cookie}-device", forged, path="/login")
            assert (await other.post("/login", data={"name": "anna", "password": PASSWORD})).status_code == 429
            other.cookies.clear()
    assert (await closed.log_in("anna")).status_code == 303


async def test_many_at_once_are_not_all_free(closed: Site) -> None:
    closed.server.people.clock = Moved()  # type: ignore[assignment]  # only the time is asked
    answers = await asyncio.gather(*(closed.log_in("anna", f"guess {number}") for number in range(12)))
    assert sorted(one.status_code for one in answers) == [401] * 3 + [429] * 9


async def test_log_ins_do_not_hold_up_the_loop(closed: Site) -> None:
    """Hashes are computed elsewhere: while they are, the loop has its turns."""
    turns, going = 0, True

    async def turn() -> None:
        nonlocal turns
        while going:
            turns += 1
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    beside = asyncio.create_task(turn())
    await asyncio.gather(*(closed.log_in(name, "wrong") for name in ("anna", "bert", "carl")))
    going = False
    await beside
    assert turns > 20


async def test_the_audit_tells_who_came_and_who_could_not(closed: Site) -> None:
    await closed.log_in("Anna ", "wrong")
    await closed.log_in("correct horse battery staple", "anna")
    await closed.log_in("ANNA")
    await closed.http.post("/logout", headers=closed.csrf)
    told = [(one.kind, one.who, one.text) for one in Audit(closed.engine.store).find()]
    assert told == [
        ("logout", "anna", "logged out"),
        ("login", "anna", "logged in"),
        ("login-failed", "", "a name that there is not was tried"),
        ("login-failed", "anna", "gave a wrong password"),
    ], "a password that was typed in place of a name is not kept"
    assert {one.origin for one in Audit(closed.engine.store).find(["login"])} == {"127.0.0.1"}


# ---- the form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"name=anna&password=" + b"x" * 9000, "application/x-www-form-urlencoded", 413),
        (b'{"name": "anna"}', "application/json", 415),
        (b"name=anna", "text/plain", 415),
        (b"name=%ff", "application/x-www-form-urlencoded", 400),
        (b"name=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % number for number in range(20)), "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 401),
        (b"name=%00&password=%00", "application/x-www-form-urlencoded", 401),
    ],
)
async def test_a_form_that_is_none(body: bytes, media: str, status: int, closed: Site) -> None:
    answer = await closed.http.post("/login", content=body, headers={"content-type": media})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "wrong",
    [
        "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "\\/evil.example", "evil",
        "", "/a\r\nset-cookie: x=1", "/a\nb", "/a b", "/ä", "/\t/evil.example", "/login", "/login?next=/x", "/logout",
        "/" + "x" * 600, "///evil.example", "/a\\b", "/a\x00",
    ],
)  # fmt: skip
async def test_the_log_in_leads_to_no_other_place(wrong: str, closed: Site) -> None:
    assert own_path(wrong) == "/"
    answer = await closed.http.post("/login", data={"name": "anna", "password": PASSWORD, "next": wrong})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "x" not in answer.cookies


@given(st.text(max_size=40))
def test_where_it_leads_is_a_path_of_this_server(text: str) -> None:
    led = own_path(text)
    assert led in ("/", text)
    assert re.fullmatch(r"/([^/\\\s\x00-\x20].*)?", led)
    assert led.isascii()
    assert str(httpx2.URL("http://own.example/").join(led)).startswith("http://own.example/")


async def test_it_leads_back_to_where_one_was(closed: Site) -> None:
    target = "/flows/site?node=rest&tab=yaml"
    answer = await closed.http.post("/login", data={"name": "anna", "password": PASSWORD, "next": target})
    assert answer.headers["location"] == target


async def test_a_form_of_another_site_logs_nobody_in(closed: Site) -> None:
    answer = await closed.log_in("anna", origin="https://evil.example")
    assert (answer.status_code, answer.json()["error"]) == (403, "origin")
    assert not cookies(answer)


# ---- names, passwords, waits ---------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_a_name_is_spelled_in_one_way(text: str) -> None:
    try:
        name = checked_name(text)
    except UsageError:
        return
    assert spelled(name) == name == checked_name(name)
    assert name.isprintable()
    assert not set(name) & set(" /\\<>\"'&;=,")


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "has 5 characters"), ("", "has 0 characters"), ("x" * 1001, "has 1001 characters"),
     ("aaaaaaaaaaaaaaaa", "can be guessed"), ("anna-anna-an", "can be guessed"), ("annalena1234", "can be guessed")],
)  # fmt: skip
def test_a_password_that_is_too_weak(password: str, said: str) -> None:
    name = "annalena" if password.startswith("annalena") else "anna-anna"
    with pytest.raises(UsageError, match=said) as caught:
        passwords.checked(password, name)
    assert not password or len(password) < 6 or password not in str(caught.value)


@given(st.text(min_size=1, max_size=30))
def test_the_order_of_roles_is_theirs(text: str) -> None:
    assert ROLES == ("viewer", "operator", "editor")
    assert spelled(text) == spelled(text.upper()) or len(text.upper()) != len(text) or text.upper().lower() != text


def test_waits_grow_and_are_forgotten() -> None:
    waits, now = Waits(3), 0
    delays = []
    for _ in range(20):
        left = waits.left("anna", now)
        delays.append(left)
        now += round(left * SECOND)
        assert waits.left("anna", now) == 0
        waits.count("anna", now)
    assert delays[:8] == [0, 0, 0, 1, 2, 4, 8, 16]
    assert max(delays) == LONGEST_S
    assert waits.left("anna", now + FORGET + 1) == 0
    assert waits.left("bert", now) == 0
    waits.forgive("anna")
    assert waits.left("anna", now) == 0


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    waits = Waits(1)
    for number in range(MOST + 5):
        waits.count(str(number), number)
    assert len(waits._tries) == MOST
    assert waits.left("0", MOST + 5) == 0
    assert waits.left(str(MOST), MOST + 5) > 0


@pytest.mark.parametrize(
    ("address", "one"),
    [("10.0.0.7", "10.0.0.7"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8::ffff:1", "2001:db8::/64"),
     ("fe80::1%eth0", "fe80::/64"), ("::ffff:10.0.0.1", "10.0.0.1"), ("", ""), ("pipe", "pipe")],
)  # fmt: skip
def test_what_a_client_chooses_freely_counts_as_one(address: str, one: str) -> None:
    assert neighbourhood(address) == one
