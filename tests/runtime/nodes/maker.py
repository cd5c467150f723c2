"""maker: a source that counts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions
from flowrunner.units import Duration


class Maker(Node):
    """Make the numbers from 0 on, with or without a pause."""

    class Options(NodeOptions):
        count: int = 10
        keys: int = 1
        pause: Duration = Duration(0)
        emit: bool = False
        size: int = 0
        """Characters of text that each payload has instead of its number."""

    options: Options
    inputs = "none"

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        for number in range(self.options.count):
            payload = "x" * self.options.size if self.options.size else number
            message = ctx.message(payload, position=str(number), key=str(number % self.options.keys))
            if self.options.emit:
                await ctx.emit(message)
            else:
                yield message
            if self.options.pause:
                await ctx.sleep_until(ctx.now() + self.options.pause)
