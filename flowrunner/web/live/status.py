"""What is said of the engine as a whole beside its nodes: ready, trading, alarms, problems, the last reload."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from flowrunner import views
from flowrunner.changeover import Reloaded
from flowrunner.engine import Engine
from flowrunner.message import JSON, Instant
from flowrunner.store import Alarms, StoreFailed
from flowrunner.web.live.frame import MS
from flowrunner.web.live.words import short

log = logging.getLogger("flowrunner.web")


class Status:
    """``fetch`` reads what is on the disk, in a thread; ``shown`` is made of that and of what is in memory."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._trading: JSON = {"stopped": False, "by": "", "reason": "", "since": None}
        self._alarms: JSON = None
        self._problems: JSON = {"errors": 0, "warnings": 0}
        self._failed = ""
        self._reload: Reloaded | None = None
        self._reload_at: Instant = 0
        self.ready = False

    async def fetch(self) -> None:
        """Look at the disk. What cannot be read is null until it can, and the log says why, once."""
        try:
            self._trading, self._alarms, self._problems = await asyncio.to_thread(self._read)
            self._failed = ""
        except (StoreFailed, sqlite3.Error) as error:
            self._alarms = None
            if self._failed != str(error):
                self._failed = str(error)
                log.warning("the pages cannot show alarms and problems at present: %s", error)

    def _read(self) -> tuple[JSON, JSON, JSON]:
        engine, mask = self._engine, self._engine.runtime.mask
        stop = engine.trading.switch.stopped
        trading = {
            "stopped": stop is not None,
            "by": "" if stop is None else short(stop.by, mask),
            "reason": "" if stop is None else short(stop.reason, mask),
            "since": None if stop is None or stop.since is None else stop.since // MS,
        }
        count, worst = Alarms(engine.store).open()
        found = views.problems([*engine.problems, *engine.troubles()], engine.last_reload)
        severities = [one["severity"] for one in found]
        problems = {"errors": severities.count("error"), "warnings": severities.count("warning")}
        return trading, {"open": count, "worst": worst}, problems

    def judge(self) -> None:
        """Whether every node is ready, and the store."""
        self.ready = not self._engine.not_ready()

    def shown(self, now: Instant, readers: int) -> dict[str, JSON]:
        last = self._engine.last_reload
        if last is not self._reload:
            self._reload, self._reload_at = last, self._engine.loaded_at if _took_over(last) else now
        reload = None
        if last is not None:
            reason = short(last.reason, self._engine.runtime.mask)
            reload = {"result": last.result, "reason": reason, "at": self._reload_at // MS}
        return {
            "ready": self.ready,
            "trading": self._trading,
            "alarms": self._alarms,
            "problems": self._problems,
            "reload": reload,
            "readers": readers,
        }


def _took_over(last: Reloaded | None) -> bool:
    return last is not None and last.result == "applied"
