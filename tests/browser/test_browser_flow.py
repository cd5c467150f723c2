"""The flow page in a real browser: drawn, live, found by hand and by key, and honest about what it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.looking import PHONE, Looking, Theme, axe, no_sideways, weight
from tests.browser.rig import BESS, Station
from tests.browser.rig import station as run_station

NODES = 15
"""Of flows/bess.yaml with neither Modbus nor MQTT."""
AWAY = ("net::ERR_", "Failed to load resource")
MOST_BYTES = 80 * 1024
MOST_MOVING = 40


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """An own one: here files change and the server goes away."""
    with run_station(tmp_path_factory.mktemp("station")) as running:
        running.measured()
        yield running


def box(page: Page, name: str) -> Locator:
    return page.locator(f"g.n[aria-label^='{name}, ']")


def inspector(page: Page) -> Locator:
    return page.locator("#insp")


def row(page: Page, name: str) -> Locator:
    return page.locator(f"tr[data-node='{name}']")


def connected(page: Page) -> None:
    expect(page.locator("#live")).to_contain_text("Live")


# ---- drawn --------------------------------------------------------------------------------------------------------


def test_every_node_is_a_box_and_every_wire_a_line(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess", 1600)
    expect(page.locator("g.n")).to_have_count(NODES)
    wires = station.http.get(f"{station.url}/api/v1/flows/bess/layout").json()["wires"]
    expect(page.locator(".ws > path")).to_have_count(len(wires))
    telemetry = box(page, "telemetry")
    expect(telemetry).to_contain_text("merge")
    expect(telemetry.locator(".val")).to_have_text("64.2 % · 4.8 MW")
    assert {one["to"] for one in wires if one["apart"]} == {"alarms"}
    expect(page.locator(".ws > path.ee")).to_have_count(sum(one["apart"] for one in wires))


def test_values_move_on_boxes_and_in_the_table(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess", 1600, lang="de")
    connected(page)
    for soc in (55.5, 44.25):
        station.measured(soc=soc)
        said = str(soc).replace(".", ",")
        expect(box(page, "telemetry").locator(".val")).to_have_text(f"{said} % · 4,8 MW")
    page.get_by_role("button", name="Tabelle").click()
    expect(row(page, "telemetry").locator("[data-part=last]")).to_contain_text("soc_percent 44,25 %")
    expect(row(page, "telemetry").locator("[data-part=age]")).to_contain_text("vor ")


def test_only_busy_wires_move_and_none_where_that_is_not_wanted(station: Station, looking: Looking) -> None:
    still = looking.visit("/flows/bess", 1600)
    lively = looking.visit("/flows/bess", 1600, motion="no-preference")
    for page in (still, lively):
        connected(page)
    for turn in range(30):
        station.measured(soc=50 + turn)
        lively.wait_for_timeout(100)  # the rate of a node is of some seconds
    for page in (still, lively):
        expect(page.locator(".fs .ed").first).to_be_attached()
        assert page.locator(".fs .ed").count() <= MOST_MOVING
    moved = """() => {
      const lane = document.querySelector(".fs .ed").parentElement, was = lane.style.strokeDashoffset;
      return new Promise((done) => setTimeout(() => done(lane.style.strokeDashoffset !== was), 500));
    }"""
    assert lively.evaluate(moved)
    assert not still.evaluate(moved)
    assert styled(lively, 1000) < 30  # of sixty frames: what flows must not have all of them styled and painted
    tones = lively.locator(".ws > path.st").count()
    assert tones > 0  # nobody has entered anything: that wire is dotted and still


def styled(page: Page, ms: int) -> float:
    """So often styles were worked out while nobody touched the page."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def count() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "RecalcStyleCount"))

    before = count()
    page.evaluate("(ms) => new Promise((done) => setTimeout(done, ms))", ms)
    return count() - before


def test_a_gesture_asks_once_where_things_are(visit: Visit) -> None:
    """Each answer has the whole page laid out."""
    page = visit("/flows/bess", 1600)
    expect(page.locator("g.n")).to_have_count(NODES)
    asked = page.evaluate("""() => {
      const canvas = document.getElementById("canvas"), ask = Element.prototype.getBoundingClientRect;
      let asked = 0;
      Element.prototype.getBoundingClientRect = function () { asked += 1; return ask.call(this); };
      const turn = (done) => {
        canvas.dispatchEvent(new WheelEvent("wheel", {deltaY: 4, clientX: 700, clientY: 400, cancelable: true}));
        if (turn.left-- > 0) requestAnimationFrame(() => turn(done)); else done(asked);
      };
      turn.left = 20;
      return new Promise(turn);
    }""")
    assert asked == 1


# ---- found --------------------------------------------------------------------------------------------------------


def test_a_node_is_opened_and_closed_by_hand(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess", 1600)
    box(page, "power-limit").click()
    shown = inspector(page)
    expect(shown.get_by_role("heading", name="power-limit")).to_be_visible()
    assert page.url.endswith("#node=power-limit")
    line = 1 + BESS.read_text("utf-8").split("\n").index(
        next(one for one in BESS.read_text("utf-8").split("\n") if one.startswith("  power-limit:"))
    )
    expect(shown.get_by_role("link", name=re.compile(rf"bess\.yaml:{line}$"))).to_be_visible()
    expect(shown.locator(".hl").first).to_contain_text("power-limit:")
    expect(shown.locator(".hl").last).to_contain_text("above: 5")
    expect(shown.locator(".kpis")).to_contain_text("/1,000")
    shown.get_by_role("button", name="Close").click()
    expect(shown).to_be_hidden()
    assert "#" not in page.url


def test_a_node_is_found_by_keys_alone(visit: Visit) -> None:
    page = visit("/flows/bess", 1600)
    expect(page.locator("g.n")).to_have_count(NODES)
    page.keyboard.press("/")
    page.keyboard.type("tele")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(inspector(page).get_by_role("heading", name="telemetry")).to_be_visible()
    page.keyboard.press("Escape")
    expect(inspector(page)).to_be_hidden()
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")
    current = page.locator("g.n.cur")
    expect(current).to_have_count(1)
    assert current.get_attribute("aria-label", timeout=1000) != box(page, "telemetry").get_attribute("aria-label")
    page.keyboard.press("ArrowLeft")
    expect(current).to_have_attribute("aria-label", re.compile("^telemetry, "))
    page.keyboard.press("Enter")
    expect(inspector(page)).to_be_focused()
    expect(inspector(page).get_by_role("heading", name="telemetry")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#canvas")).to_be_focused()


def test_nothing_found_is_said(visit: Visit) -> None:
    page = visit("/flows/bess")
    page.get_by_role("combobox").fill("nobody")
    expect(page.get_by_role("option")).to_have_text("nothing found")
    page.keyboard.press("Enter")
    expect(inspector(page)).to_be_hidden()


def test_the_address_holds_what_is_shown(visit: Visit) -> None:
    page = visit("/flows/bess#node=guard&view=table&show=rate", 1600)
    expect(inspector(page).get_by_role("heading", name="guard")).to_be_visible()
    expect(page.get_by_role("button", name="Rate")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#nodes")).to_be_visible()
    expect(page.locator("#canvas")).to_be_hidden()
    page.get_by_role("button", name="Graph").click()
    page.get_by_role("button", name="Latency").click()
    assert page.url.endswith("#node=guard&view=graph&show=time")
    expect(box(page, "guard").locator(".val")).to_have_text(re.compile("µs|ms|–"))


def test_a_node_that_is_gone_is_said(visit: Visit) -> None:
    page = visit("/flows/bess#node=nobody")
    expect(page.locator("#notes")).to_contain_text("The node nobody does not run (any more).")
    expect(inspector(page)).to_be_hidden()


def test_it_is_moved_and_zoomed(visit: Visit) -> None:
    page = visit("/flows/bess", 1600)
    node = box(page, "telemetry")
    expect(node).to_be_visible()
    before = node.bounding_box()
    assert before
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function(
        "width => document.querySelector('g.n .nb').getBoundingClientRect().width > width * 1.4", arg=before["width"]
    )
    page.mouse.move(800, 700)
    page.mouse.down()
    page.mouse.move(900, 720, steps=5)
    page.mouse.up()
    expect(inspector(page)).to_be_hidden()  # that was no click
    page.locator("#canvas").focus()
    page.keyboard.press("0")
    page.wait_for_function(
        "() => [...document.querySelectorAll('g.n .nb')].every((one) => {"
        " const box = one.getBoundingClientRect(); return box.left >= 56 && box.right <= innerWidth; })"
    )


@pytest.mark.parametrize("width", [1000, 1600])
def test_all_of_it_fits_beside_the_inspector(visit: Visit, width: int) -> None:
    """Where there is little room the inspector lies over the picture."""
    page = visit("/flows/bess#node=telemetry", width)
    expect(inspector(page).locator(".hl").first).to_be_visible()
    page.get_by_role("button", name="Fit all").click()
    page.wait_for_function(
        "() => { const edge = document.getElementById('insp').getBoundingClientRect().left;"
        " const boxes = [...document.querySelectorAll('g.n .nb')].map((one) => one.getBoundingClientRect());"
        " return boxes.length > 10 && boxes.every((one) => one.left >= 56 && one.right <= edge); }"
    )
    assert page.locator("h1").count() == 1


def test_the_state_of_then_is_shown_and_left_again(station: Station, visit: Visit) -> None:
    station.measured(soc=51.5)
    hub = station.server.hub
    station.inside(hub._step)
    station.until(lambda: "soc_percent 51.5" in str(hub.then("bess", 2**62)), "the step is not kept")
    steps = station.http.get(f"{station.url}/api/v1/flows/bess/strip").json()["steps"]["at"]
    at = steps[-1]
    station.measured(soc=52.5)
    page = visit("/flows/bess#node=telemetry", 1600)
    value = box(page, "telemetry").locator(".val")
    expect(value).to_have_text("52.5 % · 4.8 MW")
    connected(page)
    pick = page.get_by_label("Choose a time to see the state of then")
    pick.fill(str(steps.index(at)))
    shown = page.locator("#then")
    expect(shown).to_contain_text("State at ")
    expect(value).to_have_text("51.5 % · 4.8 MW")
    expect(page.locator(".fs .ed")).to_have_count(0)  # nothing flows then
    expect(inspector(page).locator(".newest")).to_be_hidden()  # that is of now
    axe(page)
    pick.focus()
    page.keyboard.press("Escape")
    expect(shown).to_be_hidden()
    expect(value).to_have_text("52.5 % · 4.8 MW")
    expect(inspector(page)).to_be_visible()


# ---- one node --------------------------------------------------------------------------------


def test_messages_are_tapped_held_and_filtered(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess#node=telemetry", 1600)
    connected(page)
    lines = inspector(page).locator(".msgs > li")
    expect(inspector(page).locator(".tap")).to_contain_text("Waiting for the next message")
    station.until(lambda: station.server.hub.taps._feeds, "nobody taps")
    for soc in (41.5, 42.5):
        station.measured(soc=soc)
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("soc_percent 42.5")
    inspector(page).get_by_label("Filter messages").fill("41.5")
    expect(lines).to_have_count(1)
    inspector(page).get_by_label("Filter messages").fill("nothing like this")
    expect(inspector(page).locator(".tap")).to_contain_text("No message matches the filter.")
    inspector(page).get_by_label("Filter messages").fill("")
    lines.first.locator("summary").click()
    expect(lines.first.locator(".whole")).to_contain_text("lineage")
    inspector(page).get_by_role("button", name="Pause").click()
    station.measured(soc=43.5)
    expect(inspector(page).locator(".tap .chip")).to_have_text("paused, 1 new")
    expect(lines).to_have_count(2)
    page.keyboard.press("Escape")
    expect(inspector(page)).to_be_hidden()
    station.until(lambda: not station.server.hub.taps._feeds, "somebody still taps")


def test_the_newest_message_says_where_each_value_is_from(station: Station, visit: Visit) -> None:
    station.measured(soc=61.5)
    page = visit("/flows/bess#node=telemetry", 1600)
    newest = inspector(page).locator(".newest")
    expect(newest).to_contain_text("61.5 %")
    expect(newest.locator(".of").first).to_contain_text(re.compile(r"rest · .* ago"))


def test_a_rule_says_why(station: Station, visit: Visit) -> None:
    station.measured(soc=61.5)
    page = visit("/flows/bess#node=buy", 1600)
    why = inspector(page).locator("section", has_text="Last decision")
    expect(why).to_contain_text("no wish")
    expect(why.locator("li").first).to_contain_text("soc_percent < 30")
    expect(why.locator("li").first).to_contain_text("61.5")


def test_the_type_explains_itself(visit: Visit) -> None:
    page = visit("/flows/bess#node=telemetry", 1600)
    inspector(page).locator("summary", has_text="About merge").click()
    expect(inspector(page).locator(".reference")).to_contain_text("stale_after")
    expect(inspector(page).locator(".reference")).to_contain_text("Keep the newest of each field")


# ---- states --------------------------------------------------------------------------------


def test_without_script_the_table_is_there(looking: Looking) -> None:
    page = looking.visit("/flows/bess", java_script_enabled=False)
    expect(row(page, "telemetry")).to_be_visible()
    expect(row(page, "telemetry").locator("[data-part=last]")).to_contain_text("soc_percent")


def test_a_refused_file_is_said_in_place_and_gone_when_it_is_good(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess#node=telemetry", 1600)
    connected(page)
    text = BESS.read_text("utf-8")
    try:
        station.reload(text.replace("stale_after: 90s", "stale_afte: 90s"))
        note = page.locator("[data-note=refused]")
        expect(note).to_contain_text("The newer file was refused")
        expect(note).to_contain_text("did you mean 'stale_after'?")
        expect(note.locator(".wrong")).to_contain_text("stale_afte: 90s")
        expect(inspector(page).locator(".config .wrong")).to_contain_text("stale_afte: 90s")
        expect(inspector(page).locator(".config .hl").last).to_contain_text("stale_after: 90s")  # what runs
        expect(page.locator("#strip-marks")).to_contain_text("Reload refused")
    finally:
        station.reload(text)
    expect(page.locator("[data-note=refused]")).to_be_hidden()
    expect(inspector(page).locator(".config .wrong")).to_have_count(0)


def test_an_open_page_says_which_file_runs(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess", 1600)
    connected(page)
    text, chip = BESS.read_text("utf-8"), page.locator("#runs .mono")
    before = chip.text_content() or "none"
    try:
        station.reload(text.replace("clear_after: 5min", "clear_after: 6min"))
        expect(chip).not_to_have_text(before)
        expect(chip).to_have_text(re.compile("^[0-9a-f]{7}$"))
    finally:
        station.reload(text)
    expect(chip).to_have_text(before)


def test_another_wiring_is_drawn_without_being_asked(station: Station, visit: Visit) -> None:
    page = visit("/flows/bess", 1600)
    connected(page)
    text = BESS.read_text("utf-8")
    try:
        station.reload(text.replace("  history: {", "  watch: {type: log, from: state}\n  history: {"))
        expect(box(page, "watch")).to_be_attached()
        expect(page.locator("g.n")).to_have_count(NODES + 1)
    finally:
        station.reload(text)
    expect(page.locator("g.n")).to_have_count(NODES)


def test_what_is_old_is_marked_with_its_age(station: Station, visit: Visit) -> None:
    station.measured(soc=61.5)
    page = visit("/flows/bess", 1600)
    expect(box(page, "telemetry").locator(".val")).to_contain_text("61.5 %")
    station.advance("2min")
    stale = page.locator("g.n.stale[aria-label^='telemetry, ']")
    expect(stale.locator(".val")).to_have_text(re.compile(r"^61\.5 % · 2 min ago$"))
    page.get_by_role("button", name="Table").click()
    expect(row(page, "telemetry")).to_have_attribute("data-state", "stale")
    station.measured(soc=62.5)
    expect(row(page, "telemetry")).to_have_attribute("data-state", "active")


def test_a_server_that_is_away_and_back(station: Station, looking: Looking) -> None:
    page = looking.visit("/flows/bess", 1600)
    connected(page)
    looking.allow(*AWAY)
    station.stop_server()
    try:
        expect(page.locator(".flow.lost")).to_be_visible(timeout=4000)
        expect(page.locator(".fs .ed")).to_have_count(0)  # nothing flows that anybody would know of
    finally:
        station.start_server()
    expect(page.locator(".flow.lost")).to_be_hidden(timeout=10000)
    station.measured(soc=33.5)
    expect(box(page, "telemetry").locator(".val")).to_contain_text("33.5 %")


# ---- for everybody --------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["graph", "table"])
def test_axe_finds_nothing_serious(visit: Visit, theme: Theme, view: str) -> None:
    page = visit(f"/flows/bess#node=telemetry&view={view}", 1600, theme)
    connected(page)
    expect(inspector(page).locator(".hl").first).to_be_visible()
    inspector(page).locator("summary", has_text="About merge").click()
    expect(inspector(page).locator(".reference")).to_be_visible()
    axe(page)


@pytest.mark.parametrize("lang", ["en", "de"])
def test_a_phone_shows_the_table_first(visit: Visit, lang: str) -> None:
    page = visit("/flows/bess", PHONE, lang=lang)
    connected(page)
    expect(page.locator("#canvas")).to_be_hidden()
    expect(row(page, "telemetry")).to_be_visible()
    no_sideways(page)
    row(page, "telemetry").click()
    expect(inspector(page)).to_be_visible()
    expect(inspector(page).locator(".hl").first).to_be_visible()
    no_sideways(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Graph").click()
    expect(page.locator("#canvas")).to_be_visible()
    no_sideways(page)


@pytest.mark.parametrize("opened", ["", "#node=telemetry&view=graph"])
def test_it_weighs_little(looking: Looking, opened: str) -> None:
    """Figures that are asked for again and again are no more counted than the stream, which brings the others."""
    loaded = weight(looking, f"/flows/bess{opened}", told=bool(opened))
    counted = {one: size for one, size in loaded.items() if not re.search("/(work|strip|nodes/[^/]+)$", one)}
    assert sum(counted.values()) <= MOST_BYTES, loaded
    assert len(counted) > 10
    assert any(one.endswith("/source") for one in loaded) == bool(opened), loaded
