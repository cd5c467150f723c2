"""One browser and one station for the tests of a file; who needs another station makes it in a fixture of that name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.looking import Looking, chromium
from tests.browser.rig import Station
from tests.browser.rig import station as run_station

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """flows/bess.yaml with measured values; nobody has to log in."""
    with run_station(tmp_path_factory.mktemp("station")) as running:
        running.measured()
        yield running


@pytest.fixture
def looking(browser: Browser, station: Station) -> Iterator[Looking]:
    found = Looking(browser, station)
    yield found
    found.close()


@pytest.fixture
def visit(looking: Looking) -> Visit:
    """``visit(path, width, theme, lang, person)``: a page that must not complain until the test ends."""
    return looking.visit
