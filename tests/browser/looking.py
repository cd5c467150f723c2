"""A browser that looks at a station: whatever it complains of, asks for elsewhere or is refused fails the test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect, sync_playwright

from tests.browser.rig import Station
from tests.peers.until import until_elsewhere

WIDE, PHONE = 1440, 390
HEIGHTS = {WIDE: 900, PHONE: 844}
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first one is the same browser without the windows around it: a page takes a third of the time."""
ARGUMENTS = ("--no-sandbox", "--disable-gpu")
"""Debian asks for a GPU, and where there is none one is computed."""
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
VIOLATIONS = """
  document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.effectiveDirective} refused ${event.blockedURI} ${event.sample}`));
"""
OPTIONS = "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}"
"""All rules that axe-core runs by itself, and WCAG 2.2's size of what is to be hit."""
COLOURS = "{resultTypes: ['violations'], runOnly: ['color-contrast', 'link-in-text-block']}"
Theme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips, saying so, where there is no browser."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no browser is here: on Debian, apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS])
        yield browser
        browser.close()


class Looking:
    """Opens pages of one station; ``said`` is what the browser complained of, and must stay empty."""

    def __init__(self, browser: Browser, station: Station) -> None:
        self.browser, self.station = browser, station
        self.said: list[str] = []
        self.allowed: list[str] = []
        self.asked: list[str] = []
        """Every address that was asked for."""
        self._contexts: list[BrowserContext] = []

    def open(
        self,
        width: int = WIDE,
        theme: Theme = "light",
        lang: str = "en",
        person: str = "",
        *,
        motion: Literal["reduce", "no-preference"] = "reduce",
        **options: Any,
    ) -> Page:
        """An empty page in a context of its own. ``person``: the role of who is logged in, "" nobody."""
        context = self.browser.new_context(
            viewport={"width": width, "height": HEIGHTS.get(width, 900)},
            color_scheme=theme, locale={"en": "en-GB", "de": "de-AT"}[lang], reduced_motion=motion,
            timezone_id="Asia/Tokyo", has_touch=width == PHONE, **options,
        )  # fmt: skip
        self._contexts.append(context)
        self._watch(context)
        if person:
            context.add_cookies(self.station.cookies[person])
        return context.new_page()

    def visit(self, path: str = "/", width: int = WIDE, theme: Theme = "light", lang: str = "en", person: str = "",
              **options: Any) -> Page:  # fmt: skip
        """A page at ``path``, loaded."""
        page = self.open(width, theme, lang, person, **options)
        page.goto(self.station.url + path)
        return page

    def _watch(self, context: BrowserContext) -> None:
        context.add_init_script(VIOLATIONS)
        context.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: self.said.append(f"error: {error.error}"))
        context.on("request", lambda request: self._ask(request.url))

    def _ask(self, url: str) -> None:
        self.asked.append(url)
        if not url.startswith((self.station.url + "/", "data:", "blob:")):
            self.said.append(f"asked elsewhere: {url}")

    def allow(self, *parts: str) -> None:
        """What is meant to be said from here on: the browser's own words about a server that is away or refuses."""
        self.allowed += parts

    def heard(self, page: Page, part: str) -> None:
        """Waits until the browser has said ``part``."""
        # Asking the page for something lets what it said come in.
        until_elsewhere(lambda: page.title() is None or any(part in one for one in self.said), lambda: self.said, 5.0)

    def close(self) -> None:
        """Ends all that was opened; AssertionError with what the browser said."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        said = [one for one in self.said if not any(part in one for part in self.allowed)]
        assert not said, "\n".join(said)


def sideways(page: Page) -> list[str]:
    """What makes the page scroll sideways, the innermost first; [] where nothing does. Tables and listings may: they
    scroll by themselves."""
    found: list[str] = page.evaluate(
        """() => ["html", "body", ".app", ".page", "main"].flatMap((name) => {
          const one = document.querySelector(name), wide = one?.clientWidth ?? 0;
          if (!one || one.scrollWidth <= wide) return [];
          const edge = one.getBoundingClientRect().left + wide + 0.5;
          const beyond = [...one.querySelectorAll("*")].filter((part) => part.getBoundingClientRect().right > edge);
          return [`${name} scrolls to ${one.scrollWidth}`, ...beyond.reverse().slice(0, 4).map((part) =>
            `${part.tagName.toLowerCase()}.${part.className} ${part.textContent.trim().slice(0, 40)}`)];
        })"""
    )
    return found


def no_sideways(page: Page) -> None:
    found = sideways(page)
    assert not found, "\n".join([page.url, *found])


def axe(page: Page, options: str = OPTIONS) -> None:
    """No serious or critical finding of axe-core. It comes in past the policy, which stays in force for the page."""
    session = page.context.new_cdp_session(page)
    if not page.evaluate("'axe' in window"):
        session.send("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
    run = f"axe.run({options}).then((found) => JSON.stringify(found.violations))"
    answer = session.send("Runtime.evaluate", {"expression": run, "awaitPromise": True})
    session.detach()
    assert "value" in answer["result"], answer
    findings = [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in json.loads(answer["result"]["value"])
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert not findings, "\n".join([page.url, *findings])


def axe_in_both_themes(page: Page) -> None:
    """Colours are looked at in both; all else is the same in them."""
    axe(page)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_class("dark")
    axe(page, COLOURS)


def weight(looking: Looking, path: str, person: str = "", *, told: bool = False) -> dict[str, int]:
    """Bytes on the wire of all that a first visit loads, by address; fonts and the open stream not counted. ``told``:
    with what the scripts ask for, until they have nothing more to ask."""
    page = looking.open(person=person)
    loaded: list[Request] = []
    page.on("requestfinished", lambda request: loaded.append(request))
    page.goto(looking.station.url + path)
    expect(page.locator("main")).to_be_visible()
    if told:
        expect(page.locator("#insp .hl").first).to_be_visible()
        expect(page.locator("#insp .newest details").first).to_be_attached()
    return {one.url: one.sizes()["responseBodySize"] for one in loaded if one.resource_type != "font"}


def tile(page: Page, field: str) -> Locator:
    """The tile of a dashboard that shows one field, on whatever page is there when it is looked at: after a reload the
    page comes anew by itself."""
    return page.locator(f'article.tile[data-field="{field}"]').first


def figure(page: Page, field: str) -> Locator:
    """The number in that tile, as a person reads it."""
    return tile(page, field).locator("[data-part=figure]")


WALK = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect();
  const looks = (element) => [element, element.parentElement, element.parentElement?.parentElement].map((each) => {
    if (!each) return "";
    const {outlineStyle, outlineWidth, boxShadow, borderColor, backgroundColor} = getComputedStyle(each);
    return [outlineStyle === "none" ? 0 : outlineWidth, boxShadow, borderColor, backgroundColor].join();
  }).join(";");
  const before = window.walked, bare = [];
  if (before && before.element !== one && before.looks === looks(before.element)) bare.push(before.what);
  const [label] = ["aria-label", "aria-labelledby", "title"].map((name) => one.getAttribute(name)).filter(Boolean);
  const text = label || one.textContent.trim() || (one.labels?.length ? one.labels[0].textContent : "");
  const what = `${one.tagName} ${one.id || one.name || ""} ${text.trim().slice(0, 30)}`;
  window.walked = {element: one, looks: looks(one), what};
  return {
    what, bare, named: Boolean(text.trim()),
    end: one === document.body || one === document.documentElement,
    visible: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0,
  };
}"""


def walk(page: Page, most: int = 150) -> list[str]:
    """All stops of the Tab key, in order. Each must be in view, have a name, and look another way while it has the
    focus; and the walk must end."""
    page.emulate_media(reduced_motion="reduce")
    walked: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(WALK)
        assert not stop["bare"], f"no focus to be seen: {stop['bare']}"
        if stop["end"]:
            return walked
        assert stop["visible"], f"out of view: {stop['what']}"
        assert stop["named"], f"no name: {stop['what']}"
        walked.append(stop["what"])
    raise AssertionError(f"the walk does not end: {walked[-6:]}")
