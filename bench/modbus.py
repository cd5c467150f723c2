"""Many Modbus devices at once, some of them dead: how late their polls are."""

from __future__ import annotations

import asyncio
import logging
import statistics
import subprocess
import sys
import time
from datetime import datetime

from bench.inside import in_loop
from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.units import SECOND, from_datetime

REGISTERS = 20
SETTLE_S, MEASURED_S = 5.0, 15.0
DEVICES = """
import asyncio, sys
class One(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        size = 2 * int.from_bytes(data[10:12], "big")
        if alive:
            head = data[:4] + (size + 3).to_bytes(2, "big") + data[6:8] + size.to_bytes(1, "big")
            self.transport.write(head + bytes(size))
async def main(count):
    loop = asyncio.get_running_loop()
    for _ in range(count):
        server = await loop.create_server(One, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
alive = sys.argv[2] == "alive"
asyncio.run(main(int(sys.argv[1])))
"""


def lateness(devices: int = 500, dead: int = 50) -> tuple[float, float]:
    """``devices`` with 20 registers each are polled every second, and ``dead`` of them hear and do not answer: by how
    much the records of the living come after their time, at the 99th percentile (s), and the share of a core that it
    takes (%)."""
    with _devices(devices - dead, "alive") as living, _devices(dead, "dead") as mute:
        try:
            ports = [_ports(living, devices - dead), _ports(mute, dead)]
            return in_loop(lambda: _polled([one for some in ports for one in some], devices - dead))
        finally:
            living.terminate()
            mute.terminate()


def _devices(count: int, how: str) -> subprocess.Popen[str]:
    """In a process of their own: what they cost is not ours."""
    return subprocess.Popen([sys.executable, "-c", DEVICES, str(count), how], stdout=subprocess.PIPE, text=True)


def _ports(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None  # noqa: S101  (it is a pipe)
    return [int(process.stdout.readline()) for _ in range(count)]


async def _polled(ports: list[int], living: int) -> tuple[float, float]:
    registers = ", ".join(f"r{number}: {{address: {number}}}" for number in range(REGISTERS))
    lines = ["flow: fleet", "nodes:"]
    for number, port in enumerate(ports):
        options = f"type: modbus-in, host: 127.0.0.1, port: {port}, every: 1s, registers: {{{registers}}}"
        lines.append(f"  device-{number}: {{{options}}}")
    checked = check_flows({"fleet.yaml": "\n".join(lines) + "\n"}, {}, Registry())
    if checked.graph is None:
        raise SystemExit("\n".join(map(str, checked.problems[:5])))
    engine = Engine(checked, store=Store.open(None), clock=LiveClock())
    late: list[float] = []

    def see(port: str, message: Message) -> None:
        if port == "out" and message.root is not None:
            due = from_datetime(datetime.fromisoformat(message.root[1]))
            late.append((engine.clock.now() - due) / SECOND)

    logging.disable()  # fifty devices are dead: that need not be said
    await engine.start()
    try:
        await asyncio.sleep(SETTLE_S)
        for number in range(living):
            engine.runtime.workers[f"fleet/device-{number}"].tap = see
        loop = asyncio.get_running_loop()
        began, at = time.process_time(), loop.time()
        await asyncio.sleep(MEASURED_S)
        share = 100 * (time.process_time() - began) / (loop.time() - at)
    finally:
        await engine.stop(1.0)
        logging.disable(logging.NOTSET)
    if len(late) < living * (MEASURED_S - 2):
        raise SystemExit(f"only {len(late)} polls of {living} devices in {MEASURED_S:g} s")
    return statistics.quantiles(late, n=100)[98], share
