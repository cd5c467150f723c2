"""courier: sends messages off and leaves it to the test how they end."""

from __future__ import annotations

import asyncio
from typing import Literal

from flowrunner.errors import NotConnected
from flowrunner.message import Message
from flowrunner.node import Context, InFlight, Node, NodeOptions


class Courier(Node):
    """Send each message off, at most ``window`` at once."""

    class Options(NodeOptions):
        window: int = 3
        tag: str = ""

    options: Options
    ports = ()
    side_effect: Literal["none", "idempotent", "at_most_once"] = "idempotent"

    async def open(self, ctx: Context) -> None:
        self.sent: list[object] = getattr(self, "sent", [])
        self.opens = getattr(self, "opens", 0) + 1
        self.under_way: list[tuple[object, InFlight]] = []
        self.cut = False
        self.news = asyncio.Event()

    async def process(self, message: Message, ctx: Context) -> None:
        while len(self.under_way) >= self.options.window and not self.cut:
            self.news.clear()
            await self.news.wait()
        if self.cut:
            raise NotConnected("the line is cut")
        self.sent.append(message.payload)
        self.under_way.append((message.payload, ctx.in_flight()))

    def arrived(self, count: int = 1) -> None:
        """The oldest are there."""
        for _ in range(count):
            self.under_way.pop(0)[1].done()
        self.news.set()

    def refused(self, payload: object, error: Exception) -> None:
        """This one is not taken."""
        (one,) = [one for one in self.under_way if one[0] == payload]
        self.under_way.remove(one)
        one[1].failed(error)
        self.news.set()

    def lose(self) -> None:
        """The line is cut: none of those under way is there."""
        self.cut = True
        for _, one in self.under_way:
            one.failed(NotConnected("the line is cut"))
        self.news.set()
