"""count-up: a source that makes as many records as it is asked for; for the bench."""

import asyncio
from collections.abc import AsyncIterator

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class CountUp(Node):
    """Numbers from 1 on, as fast as they are taken, whenever ``ask`` was called."""

    inputs = "none"

    class Options(NodeOptions):
        size: int = 0
        """Characters of text beside each number."""

    options: Options

    def __init__(self, id: str, options: NodeOptions) -> None:  # noqa: A002  (the field's own word)
        super().__init__(id, options)
        self.asked: asyncio.Queue[int] = asyncio.Queue()

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        while True:
            count = await self.asked.get()
            if self.options.size:
                for number in range(count):
                    yield ctx.message({"value": number + 1, "text": "x" * self.options.size}, position=str(number))
            else:
                for number in range(count):
                    yield ctx.message({"value": number + 1}, position=str(number))
