"""The report in a real browser: it runs under its own policy, draws, says the right figures, zooms, fits a phone."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from flowrunner.replay.page import page as page_of
from tests.replay.result_example import ZONE, Result, made

FIRST, LAST = date(2024, 3, 1), date(2024, 4, 30)
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "chromium is not here; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def result() -> Result:
    """Two months with the day of 23 hours; of 10 April six hours of prices are not known."""
    found = made(FIRST, LAST)
    slots = found["series"]["slots"]
    for index in range(6):
        slots["price_eur_mwh"][slot_at(found, datetime(2024, 4, 10, 6 + index, tzinfo=ZONE))] = None
    return found


@pytest.fixture(scope="module")
def file(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(result), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def wide(browser: Browser, file: Path) -> Iterator[Page]:
    yield from visit(browser, file, viewport=WIDE)


@pytest.fixture
def opened(wide: Page) -> Page:
    """All of the replay, and the pointer elsewhere. One page for many tests: opening it takes longer than they do."""
    wide.mouse.move(0, 0)
    wide.evaluate("show(BEGIN, END)")
    return wide


def visit(browser: Browser, file: Path, **options: Any) -> Iterator[Page]:
    """A page that has said nothing to its console by the end, and asked for no other address."""
    context = browser.new_context(reduced_motion="reduce", timezone_id="Asia/Tokyo", **options)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != file.as_uri() else None)
    page.goto(file.as_uri())
    yield page
    context.close()
    assert said == []


def slot_at(result: Result, at: datetime) -> int:
    starts: list[int] = result["series"]["slots"]["start"]
    return starts.index(round(at.timestamp()))


def point(page: Page, at: datetime, lane: str = "price") -> None:
    """The pointer over a chart, where ``at`` is."""
    x = page.evaluate("([lane, at]) => charts[LANES.findIndex((one) => one.dataset.lane === lane)].valToPos(at, 'x')",
                      [lane, at.timestamp()])  # fmt: skip
    over = page.locator(f"[data-lane={lane}] .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box
    page.mouse.move(box["x"] + x, box["y"] + box["height"] / 2)


def readout(page: Page, lane: str) -> str:
    return " ".join(page.locator(f"[data-lane={lane}] .readout").inner_text().split())


def inks(page: Page, lane: str) -> int:
    """How many colours a chart shows."""
    return int(page.evaluate(f"(lane) => {{ {PIXELS} return new Set(pixels(lane).data).size; }}", lane))


PIXELS = """
  // a copy of the canvas: reading the same one often is slow, and the browser says so
  const pixels = (lane) => {
    const canvas = document.querySelector(`[data-lane=${lane}] canvas`);
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const image = copy.getImageData(0, 0, canvas.width, canvas.height);
    return { width: image.width, data: new Uint32Array(image.data.buffer) };
  };
"""


def window(page: Page) -> str:
    return page.locator("#window").inner_text()


def test_charts_are_drawn_under_the_policy(opened: Page) -> None:
    expect(opened.locator("canvas")).to_have_count(4)
    for lane in ("price", "power", "soc", "profit"):
        assert inks(opened, lane) > 5, lane
    expect(opened.locator(".still")).to_be_hidden()
    assert window(opened) == "1 Mar – 30 Apr 2024"


def test_inline_styles_and_scripts_from_elsewhere_do_not_run(browser: Browser, file: Path, tmp_path: Path) -> None:
    """The policy holds in the browser: what somebody adds to the file is not run."""
    tampered = tmp_path / "tampered.html"
    tampered.write_text(file.read_text(encoding="utf-8").replace("</main>", "</main><script>window.hit = 1</script>"))
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(tampered.as_uri())
    assert page.evaluate("window.hit") is None
    assert any("Content Security Policy" in one for one in said)
    page.close()


def test_the_pointer_reads_a_slot_in_the_flows_zone(opened: Page, result: Result) -> None:
    at = datetime(2024, 4, 15, 9, 30, tzinfo=ZONE)
    opened.evaluate("at => open('day', at)", at.timestamp())
    assert window(opened) == "Mon 15 Apr 2024"
    slots = result["series"]["slots"]
    index = slot_at(result, at.replace(minute=0))
    for lane in ("price", "profit"):
        point(opened, at, lane)
        assert opened.locator("#pill").inner_text() == "Mon 15 Apr 2024 09:00–10:00 CEST"
        assert readout(opened, "price") == f"{slots['price_eur_mwh'][index]:.2f}"
        assert readout(opened, "soc") == f"{slots['soc_percent'][index]:.1f}"
        assert readout(opened, "profit").startswith(f"{slots['profit_eur'][index]:,.2f} ")
    charging = next(i for i in range(index, index + 24) if slots["power_mw"][i] < 0)
    point(opened, datetime.fromtimestamp(slots["start"][charging] + 600, ZONE))
    assert readout(opened, "power") == "↓ 5.00 charging"
    opened.mouse.move(0, 0)
    expect(opened.locator("#pill")).to_be_hidden()
    assert "to" in readout(opened, "price")  # of the day again


def test_a_gap_is_said_and_not_drawn(opened: Page) -> None:
    at = datetime(2024, 4, 10, 8, 30, tzinfo=ZONE)
    opened.evaluate("at => open('day', at)", at.timestamp())
    line = f"""(at) => {{ {PIXELS}
      const {{ width, data }} = pixels("price");
      const x = Math.round(charts[0].valToPos(at, "x", true));
      return data.filter((one, i) => i % width === x && one >>> 24 > 200 && (one & 0xff) < 60).length;
    }}"""
    assert opened.evaluate(line, at.timestamp()) == 0
    assert opened.evaluate(line, datetime(2024, 4, 10, 13, 30, tzinfo=ZONE).timestamp()) > 0
    point(opened, at)
    assert readout(opened, "price") == "not known"


def test_the_night_of_two_zones(opened: Page) -> None:
    begin = datetime(2024, 3, 31, tzinfo=ZONE).timestamp()
    opened.evaluate("at => open('day', at)", begin)
    assert opened.evaluate("[shown.to - shown.from, shown.buckets.length]") == [23 * 3600, 23]
    point(opened, datetime.fromtimestamp(begin + 5400, ZONE))
    assert opened.locator("#pill").inner_text() == "Sun 31 Mar 2024 01:00 CET–03:00 CEST"


def test_coarser_charts_lose_nothing(opened: Page, result: Result) -> None:
    """Whatever a point stands for: the energies of all points are those of the replay, and no two overlap."""
    told = "(level) => buckets(BEGIN, END, level).map((one) => [one.from, one.to, one.bought, one.sold, one.profit])"
    counts = []
    for index in range(5):
        points = opened.evaluate(f"(index) => ({told})(LEVELS[index])", index)
        counts.append(len(points))
        assert sum(one[2] for one in points) == pytest.approx(result["energy"]["bought_mwh"])
        assert sum(one[3] for one in points) == pytest.approx(result["energy"]["sold_mwh"])
        assert points[-1][4] == pytest.approx(result["profit_eur"], abs=0.01)
        assert all(one[1] == other[0] for one, other in itertools.pairwise(points))
    assert counts == [61 * 24 - 1, 61 * 24 - 1, 61 * 8, 61, 10]


def test_dragging_zooms_and_a_double_click_shows_all(opened: Page) -> None:
    over = opened.locator("[data-lane=power] .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    opened.mouse.move(box["x"] + box["width"] * 0.5, middle)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=4)
    opened.mouse.up()
    span = "() => (shown.to - shown.from) / (END - BEGIN)"
    opened.wait_for_function(f"({span})() < 0.3")
    assert 0.15 < opened.evaluate(span) < 0.25
    assert opened.evaluate("new Set(charts.map((chart) => chart.scales.x.min)).size") == 1  # one axis for all
    opened.mouse.dblclick(box["x"] + box["width"] * 0.5, middle)
    assert opened.evaluate(span) == 1


def test_calendar_buttons_tables_and_range_bar(opened: Page) -> None:
    opened.click("[data-unit=month]")
    assert window(opened) == "1 Apr – 30 Apr 2024"
    expect(opened.locator("#later")).to_be_disabled()
    opened.click("#earlier")
    assert window(opened) == "1 Mar – 31 Mar 2024"
    expect(opened.locator("[data-unit=month]")).to_have_attribute("aria-pressed", "true")
    link = opened.locator("#days a").first
    day = link.inner_text()
    link.click()
    assert window(opened) == day
    opened.locator("#frame-from").focus()
    opened.keyboard.press("ArrowLeft")
    assert opened.evaluate("shown.to - shown.from") in (47 * 3600, 48 * 3600)
    opened.keyboard.press("Home")
    assert opened.evaluate("shown.from === BEGIN")


def test_keys_read_and_zoom(opened: Page, result: Result) -> None:
    opened.locator("#plots").focus()
    opened.keyboard.press("d")
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowRight")
    price = result["series"]["slots"]["price_eur_mwh"][1]
    said = opened.locator("#said").inner_text()
    assert said.startswith(f"Fri 1 Mar 2024 01:00–02:00 CET: Price {price:.2f}, Power ")
    opened.keyboard.press("Shift+ArrowRight")
    assert window(opened) == "Sat 2 Mar 2024"
    opened.keyboard.press("0")
    assert window(opened) == "1 Mar – 30 Apr 2024"


def test_themes(browser: Browser, file: Path) -> None:
    for page in visit(browser, file, viewport=WIDE, color_scheme="dark"):
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(13, 17, 23)"
        dark = page.evaluate("inks.ink")
        page.get_by_role("button", name="Switch to light").click()
        assert page.evaluate(ground) == "rgb(244, 246, 248)"
        assert page.evaluate("inks.ink") != dark
        expect(page.get_by_role("button", name="Switch to dark")).to_be_visible()


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, file: Path) -> None:
    for page in visit(browser, file, viewport=PHONE, has_touch=True):
        page.click("summary")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        clause = page.locator("#rules tbody th").first.bounding_box()
        assert clause
        assert clause["height"] < 60  # it is not squeezed to a column of letters
        page.click("[data-unit=day]")
        assert inks(page, "price") > 5
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_without_script_the_overview_and_the_tables_stay(browser: Browser, file: Path) -> None:
    for page in visit(browser, file, viewport=PHONE, java_script_enabled=False):
        expect(page.get_by_role("img")).to_have_count(4)
        expect(page.locator("#months tbody tr")).to_have_count(2)
        expect(page.locator("#plots")).to_be_hidden()


def test_small_text_can_be_read_in_both_themes(browser: Browser, file: Path) -> None:
    """Contrast 4.5:1 (WCAG 2.2, 1.4.3) of every text against the ground behind it."""
    for page in visit(browser, file, viewport=WIDE, color_scheme="light"):
        page.click("summary")
        assert page.evaluate(CONTRAST) == []
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (value) => ((value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const found = parse(getComputedStyle(element).backgroundColor);
      if (found.length < 4 || found[3] > 0.99) return found;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("script, :disabled")) continue;
    const [ink, paper] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) faint.add(`${node.data.trim()} ${ratio.toFixed(2)}`);
  }
  return [...faint];
}"""
