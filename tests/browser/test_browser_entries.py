"""What a person does: a value by hand and back, its expiry, who may; the kill switch by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.looking import figure, tile
from tests.browser.rig import BESS, NAMES, Station
from tests.browser.rig import station as run_station

MANUAL, STALE = re.compile(r"\bman\b"), re.compile(r"\bstale\b")


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """People have to log in; time goes on."""
    with run_station(tmp_path_factory.mktemp("station"), people=True) as running:
        running.measured()
        yield running


def enter(page: Page, field: str, value: str, reason: str, *, sure: bool = True) -> None:
    """Fill the form, and answer what it asks."""
    form = page.locator("form[data-entry]")
    form.locator("[name=field]").select_option(field)
    form.locator("[name=value]").fill(value)
    form.locator("[name=reason]").fill(reason)
    form.get_by_role("button", name="Set value").click()
    if sure:
        page.locator("dialog[open] [type=submit]").click()


def test_a_value_by_hand_counts_when_no_measured_one_is_fresh(station: Station, visit: Visit) -> None:
    """manual: fallback, as flows/bess.yaml has it: marked, with its expiry, and gone when it is taken back."""
    station.measured(soc=64.2)
    page = visit("/", person="operator")
    soc = tile(page, "soc_percent")
    enter(page, "soc_percent", "50.5", "meter is being changed")
    expect(page.locator("form[data-entry] [data-part=said]")).to_contain_text("50.5")
    expect(figure(page, "soc_percent")).to_have_text("64.2")  # a measured value is better
    expect(soc).not_to_have_class(MANUAL)
    station.advance("3min")
    expect(soc).to_have_class(MANUAL)
    expect(figure(page, "soc_percent")).to_have_text("50.5")
    expect(soc.locator("[data-part=source]")).to_contain_text("Manual entry")
    expect(soc.locator("[data-part=age]")).to_have_text(re.compile(r"until \d\d:\d\d"))
    page.get_by_role("button", name="Take back").click()
    page.locator("dialog[open] [type=submit]").click()
    expect(soc).not_to_have_class(MANUAL)
    expect(soc).to_have_class(STALE)
    expect(figure(page, "soc_percent")).to_have_text("64.2")  # what was measured last, and that it is old


def test_a_value_by_hand_ends_by_itself(station: Station, visit: Visit) -> None:
    station.measured(soc=64.2)
    station.advance("3min")
    page = visit("/", person="operator")
    soc = tile(page, "soc_percent")
    enter(page, "soc_percent", "51.5", "meter is being changed")
    expect(soc).to_have_class(MANUAL)
    station.advance("2h")
    expect(soc).not_to_have_class(MANUAL)
    expect(soc).to_have_class(STALE)
    expect(figure(page, "soc_percent")).to_have_text(re.compile(r"^(51\.5|64\.2)$"))
    station.measured(soc=64.3)
    expect(soc).not_to_have_class(STALE)
    expect(figure(page, "soc_percent")).to_have_text("64.3")


def test_a_value_by_hand_takes_over_where_the_flow_says_so(station: Station, visit: Visit) -> None:
    """manual: override."""
    before = BESS.read_text("utf-8")
    override = before.replace("    stale_after: 90s ", "    manual: override\n    stale_after: 90s ")
    assert override != before
    assert station.reload(override).result == "applied"
    try:
        station.measured(soc=64.2)
        page = visit("/", person="operator")
        enter(page, "soc_percent", "52.5", "meter shows nonsense")
        expect(figure(page, "soc_percent")).to_have_text("52.5")
        expect(tile(page, "soc_percent")).to_have_class(MANUAL)
        station.measured(soc=64.4)
        expect(figure(page, "soc_percent")).to_have_text("52.5")
        page.get_by_role("button", name="Take back").click()
        page.locator("dialog[open] [type=submit]").click()
        expect(figure(page, "soc_percent")).to_have_text("64.4")
        expect(tile(page, "soc_percent")).not_to_have_class(MANUAL)
    finally:
        assert station.reload(before).result == "applied"


@pytest.mark.parametrize(
    ("value", "reason", "said"),
    [
        ("101", "why not", "0 to 100"),
        ("full", "why not", "is not a number"),
        ("", "why not", "number"),
        ("50", "", "why"),
    ],
)
def test_a_wrong_entry_is_refused_in_words(station: Station, visit: Visit, value: str, reason: str, said: str) -> None:
    page = visit("/", person="operator")
    enter(page, "soc_percent", value, reason, sure=False)
    expect(page.locator("form[data-entry] [role=alert]")).to_contain_text(said)
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_a_comma_is_a_decimal_comma_in_german(station: Station, visit: Visit) -> None:
    station.measured()
    station.advance("3min")
    page = visit("/", person="operator", lang="de")
    form = page.locator("form[data-entry]")
    form.locator("[name=field]").select_option("temperature_c")
    form.locator("[name=value]").fill("28,75")
    form.locator("[name=reason]").fill("Sensor getauscht")
    form.get_by_role("button", name="Wert setzen").click()
    page.locator("dialog[open] [type=submit]").click()
    expect(figure(page, "temperature_c")).to_have_text("28,8")
    expect(tile(page, "temperature_c").locator("[data-part=source]")).to_contain_text("Manuelle Eingabe")
    entered = station.get("/api/v1/events?kind=entry", "operator").json()["events"][0]
    assert entered["who"] == NAMES["operator"]
    assert "Sensor getauscht" in str(entered)
    station.measured()


def test_a_viewer_sees_why_the_form_is_locked(station: Station, visit: Visit) -> None:
    page = visit("/", person="viewer")
    for one in page.locator("form[data-entry] :is(input, select, button)").all():
        expect(one).to_be_disabled()
    expect(page.locator("[data-part=locked]")).to_be_visible()
    expect(page.locator("#switch")).to_be_disabled()
    expect(figure(page, "soc_percent")).to_have_text("64.2")  # seeing is allowed


def until_focused(page: Page, selector: str, most: int = 60) -> None:
    """Walk there with Tab, as a person without a mouse does."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never comes to {selector}")


def test_the_kill_switch_by_keyboard_alone(station: Station, visit: Visit) -> None:
    page = visit("/", person="operator")
    switch = page.locator("#switch")
    expect(switch).to_be_enabled()
    until_focused(page, "#switch")
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.querySelector('dialog[open]').contains(document.activeElement)")
    page.keyboard.press("Escape")  # rather not
    expect(dialog).to_have_count(0)
    assert not station.inside(lambda: station.engine.trading.switch.stopped)
    expect(switch).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.type("smoke in the container")
    until_focused(page, "dialog[open] [type=submit]", most=6)
    page.keyboard.press("Enter")
    expect(page.locator("[data-banner=stopped]")).to_contain_text("smoke in the container")
    expect(page.locator("[data-banner=stopped]")).to_contain_text(NAMES["operator"])
    stop = station.inside(lambda: station.engine.trading.switch.stopped)
    assert stop is not None
    assert stop.reason == "smoke in the container"
    expect(switch).to_contain_text("Resume")
    page.keyboard.press("Enter")
    page.keyboard.type("it was steam")
    until_focused(page, "dialog[open] [type=submit]", most=6)
    page.keyboard.press("Enter")
    expect(page.locator("[data-banner=stopped]")).to_have_count(0)
    assert station.inside(lambda: station.engine.trading.switch.stopped) is None


def test_no_reason_no_stop(station: Station, visit: Visit) -> None:
    page = visit("/", person="operator")
    page.locator("#switch").click()
    page.locator("dialog[open] [type=submit]").click()
    expect(page.locator("dialog[open] [role=alert]")).to_contain_text("why")
    assert station.inside(lambda: station.engine.trading.switch.stopped) is None
