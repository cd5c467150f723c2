"""The live table of a running engine, and the log above it.

The event loop only takes a look at the counters, four times a second; a thread of its own makes the picture and
writes it. So a terminal that is slow, held (Ctrl-S) or gone never keeps the flow waiting.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.logs import Secrets
from flowrunner.message import Instant
from flowrunner.terminal.device import Device
from flowrunner.terminal.glance import glance
from flowrunner.terminal.painter import Line, Look, Painter, Scene
from flowrunner.units import iso

LOOK_EVERY_S = 0.25
PATIENCE_S = 1.0
"""For a terminal that does not take what is written, when the program ends."""
log = logging.getLogger("flowrunner.terminal")


class Terminal:
    """``with Terminal(sys.stderr, secrets) as terminal:`` around a run; afterwards the log goes as it went before.

    ``show`` begins the table, ``rest`` ends it. Lines of the log are shown above and then below it.
    """

    def __init__(self, stream: TextIO, secrets: Secrets) -> None:
        self._stream, self._secrets = stream, secrets
        self._device = Device(stream.fileno())
        self._painter: Painter | None = None
        self._look: Callable[[], None] | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._before: list[logging.Handler] = []
        self._printed: dict[str, TextIO] = {}

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.rest()
        if self._painter is not None:
            self._painter.end(PATIENCE_S)
            self._hand_back()

    # ---- in the event loop --------------------------------------------------------------------------------------

    def show(self, engine: Engine, base: str) -> None:
        """Begin the table of ``engine``, which answers at the URL ``base``. Within the running loop."""
        live = isinstance(engine.clock, LiveClock)
        scene = Scene(
            base=base,
            speed=getattr(engine.clock, "speed", 1.0),
            live=live,
            day=iso(time.time_ns())[:10] if live else "",
        )
        painter = self._painter = Painter(self._device, scene, self._secrets.mask, self._painter_failed)
        root = logging.getLogger()
        self._before = root.handlers[:]
        now = None if live else engine.clock.now
        root.handlers[:] = [
            _Above(painter, now, one.formatter)
            if isinstance(one, logging.StreamHandler) and one.stream is self._stream
            else one
            for one in self._before
        ]
        for name in ("stdout", "stderr"):
            stream: TextIO | None = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._printed[name] = stream
                setattr(sys, name, _Printed(painter))
        painter.start()
        began = time.monotonic_ns()
        loop = asyncio.get_running_loop()

        def look() -> None:
            workers = engine.runtime.workers
            nodes = [glance(one.spec, one.counters, one.inbox) for one in workers.values()]
            titles = {head.name: _title(head.title) for head in engine.graph.flows.values()}
            painter.show(Look(engine.clock.now(), time.monotonic_ns() - began, nodes, titles))

        def again() -> None:
            self._tick = loop.call_later(LOOK_EVERY_S, again)
            look()

        again()
        self._look = look
        if hasattr(signal, "SIGTSTP") and signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
            loop.add_signal_handler(signal.SIGTSTP, self._suspend, loop)

    def rest(self) -> None:
        """The table stays on the screen as it is now, and the log goes on below it."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
            if self._painter is not None and self._look is not None:
                self._look()
                self._painter.rest()

    def _suspend(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ctrl-Z: a shell gets its terminal as it was; where no shell could wake us, the system does not suspend us.

        Here the whole program stands still until ``fg`` or ``bg``: that is what a person asked for.
        """
        if self._painter is None:
            return
        self._painter.pause(PATIENCE_S)
        loop.remove_signal_handler(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend, loop)
        self._painter.resume()

    # ---- the way back -------------------------------------------------------------------------------------------

    def _hand_back(self) -> None:
        if self._before:
            logging.getLogger().handlers[:] = self._before
            self._before = []
        for name, stream in self._printed.items():
            setattr(sys, name, stream)
        self._printed.clear()

    def _painter_failed(self, error: Exception, lines: list[Line]) -> None:
        """A defect of the table is no reason to be silent: plain lines again."""
        self._hand_back()
        self._device.usual_keys()
        print("\x1b[?25h", *[one.whole for one in lines], sep="\n", file=self._stream, flush=True)
        log.error("the table cannot be shown; this is a defect of flowrunner, and the flow runs on", exc_info=error)


def _title(title: str | dict[str, str] | None) -> str:
    if isinstance(title, dict):
        return title.get("en") or next(iter(title.values()), "")
    return title or ""


class _Above(logging.Handler):
    """Lines of the log, with flow time where that is another one (``now``)."""

    def __init__(
        self, painter: Painter, now: Callable[[], Instant] | None, formatter: logging.Formatter | None
    ) -> None:
        super().__init__()
        self._painter, self._now = painter, now
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            whole = self.format(record)
            _, level, text = whole.split(" ", 2)  # as logs.Formatter writes it
            at: Instant = self._now() if self._now else round(record.created * 1e9)
            self._painter.say(Line(at, level, text, whole))
        except Exception:  # as every handler of the standard library: a line must not stop who wrote it
            self.handleError(record)


class _Printed(io.TextIOBase):
    """What somebody prints (a node under construction, Python itself) goes above the table, line by line."""

    encoding = "utf-8"

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._guard = threading.Lock()
        self._begun = ""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        with self._guard:
            *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line.expandtabs())
            self._painter.say(Line(0, "", shown, shown))
        return len(text)
