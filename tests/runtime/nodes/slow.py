"""slow: an async node that takes turns of the loop, or time."""

from __future__ import annotations

import asyncio

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions
from flowrunner.units import Duration


class Slow(Node):
    """Pass on after some turns of the loop and some time."""

    class Options(NodeOptions):
        turns: int = 0
        time: Duration = Duration(0)
        emit: bool = False
        """Send by ctx.emit instead of returning."""

    options: Options
    side_effect = "none"
    working = 0

    async def process(self, message: Message, ctx: Context) -> Message | None:
        self.working += 1
        assert self.working == 1, "two at a time"
        for _ in range(self.options.turns):
            await asyncio.sleep(0)
        if self.options.time:
            await ctx.sleep_until(ctx.now() + self.options.time)
        self.working -= 1
        out = message.derive(message.payload)
        if self.options.emit:
            await ctx.emit(out)
            return None
        return out

    async def close(self) -> None:
        self.working = 0
