"""Who may see and do what, in the browser: log in, be wrong, wait, log out; every role on every page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from flowrunner.store.people import Role
from tests.browser.conftest import Visit
from tests.browser.looking import Looking, figure
from tests.browser.rig import NAMES, PASSWORD, Station
from tests.browser.rig import station as run_station

REFUSED = "Failed to load resource"
"""The browser's own words about an answer that is a refusal; it is meant here."""


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with run_station(tmp_path_factory.mktemp("people"), people=True) as running:
        running.measured()
        yield running


def fill(page: Page, name: str, password: str) -> None:
    page.locator("form input[name=name]").fill(name)
    page.locator("form input[type=password]").fill(password)
    page.keyboard.press("Enter")


def test_a_log_in_leads_to_where_one_wanted_to_go(station: Station, visit: Visit) -> None:
    page = visit("/events?kind=entry")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    expect(page.locator("form input[name=name]")).to_be_focused()
    fill(page, NAMES["viewer"], PASSWORD)
    expect(page).to_have_url(station.url + "/events?kind=entry")
    (session,) = (one for one in page.context.cookies() if one["name"] == station.server.people.cookie)
    assert session["httpOnly"]
    assert session["sameSite"] == "Strict"
    assert page.evaluate("document.cookie").find(session["value"]) < 0


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_log_in_leads_nowhere_else(station: Station, visit: Visit, target: str) -> None:
    page = visit(f"/login?next={target}")
    fill(page, NAMES["viewer"], PASSWORD)
    expect(page.locator("form input[type=password]")).to_have_count(0)
    expect(page).to_have_url(station.url + "/")


def test_a_wrong_password_says_no_more_than_that(station: Station, looking: Looking) -> None:
    looking.allow(REFUSED)
    said = []
    for name in (NAMES["viewer"], "nobody-of-that-name"):
        page = looking.visit("/login")
        fill(page, name, "something else entirely")
        alert = page.locator("#said")
        expect(alert).to_be_visible()
        expect(alert).to_have_role("alert")
        said.append(alert.inner_text())
        assert "something else" not in page.content()
    assert said[0] == said[1]


def test_who_guesses_is_told_to_wait(station: Station, looking: Looking) -> None:
    looking.allow(REFUSED)
    page = looking.visit("/login")
    alert = page.locator("#said")
    for n in range(5):
        fill(page, "guessed", f"guess number {n} of some")
        expect(alert).to_be_visible()
        if re.search(r"\d+ ?s\b|second", alert.inner_text()):
            return
    raise AssertionError(f"no wait is told: {alert.inner_text()}")


def test_a_log_out_ends_the_session_at_the_server(station: Station, visit: Visit) -> None:
    station.log_in("viewer")
    page = visit("/", person="viewer")
    expect(figure(page, "soc_percent")).to_be_visible()
    page.locator("#account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login"))
    assert station.get("/api/v1/me", "viewer").status_code == 401
    station.log_in("viewer")


PAGES = ("/", "/flows/bess", "/events", "/system")


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_before_the_log_in(station: Station, visit: Visit, path: str) -> None:
    page = visit(path)
    expect(page).to_have_url(re.compile("/login"))
    assert "soc_percent" not in page.content()
    assert "64.2" not in page.content()


@pytest.mark.parametrize("role", ["viewer", "operator", "editor"])
def test_every_role_on_every_page(station: Station, looking: Looking, role: str) -> None:
    page = looking.open(person=role)
    for path in PAGES:
        page.goto(station.url + path)
        expect(page.locator("main")).to_be_visible()
        if path == "/":
            expect(page.locator("#switch")).to_be_enabled(enabled=role != "viewer")
            expect(page.locator("form[data-entry] [name=value]")).to_be_enabled(enabled=role != "viewer")
        if path == "/system":
            assert (NAMES["editor"] in page.locator("main").inner_text()) == (role != "viewer")


WRITES = {
    "/api/v1/flows/bess/nodes/manual/values": {"values": {"soc_percent": 1}, "reason": "x"},
    "/api/v1/trading/stop": {"reason": "x"},
    "/api/v1/reload": {},
}


@pytest.mark.parametrize("path", WRITES)
def test_a_page_of_another_site_cannot_use_a_session(station: Station, visit: Visit, path: str) -> None:
    """No token, no change; and what a viewer may not is refused with the token too."""
    page = visit("/", person="viewer")
    token = page.locator("meta[name=csrf]").get_attribute("content")
    assert token
    cases: list[tuple[Role, str, str]] = [
        ("editor", "", "csrf"),
        ("editor", token, "csrf"),  # of somebody else's session
        ("viewer", token, "role"),
    ]
    for role, given, error in cases:
        answer = station.post(path, WRITES[path], role, **({"x_csrf_token": given} if given else {}))
        assert (answer.status_code, answer.json()["error"]) == (403, error)
