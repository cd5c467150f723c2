"""gate: holds everything until it is opened from outside; for the bench."""

import asyncio

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Gate(Node):
    """Pass everything on, once the gate is open."""

    class Options(NodeOptions):
        """Nothing to set."""

    options: Options

    async def open(self, ctx: Context) -> None:
        self.gate = asyncio.Event()

    async def process(self, message: Message, ctx: Context) -> Message:
        if not self.gate.is_set():
            await self.gate.wait()
        return message
