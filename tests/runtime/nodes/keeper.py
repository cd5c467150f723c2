"""keeper: counts what came, per key, in its durable state."""

from __future__ import annotations

from typing import Any

from flowrunner.message import Message
from flowrunner.node import Context, Node


class Keeper(Node):
    """A message is put into the state under its key; a null deletes what is there."""

    async def open(self, ctx: Context) -> None:
        self.found = {key: ctx.state.get(key, object) for key in ctx.state}

    def process(self, message: Message, ctx: Context) -> Message:
        before: Any = ctx.state.get(message.key, object)
        if message.payload is None:
            ctx.state.delete(message.key)
        else:
            ctx.state.set(message.key, message.payload)
        return message.derive({"before": before})
