"""The pages in a real browser: how soon a value is on the screen, and how smoothly a large flow is moved."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.flows import many_nodes
from bench.node_red import NotAtHand
from bench.programs import BESS, PROGRAM, TELEMETRY, client, port_of
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.web.graph import Drawings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NODES = 304
"""Of the flow that is moved."""
SETTLE_MS, MOVED_MS = 4000, 4000
FRAMES = """async (ms) => {
  const canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect();
  const turn = (more) => canvas.dispatchEvent(new WheelEvent("wheel", {
    cancelable: true, clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, ...more}));
  let frames = 0, began = 0;
  return new Promise((done) => {
    const next = (now) => {
      began ||= now;
      if (now - began >= ms) return done(frames / ((now - began) / 1000));
      frames += 1;
      const at = now / 300;
      turn({deltaX: Math.sin(at) * 24, shiftKey: true});
      turn({deltaY: Math.cos(at) * 24});
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  });
}"""


def layout() -> float:
    """Seconds to set out a flow of 1,000 nodes."""
    graph = check_flows({"large.yaml": many_nodes(1000)}, {}, Registry()).graph
    if graph is None:
        raise SystemExit("the flow that is to be drawn is wrong")
    began = time.perf_counter()
    Drawings().of(graph, "large", 1)
    return time.perf_counter() - began


def first_value() -> float:
    """Seconds from the click to the first measured value of the dashboard on the screen, nothing cached."""
    with _running(BESS) as url, _chromium() as browser:
        client().post(f"{url}/api/bess/telemetry", json=TELEMETRY).raise_for_status()
        page = browser.new_page()
        page.goto(url)
        page.get_by_text("64.2", exact=True).first.wait_for()
        if "64.2" not in client().get(url).text:
            raise SystemExit("the page of the server holds no value: it is the scripts that bring it")
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        painted: float = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
        return painted / 1000


def frames() -> float:
    """Frames per second while a flow of 300 nodes, all on screen and at work, is shifted and zoomed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.yaml"
        file.write_text(many_nodes(NODES), "utf-8")
        with _running(file) as url, _chromium() as browser:
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            page.goto(f"{url}/flows/large#view=graph")
            page.locator("#canvas").focus()
            page.keyboard.press("0")
            page.wait_for_timeout(SETTLE_MS)
            if page.locator("g.n").count() != NODES:
                raise SystemExit(f"of {NODES} nodes {page.locator('g.n').count()} are on screen")
            found: float = page.evaluate(FRAMES, MOVED_MS)
            return found


@contextmanager
def _running(file: Path) -> Iterator[str]:
    """``flowrunner run FILE``: its address."""
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryFile("w+") as lines:
        arguments = ["run", str(file), "--port", "0", "--data", data, "--log", "json"]
        process = subprocess.Popen([*PROGRAM, *arguments], stderr=subprocess.PIPE, stdout=lines, text=True)
        try:
            yield f"http://127.0.0.1:{port_of(process)}"
        finally:
            process.terminate()
            process.communicate(timeout=20)


@contextmanager
def _chromium() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright  # only for these figures
    except ImportError:
        raise NotAtHand("playwright is not at hand") from None
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise NotAtHand("chromium is not at hand")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
