"""Exchange, broker and device away: the pages show no number that was not measured.

The system that this one replaces showed 72.5 % when its exchange was away, and called that a manual entry.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.looking import figure, tile
from tests.browser.rig import Station
from tests.browser.rig import station as run_station

FIELDS = ("soc_percent", "active_power_mw", "temperature_c", "price_eur_mwh")
MEASURED = re.compile(r"(?<![\w.,:/-])[−-]?\d+(?:[.,]\d+)? ?(?:%|MW\b|°C|€)")
"""A figure with one of their units."""


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """Nothing that the flow asks is there: the ports are bound by nobody who answers."""
    with socket.socket() as device, socket.socket() as broker:
        for one in (device, broker):
            one.bind(("127.0.0.1", 0))  # not listening: connections are refused
        environment = {
            "BESS_MODBUS_ENABLED": "true",
            "BESS_MODBUS_HOST": "127.0.0.1",
            "BESS_MODBUS_PORT": str(device.getsockname()[1]),
            "BESS_MQTT_ENABLED": "true",
            "BESS_MQTT_BROKER": "127.0.0.1",
            "BESS_MQTT_PORT": str(broker.getsockname()[1]),
        }
        with run_station(tmp_path_factory.mktemp("away"), environment=environment, away=["exchange"]) as running:
            yield running


def invented(page: Page) -> list[str]:
    """Figures with a unit that stand in tiles, charts, tables and nodes; limits and ranges are the flow's own."""
    texts = page.locator(
        "[data-part=figure], [data-part=unit], .why .r, tbody td, .node .last, [data-part=age], .plot text"
    ).all_inner_texts()
    return [one for one in texts if MEASURED.search(one) or re.search(r"72[.,]5", one)]


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize("script", [True, False])
def test_no_number_that_was_not_measured(station: Station, visit: Visit, lang: str, script: bool) -> None:
    page = visit("/", lang=lang, java_script_enabled=script)
    if script:
        for field in FIELDS:
            expect(figure(page, field)).to_have_text("–")
            expect(tile(page, field).locator("[data-part=unit]")).to_have_text("")
            expect(tile(page, field)).to_have_class(re.compile(r"\bnone\b"))
        expect(tile(page, "price_eur_mwh").locator("[data-part=cause]")).to_contain_text("price")
    else:
        expect(page.locator("article.tile [data-part=figure]").first).to_have_text("–")
    assert invented(page) == []
    assert "72.5" not in page.content()
    assert "72,5" not in page.content()
    assert "Manual entry" not in page.locator(".tiles, .dash article.tile").all_inner_texts()
    expect(page.locator("article.tile.man")).to_have_count(0)


def test_the_flow_page_says_who_is_away_and_shows_no_number(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess")
    for node in ("modbus", "mqtt", "price"):
        expect(page.locator(f"[data-node='bess/{node}'], [data-node='{node}']").first).to_be_visible()
    assert invented(page) == []
    assert "72.5" not in page.content()


def test_what_was_measured_before_stays_measured(station: Station, visit: Visit) -> None:
    """One value comes by another way: that one is shown, and only that one."""
    station.telemetry(soc_percent=41.3)
    page = visit("/")
    expect(figure(page, "soc_percent")).to_have_text("41.3")
    for field in FIELDS[1:]:
        expect(figure(page, field)).to_have_text("–")
