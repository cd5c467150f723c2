"""slow: a sink that takes its time for each message."""

from typing import Annotated

from msgspec import Meta

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions
from flowrunner.units import Duration


class Slow(Node):
    """Take a while."""

    class Options(NodeOptions):
        takes: Annotated[Duration, Meta(description="Time for each message.")] = Duration.parse("1s")

    options: Options
    self_contained = True

    async def process(self, message: Message, ctx: Context) -> Message:
        await ctx.sleep_until(ctx.now() + self.options.takes)
        return message
