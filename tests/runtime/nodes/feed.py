"""feed: a source whose ``produce`` follows a script, and which takes messages, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions
from tests.runtime.moods import feel


class Feed(Node):
    """One step of ``script`` a second: ``ok`` is a message; a mood; ``end``, ``pause``, ``hang``;

    ``deaf`` and ``shrug`` do not let themselves be cancelled: the one waits on, the other makes messages again.
    """

    class Options(NodeOptions):
        script: list[str] = msgspec.field(default_factory=list)
        moods: list[str] = msgspec.field(default_factory=list)

    options: Options
    inputs = "optional"

    async def open(self, ctx: Context) -> None:
        self.opened = getattr(self, "opened", 0) + 1
        if self.opened == 1:
            self.script, self.moods = [*self.options.script], [*self.options.moods]
            self.number, self.runs, self.left = 0, 0, 0
            self.closed: list[int] = []

    async def close(self) -> None:
        if hasattr(self, "closed"):
            self.closed.append(self.opened)

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        self.runs += 1
        try:
            while True:
                step = self.script.pop(0) if self.script else "ok"
                if step == "end":
                    return
                if step == "hang":
                    await asyncio.Event().wait()
                if step == "shrug":
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
                    continue
                if step == "pause":
                    await ctx.sleep_until(ctx.now() + 1_000_000_000)
                    continue
                while step == "deaf":
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        self.left += 1
                        if self.left > 1:
                            raise
                if step == "ok":
                    yield ctx.message(self.number, position=str(self.number))
                    self.number += 1
                else:
                    yield feel(step)
                await ctx.sleep_until(ctx.now() + 1_000_000_000)
        finally:
            self.left += 1

    def process(self, message: Message, ctx: Context) -> Message:
        mood = self.moods.pop(0) if self.moods else "ok"
        if mood != "ok":
            feel(mood)
        return message.derive(message.payload)
