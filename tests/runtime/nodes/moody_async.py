"""moody-async: the same, suspended before each call."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions, Output
from tests.runtime.moods import feel


class MoodyAsync(Node):
    """The moods of its calls, one after the other; when they are used up, all is well."""

    class Options(NodeOptions):
        moods: list[str] = msgspec.field(default_factory=list)
        opens: list[str] = msgspec.field(default_factory=list)
        closes: list[str] = msgspec.field(default_factory=list)
        timers: list[str] = msgspec.field(default_factory=list)

    options: Options
    ports = ("out", "side")
    side_effect: Literal["none", "idempotent", "at_most_once"] = "none"

    async def open(self, ctx: Context) -> None:
        if not hasattr(self, "left"):
            self.left = [*self.options.moods]
            self.opens = [*self.options.opens]
            self.did: list[tuple[str, object, int]] = []
        mood = self.opens.pop(0) if self.opens else "ok"
        self.did.append((mood, "open", ctx.now()))
        if mood == "hang":
            await asyncio.Event().wait()
        if mood != "ok":
            feel(mood)

    async def process(self, message: Message, ctx: Context) -> Output:
        await asyncio.sleep(0)
        mood = self.left.pop(0) if self.left else "ok"
        self.did.append((mood, message.payload, ctx.now()))
        if mood == "ok":
            return message.derive(message.payload)
        if mood == "hang":
            await asyncio.Event().wait()
        result: Output = feel(mood, message)
        return result

    async def on_timer(self, name: str, key: str, ctx: Context) -> Output:
        await asyncio.sleep(0)
        return ctx.message(f"{name}:{key}", position="")
