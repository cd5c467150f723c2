"""burst: a source that makes numbers as fast as they are taken, or at a pace."""

from collections.abc import AsyncIterator
from typing import Annotated

from msgspec import Meta

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions
from flowrunner.units import Duration


class Burst(Node):
    """Make numbers."""

    class Options(NodeOptions):
        every: Annotated[Duration | None, Meta(description="Time between two; without it, no time.")] = None
        keys: Annotated[int, Meta(ge=1, description="How many keys they are for, in turn.")] = 1
        weight: Annotated[int, Meta(ge=0, description="Characters of text that each carries.")] = 0

    options: Options
    inputs = "none"

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        number, o = 0, self.options
        while True:
            payload = {"n": number, "text": f"{number:x}".zfill(o.weight)}
            yield ctx.message(payload, position=str(number), key=str(number % o.keys))
            number += 1
            if o.every is not None:
                await ctx.sleep_until(ctx.now() + o.every)
