"""The rig itself: it sees what it is to see. A page that complains, asks elsewhere or breaks the policy fails."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.looking import AXE, Looking, axe, sideways
from tests.browser.rig import Station

BAD = "<!doctype html><html lang=en><title>t</title><main><img src=/x.png><div style='width:2000px'>wide</div></main>"


def test_what_is_not_ours_is_as_it_came() -> None:
    for name, digest in re.findall(r"^\| (\S+) .* ([0-9a-f]{64}) \|$", (AXE.parent / "README.md").read_text(), re.M):
        assert hashlib.sha256(Path(AXE.parent, name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("console.log('a word')", "log: a word"),
        ("setTimeout(() => { throw new Error('thrown') })", "thrown"),
        ("fetch('http://127.0.0.2:9/').catch(() => 0)", "policy: connect-src refused http://127.0.0.2:9/"),
        ("setTimeout(() => { location = 'http://127.0.0.2:9/' })", "asked elsewhere: http://127.0.0.2:9/"),
        ("document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}))", "policy"),
        ("document.body.innerHTML = '<b onclick=1>x</b>'", "policy"),
    ],
)
def test_a_page_that_does_what_it_must_not_is_told(browser: Browser, station: Station, script: str, said: str) -> None:
    looking = Looking(browser, station)
    page = looking.visit("/login")
    page.evaluate(f"() => {{ try {{ {script} }} catch (error) {{ console.error(String(error)) }} }}")
    looking.heard(page, said)
    with pytest.raises(AssertionError, match=re.escape(said)):
        looking.close()


def test_findings_of_axe_and_sideways_scrolling_are_seen(browser: Browser, station: Station) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_content(BAD)
    assert sideways(page)[0] == "html scrolls to 2008"
    with pytest.raises(AssertionError, match="image-alt"):
        axe(page)
    page.close()


def test_time_goes_on_when_it_is_told(station: Station) -> None:
    before = station.inside(station.clock.now)
    station.advance("1h")
    assert 3600 * 10**9 <= station.inside(station.clock.now) - before < 3700 * 10**9
