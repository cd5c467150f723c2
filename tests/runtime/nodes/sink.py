"""sink: remembers what came."""

from __future__ import annotations

from flowrunner.message import Message
from flowrunner.node import Context, Node


class Sink(Node):
    """Remember (wire, payload, key) of every message."""

    ports = ()

    async def open(self, ctx: Context) -> None:
        self.seen: list[tuple[str, object, str]] = getattr(self, "seen", [])
        self.messages: list[Message] = getattr(self, "messages", [])

    def process(self, message: Message, ctx: Context) -> None:
        self.seen.append((ctx.input, message.payload, message.key))
        self.messages.append(message)
