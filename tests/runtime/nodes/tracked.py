"""tracked: a source that wants to hear when what came of its messages is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from flowrunner.node import Context, Node, NodeOptions, Tracked


class TrackedSource(Node):
    """Sends what it is told, and remembers what was acknowledged."""

    class Options(NodeOptions):
        label: str = ""

    options: Options
    inputs = "none"

    async def open(self, ctx: Context) -> None:
        self.told: asyncio.Queue[object] = asyncio.Queue()
        self.acked: list[object] = []
        self.left = False

    def leave(self, ctx: Context) -> None:
        self.left = True
        self.told.put_nowait(None)

    async def produce(self, ctx: Context) -> AsyncIterator[Tracked]:
        while (payload := await self.told.get()) is not None:
            message = None if payload == "nothing" else ctx.message(payload, position=str(payload))
            yield Tracked(message, lambda payload=payload: self.acked.append(payload))  # type: ignore[misc]
