"""clockwork: sets and cancels timers as its messages say, and keeps what it is told."""

from __future__ import annotations

from typing import Any

from flowrunner.message import Message
from flowrunner.node import Context, Node, Output
from flowrunner.units import Duration


class Clockwork(Node):
    """A message is ``{set: name, key: k, in: 5s}``, ``{cancel: name, key: k}`` or ``{keep: {…}}``."""

    async def open(self, ctx: Context) -> None:
        self.ctx = ctx
        self.fired: list[tuple[str, str, int]] = getattr(self, "fired", [])

    async def close(self) -> None:
        if hasattr(self, "ctx"):
            self.ctx.timer("after", "close", self.ctx.now())

    def process(self, message: Message, ctx: Context) -> Output:
        order: dict[str, Any] = message.payload
        key = order.get("key", "")
        for name in order.get("set", []):
            ctx.timer(name, key, ctx.now() + Duration.parse(order.get("in", "0s")))
        for name in order.get("cancel", []):
            ctx.cancel_timer(name, key)
        return message if order.get("pass") else None

    def on_timer(self, name: str, key: str, ctx: Context) -> Output:
        self.fired.append((name, key, ctx.now()))
        return ctx.message({"fired": name}, position="", key=key)
