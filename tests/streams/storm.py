"""A stream through a real program, and what can be done to them: kills, restarts of the broker, a cable pulled out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from tests.peers.mosquitto import Mosquitto, free_port
from tests.peers.mqtt_stream import Listener, Publisher
from tests.peers.namespace import Namespace
from tests.peers.program import Program
from tests.peers.proxy import Proxy
from tests.streams.account import Account, account
from tests.streams.flow import arrivals, broker_of, promised

Line = Literal["cable", "proxy"]

FLOW = """
flow: stream
nodes:
  in: {{type: mqtt-in, broker: "{url}", client_id: stream, persistent: true, topic: plant/in/+, key: "{{topic_3}}"}}
  scale: {{type: scale, from: in, fields: {{value: {{factor: 2}}}}}}
  threshold: {{type: threshold, from: scale, field: value, above: 40{queue}}}
  out: {{type: mqtt-out, from: threshold, broker: "{url}", topic: "plant/out/{{key}}", retry: {{first: 100ms}}{queue}}}
"""
QUEUE = ", queue: {durable: true}"
WHILE_AWAY = 40
"""Messages that the broker takes from the publisher while the program cannot hear it."""
ALL_S = 40.0
"""At the end: a client that was cut off several times waits longer before it tries again."""


class Storm:
    """``source`` publishes, ``sink`` hears what left the program; the rest is done to what is in between.

    The peers reach the broker past the line that is cut.
    """

    def __init__(self, folder: Path, broker: Mosquitto, line: Namespace | Proxy) -> None:
        self._file, self._data = folder / "flow.yaml", folder / "data"
        self._broker, self._line = broker, line
        self.source = Publisher(broker.port, ["plant/in/{key}"])
        self.sink = Listener(broker.port, "plant/out/#")
        self.program: Program | None = None

    async def start(self) -> None:
        program = Program(self._file, data=self._data)
        if isinstance(self._line, Namespace):
            program.command[:0] = self._line.inside
        self.program = await asyncio.to_thread(program.__enter__)

    async def kill(self) -> None:
        """SIGKILL: it can say and write no more."""
        assert await self._ended(signal.SIGKILL) == -signal.SIGKILL

    async def stop(self) -> None:
        """SIGTERM: it ends as it should."""
        assert await self._ended(signal.SIGTERM) == 0

    async def _ended(self, how: signal.Signals) -> int:
        program, self.program = self.program, None
        assert program is not None
        return await asyncio.to_thread(program.end, how)

    def end(self) -> None:
        if self.program is not None:
            self.program.__exit__()

    def pull(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        if isinstance(self._line, Namespace):
            self._line.unplug()
        else:
            self._line.freeze()

    def put_in(self) -> None:
        """By cable, what waits goes on its way; the proxy loses what it held, and resets its connections."""
        if isinstance(self._line, Namespace):
            self._line.plug()
        else:
            self._line.cut()
            self._line.thaw()

    async def stop_broker(self) -> None:
        await asyncio.to_thread(self._broker.stop)

    async def start_broker(self) -> None:
        await asyncio.to_thread(self._broker.start)

    async def published(self, count: int = WHILE_AWAY) -> None:
        """Until the broker has taken so many more from the publisher."""
        await asyncio.to_thread(self.source.until_more, count)

    async def delivered(self, count: int) -> None:
        """Until so many more, of what is published from now on, came out of the program."""
        number = self.source.count + count
        await asyncio.to_thread(self.sink.until_number, number, "plant/out/", self.said, ALL_S)

    async def verdict(self) -> Account:
        """No more is published; what became of it all, as soon as all is there or cannot be waited for any longer."""
        await asyncio.to_thread(self.source.stop)
        with contextlib.suppress(AssertionError):  # the account says what is missing
            await asyncio.to_thread(self.sink.until, lambda: not self._account().lost, "all", ALL_S)
        return self._account()

    def said(self) -> str:
        """The last lines of the program's log."""
        return "\n".join(
            ["the program said:", *(self.program.lines[-20:] if self.program else ["nothing: it is dead"])]
        )

    def _account(self) -> Account:
        return account(promised(self.source.acknowledged, "plant/in"), arrivals(self.sink.heard, "plant/out"))


@asynccontextmanager
async def storm(folder: Path, line: Line, *, durable: bool) -> AsyncIterator[Storm]:
    """The stream is there, and flows."""
    async with AsyncExitStack() as stack:
        far_port = free_port()
        if line == "cable":
            cable = stack.enter_context(Namespace())
            broker = broker_of(folder / "broker", f"listener {far_port} {cable.address}")
            address = f"{cable.address}:{far_port}"
            found = Storm(folder, stack.enter_context(broker), cable)
        else:
            broker = stack.enter_context(broker_of(folder / "broker"))
            proxy = await stack.enter_async_context(Proxy(broker.port))
            address = f"127.0.0.1:{proxy.port}"
            found = Storm(folder, broker, proxy)
        text = FLOW.format(url=f"mqtt://{address}", queue=QUEUE if durable else "")
        (folder / "flow.yaml").write_text(text, "utf-8")
        stack.enter_context(found.sink)
        await found.start()
        stack.callback(found.end)
        await broker.subscribed("plant/in/+")  # what was published before is nobody's
        stack.enter_context(found.source)
        await found.delivered(1)
        yield found
