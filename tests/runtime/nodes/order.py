"""order: what it does, it does at most once."""

from __future__ import annotations

from flowrunner.message import Message
from flowrunner.node import Context, Node
from flowrunner.units import Duration


class Order(Node):
    """Pass on after a minute."""

    side_effect = "at_most_once"

    async def process(self, message: Message, ctx: Context) -> Message:
        await ctx.sleep_until(ctx.now() + Duration.parse("1min"))
        return message.derive(message.payload)
