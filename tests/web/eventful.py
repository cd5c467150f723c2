"""A flow in which things happen, and one in which nothing does, beside the orders that its data folder holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from flowrunner.store import Alarms
from flowrunner.store.alarms import Alarm
from tests.end_to_end.living import living
from tests.orders.example import filled
from tests.web.site import Site

FLOW = """
flow: site
timezone: Europe/Vienna
nodes:
  hand: {type: manual-in, fields: {temperature_c: {min: -40, max: 120, unit: °C}}, expires_after: 1h}
  hot: {type: threshold, from: hand, field: temperature_c, above: 40}
  alarms: {type: alarm-out, from: [hot.above, hand.error], severity: critical}
"""
ALARM_LINE = 7
QUIET = "flow: quiet\nnodes:\n  tick: {type: inject, every: 1h, payload: 1}\n  out: {type: log, from: tick}\n"


async def enter(web: Site, value: float, **more: str) -> None:
    """A person types a temperature into ``hand``."""
    body = {"values": {"temperature_c": value}, **more}
    answer = await web.http.post("/api/v1/flows/site/nodes/hand/values", json=body)
    assert answer.status_code == 200, answer.text


async def until_alarm(web: Site) -> Alarm:
    alarms = Alarms(web.engine.store)
    await web.until(lambda: bool(alarms.find()), "an alarm in the store")
    (alarm,) = alarms.find()
    return alarm


async def until_clear(web: Site) -> None:
    await web.until(lambda: web.node("hot").latches[""].verdict == "clear", "the verdict is clear")


@asynccontextmanager
async def journal(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of QUIET, which has nothing to do with the orders that are in its data folder."""
    async with living(await asyncio.to_thread(filled, folder), text=QUIET) as running:
        yield running.http
