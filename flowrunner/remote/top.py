"""``flowrunner top``: the nodes of a running engine as a live table, or once as text or JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Literal

from flowrunner.clock.io_time import loop_seconds, pause
from flowrunner.errors import UsageError, did_you_mean
from flowrunner.message import JSON
from flowrunner.remote.asking import Remote, live, nodes_of
from flowrunner.remote.mirror import Mirror
from flowrunner.terminal.device import Device
from flowrunner.terminal.layout import Picture, lines
from flowrunner.terminal.rate import WINDOW_S, Rate, rate_text
from flowrunner.terminal.region import Region
from flowrunner.terminal.rows import TONES, Row, count_text
from flowrunner.terminal.values import Piece, age_text, plain
from flowrunner.units import SECOND, iso

Form = Literal["live", "text", "json"]
MS = 1_000_000
PAINT_S = 0.25
MEASURED_S = 1.2
"""So long a single picture looks at the counters, to tell the rates."""
WIDE, TALL = 160, 100_000
"""Columns and lines of a picture that no terminal limits."""
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
Sort = Literal["trouble", "file", "rate", "inbox", "errors", "node"]


class Table:
    """What is shown of an engine: the newest figures, and the rates that follow from them."""

    def __init__(self, base: str, flow: str | None, sort: Sort) -> None:
        self.mirror = Mirror()
        self.nodes: Mapping[str, JSON] = {}
        """As the engine describes them."""
        self.said = ""
        """Why there is nothing new at present."""
        self._base, self._flow, self._sort = base, flow, sort
        self._rates: dict[str, Rate] = {}

    def learn(self) -> None:
        """Take the newest frame into the rates."""
        mirror, before, self._rates = self.mirror, self._rates, {}
        for address, node in zip(mirror.names, mirror.nodes, strict=True):
            rate = before.get(address) or Rate(int(WINDOW_S * SECOND * mirror.speed))
            self._rates[address] = rate
            at = node["last_at"]
            rate.learn(max(node["received"], node["sent"]), None if at is None else at * MS)

    def shown(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Address and figures of the nodes that are asked for, in the order that is."""
        flow = self._flow
        found: list[tuple[str, Mapping[str, Any]]] = [
            (address, node)
            for address, node in zip(self.mirror.names, self.mirror.nodes, strict=True)
            if flow is None or address.startswith(f"{flow}/")
        ]
        orders: dict[str, Callable[[tuple[str, Mapping[str, Any]]], Any]] = {
            "trouble": lambda one: _state(one[1]) in ("running", "finished"),
            "rate": lambda one: -(self.rate(one[0]) or 0.0),
            "inbox": lambda one: -one[1]["inbox"],
            "errors": lambda one: -(one[1]["errors"] + one[1]["dropped"]),
            "node": lambda one: one[0],
        }
        return sorted(found, key=orders[self._sort]) if self._sort in orders else found

    def rate(self, address: str) -> float | None:
        """Messages per nanosecond of flow time."""
        return self._rates[address].at(self.mirror.at * MS) if address in self._rates else None

    def picture(self, *, closing: bool) -> Picture:
        mirror = self.mirror
        rows = [self._row(address, node) for address, node in self.shown()]
        flows = list(dict.fromkeys(row.flow for row in rows))
        titles = {flow: _plain(self._title(flow)) for flow in flows}
        what = flows[0] if len(flows) == 1 else f"{len(flows)} flows"
        time = f"{iso(mirror.at * MS)[:19].replace('T', ' ')}Z"
        head = [what, titles[what] if len(flows) == 1 else "", *self._alerts(), time, self._base]
        if self.said:
            head.insert(0, f"NOT CONNECTED, as of {time[11:]}")
        return Picture(
            [one for one in head if one], titles, rows, [self.said] if self.said else [], closing, "Ctrl-C ends"
        )

    def _alerts(self) -> Iterable[str]:
        status = self.mirror.status
        if status.get("trading", {}).get("stopped"):
            yield "TRADING IS STOPPED"
        alarms = status.get("alarms") or {}
        if alarms.get("open"):
            yield f"{alarms['open']} open {'alarm' if alarms['open'] == 1 else 'alarms'}"
        if status.get("problems", {}).get("errors"):
            yield "newer files have problems"

    def _title(self, flow: str) -> str:
        found = (one["title"] for address, one in self.nodes.items() if address.startswith(f"{flow}/"))
        title = next(found, None)
        return (title.get("en") or next(iter(title.values()), "")) if isinstance(title, dict) else title or ""

    def _row(self, address: str, node: Mapping[str, Any]) -> Row:
        flow, _, name = address.partition("/")
        state, at = _state(node), node["last_at"]
        ready = state in ("running", "finished")
        shown = "waiting" if state == "running" and at is None else state
        value: list[Piece] = [("–", "quiet")]
        if not ready and node["last_error"]:
            value = [(_plain(node["last_error"], 200), "bad")]
        elif node["last"] is not None:
            value = [(_plain(node["last"]), "")]
        return Row(
            flow=flow,
            id=_plain(name),
            type=str(self.nodes.get(address, {}).get("type", "")),
            state=(shown, TONES.get(shown, "")),
            rate=rate_text(self.rate(address)),
            age="–" if at is None else age_text((self.mirror.at - at) * MS),
            value=value,
            errors=count_text(node["errors"]),
            dropped=count_text(node["dropped"]),
            rank=0 if not ready and state not in ("starting", "stopped") else 1 if node["errors"] else 2,
            inbox=str(node["inbox"]),
        )

    def json(self) -> JSON:
        """All that is known, for tools; times as texts, rates per second of flow time."""
        nodes = []
        for address, node in self.shown():
            flow, _, name = address.partition("/")
            rate = self.rate(address)
            nodes.append(
                {
                    "flow": flow,
                    "id": name,
                    "type": self.nodes.get(address, {}).get("type"),
                    **node,
                    "last_at": None if node["last_at"] is None else iso(node["last_at"] * MS),
                    "rate_per_s": None if rate is None else round(rate * SECOND, 3),
                }
            )
        mirror = self.mirror
        return {"at": iso(mirror.at * MS), "generation": mirror.generation, "status": mirror.status, "nodes": nodes}


async def top(remote: Remote, *, flow: str | None, sort: Sort, form: Form) -> int:
    """Show the table until Ctrl-C, or once; the exit code. UsageError for a flow that is not there."""
    table = Table(remote.shown, flow, sort)
    try:
        table.nodes = await nodes_of(remote)
        flows = list(dict.fromkeys(one.partition("/")[0] for one in table.nodes))
        if flow is not None and flow not in flows:
            hint = did_you_mean(flow, flows) or f"it runs {', '.join(flows)}"
            raise UsageError(f"no flow {flow[:64]!r} runs there; {hint}")
        if form == "live":
            return await _painted(remote, table)
        await _measured(remote, table)
        if form == "json":
            print(json.dumps(table.json(), indent=2))
        else:
            text = lines(table.picture(closing=True), _columns(), TALL)
            print("\n".join(one.plain for one in text).strip("\n"))
        return 0
    finally:
        await remote.close()


async def _measured(remote: Remote, table: Table) -> None:
    """A snapshot, and what changes in the next second."""
    seconds = loop_seconds()
    began = seconds()
    async with aclosing(remote.events(live())) as events:
        async for event in events:
            if table.mirror.take(event):
                table.learn()
                if seconds() - began >= MEASURED_S:
                    return


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isascii() and given.isdigit() and 40 <= int(given) <= 1000 else WIDE


async def _painted(remote: Remote, table: Table) -> int:
    """The live table on standard output."""
    device, region = Device(sys.stdout.fileno()), Region()
    loop = asyncio.get_running_loop()
    painting = loop.create_task(_paint(device, region, table), name="paint")

    def suspend() -> None:
        """Ctrl-Z: the shell gets its terminal as it was."""
        _leave(device, region)
        loop.remove_signal_handler(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, suspend)
        _enter(device)

    def say(text: str) -> None:
        table.said = "" if text.startswith("connected again") else text

    loop.add_signal_handler(signal.SIGTSTP, suspend)
    _enter(device)
    watching = loop.create_task(_follow(remote, table, say), name="watch")
    try:
        await asyncio.wait({painting, watching}, return_when=asyncio.FIRST_COMPLETED)
        for one in (painting, watching):
            if one.done():
                one.result()  # they end by failing only
        return 0
    finally:
        for one in (painting, watching):
            one.cancel()
        await asyncio.wait({painting, watching})
        _leave(device, region)


async def _follow(remote: Remote, table: Table, say: Callable[[str], object]) -> None:
    async with aclosing(remote.watch(live(), say)) as events:
        async for event in events:
            if event.name == "snapshot" and event.data["generation"] != table.mirror.generation:
                table.nodes = await nodes_of(remote)
            if table.mirror.take(event):
                table.learn()


async def _paint(device: Device, region: Region, table: Table) -> None:
    while True:
        if table.mirror.at and device.in_foreground():
            columns, height = device.size()
            device.write(region.paint([], lines(table.picture(closing=False), columns, height), columns, height))
        await pause(PAINT_S)


def _enter(device: Device) -> None:
    device.quiet_keys()
    device.write(HIDE_CURSOR)


def _leave(device: Device, region: Region) -> None:
    device.usual_keys()
    device.write(region.leave() + SHOW_CURSOR)


def _state(node: Mapping[str, Any]) -> str:
    return "disconnected" if node["connected"] is False else str(node["state"])


def _plain(text: str, most: int = 60) -> str:
    return plain(text, str, most)  # the engine has masked it
