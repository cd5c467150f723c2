"""The thread that writes to the terminal: what is new above the table, and the table as it is now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from flowrunner.message import Instant
from flowrunner.terminal.device import Device
from flowrunner.terminal.glance import Glance
from flowrunner.terminal.rate import WINDOW_S, Rate
from flowrunner.terminal.rows import row
from flowrunner.terminal.values import Mask, age_text, plain
from flowrunner.units import SECOND, iso

if TYPE_CHECKING:  # rich takes its time to import: the thread does it, and only where there is a terminal
    from rich.text import Text

    from flowrunner.terminal.layout import Picture
    from flowrunner.terminal.region import Region

MOST_LINES = 1000
"""Lines that wait for a terminal that is held; then the oldest go, and their number is told."""
LEVELS = {"DEBUG": "dim", "INFO": "", "WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Line(msgspec.Struct, frozen=True):
    """One event. Its texts have no control characters but line feeds."""

    at: Instant
    level: str
    """Empty: something that was printed."""
    text: str
    whole: str
    """As a plain line of the log."""


class Scene(msgspec.Struct, frozen=True):
    """What stays as it is during a run."""

    base: str
    speed: float
    live: bool
    """Whether flow time is the time of the wall."""
    day: str = ""
    """The day that the lines before were of."""


class Look(msgspec.Struct, frozen=True):
    """What was seen of the engine at one instant of flow time."""

    now: Instant
    up_ns: int
    nodes: list[Glance]
    titles: dict[str, str]
    """Flow → its title."""


class Painter(threading.Thread):
    """Nobody waits for it but who ends it, and that not for long."""

    def __init__(self, device: Device, scene: Scene, mask: Mask, give_up: Callable[[Exception, list[Line]], None]):
        """``give_up`` is told of a defect, with the lines that were not shown."""
        super().__init__(name="terminal", daemon=True)
        self._device, self._scene, self._mask, self._give_up = device, scene, mask, give_up
        self._news = threading.Event()
        self._guard = threading.Lock()
        self._lines: deque[Line] = deque()
        self._at_hand: list[Line] = []
        """Taken, not written yet."""
        self._lost = 0
        self._below: int | None = None
        """From this line on they belong below the table, which rests."""
        self._look: Look | None = None
        self._rates: dict[tuple[str, str], Rate] = {}
        self._day = scene.day
        self._in_front = False
        self._resting = self._ending = self._over = False
        self._stepping_back, self._away, self._back = threading.Event(), threading.Event(), threading.Event()

    # ---- for others ---------------------------------------------------------------------------------------------

    def say(self, line: Line) -> None:
        """Show ``line`` above the table, soon."""
        with self._guard:
            if self._over:
                return  # the terminal is gone: there is nobody to tell
            if len(self._lines) >= MOST_LINES:
                self._lines.popleft()
                self._lost += 1
                self._below = max(self._below - 1, 0) if self._below else self._below
            self._lines.append(line)
        self._news.set()

    def show(self, look: Look) -> None:
        """Show the table like this, soon; a later look takes the place of one that was not shown yet."""
        self._look = look
        self._news.set()

    def rest(self) -> None:
        """The table stays as it was shown last; lines go on below it."""
        with self._guard:
            self._below = len(self._lines)
            self._resting = True
        self._news.set()

    def pause(self, patience: float) -> None:
        """Leave the terminal to others until ``resume``."""
        self._away.clear()
        self._back.clear()
        self._stepping_back.set()
        self._news.set()
        self._away.wait(patience)

    def resume(self) -> None:
        self._stepping_back.clear()
        self._back.set()
        self._news.set()

    def end(self, patience: float) -> bool:
        """Show what there is and leave the terminal as it was found. False when it did not take it in time."""
        self._ending = True
        self.resume()
        self.join(patience)
        if self.is_alive():
            self._device.usual_keys()
        return not self.is_alive()

    # ---- the thread ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._work()
        except OSError:  # the terminal is gone; the flow has no need of it
            self._stop_taking()
        except Exception as error:
            self._give_up(error, self._stop_taking())

    def _stop_taking(self) -> list[Line]:
        with self._guard:
            self._over = True
            left = [*self._at_hand, *self._lines]
            self._lines.clear()
        return left

    def _work(self) -> None:
        from flowrunner.terminal.region import Region

        region = Region()
        while not self._ending:
            self._news.wait()
            self._news.clear()
            if self._stepping_back.is_set():
                self._step_back(region)
                self._away.set()
                self._back.wait()
            else:
                self._paint(region)
        self._paint(region)
        self._step_back(region)

    def _paint(self, region: Region) -> None:
        from flowrunner.terminal.layout import lines

        look, above, below = self._look, *self._taken()
        rests = self._resting and not self._in_front
        if look is None or rests or not self._device.in_foreground():
            self._step_back(region)
            if above or below:
                self._device.write(region.plain([*above, *below]))
            return
        columns, height = self._device.size()
        opening = ""
        if not self._in_front:
            self._in_front, opening = True, HIDE_CURSOR
            self._device.quiet_keys()
        text = region.paint(above, lines(self._picture(look), columns, height), columns, height)
        if opening or text:
            self._device.write(opening + text)
        if self._resting:
            self._step_back(region)
            if below:
                self._device.write(region.plain(below))

    def _step_back(self, region: Region) -> None:
        if self._in_front:
            self._in_front = False
            self._device.usual_keys()
            self._device.write(region.leave() + SHOW_CURSOR)

    # ---- what is shown ------------------------------------------------------------------------------------------

    def _taken(self) -> tuple[list[Text], list[Text]]:
        """The lines that wait: those above and those below the table."""
        from rich.text import Text

        with self._guard:
            lines, lost, below = list(self._lines), self._lost, self._below
            self._lines.clear()
            self._lost = 0
        self._at_hand = lines
        left_out = [Text(f"{lost} lines were left out: the terminal did not take them", "yellow")] if lost else []
        return [*left_out, *self._texts(lines[:below])], [] if below is None else self._texts(lines[below:])

    def _texts(self, lines: list[Line]) -> list[Text]:
        from rich.text import Text

        texts = []
        for line in lines:
            if not line.level:
                texts.append(Text(line.text))
                continue
            day, _, time = iso(line.at).partition("T")
            if day != self._day:
                self._day = day
                texts.append(Text(day, "dim"))
            text = Text(f"{time[:8]}Z ", "dim")
            text.append(f"{line.level:<7} ", LEVELS.get(line.level, "") or "dim")
            texts.append(text.append(line.text, LEVELS.get(line.level, "")))
        return texts

    def _picture(self, look: Look) -> Picture:
        from flowrunner.terminal.layout import Picture

        scene, rows = self._scene, []
        before, self._rates = self._rates, {}  # of nodes that are gone nothing is kept
        for one in look.nodes:
            rate = before.get((one.flow, one.id)) or Rate(int(WINDOW_S * SECOND * scene.speed))
            self._rates[one.flow, one.id] = rate
            rate.learn(one.passed, one.last_at)
            rows.append(row(one, rate.at(look.now), look.now, int(60 * SECOND * scene.speed), self._mask))
        names = list(look.titles)
        what = names[0] if len(names) == 1 else f"{len(names)} flows"
        title = look.titles[names[0]] if len(names) == 1 else ""
        time = f"{iso(look.now)[:19].replace('T', ' ')}Z"
        if not scene.live:
            time = f"flow time {time} ×{scene.speed:g}"
        head = [what, title, time, scene.base, f"up {age_text(look.up_ns)}"]
        titles = {name: plain(title, self._mask) for name, title in look.titles.items()}
        notes = [] if scene.speed == 1 else ["rates and ages in flow time"]
        return Picture([plain(one, self._mask) for one in head if one], titles, rows, notes, self._resting)
