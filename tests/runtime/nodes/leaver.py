"""leaver: a source that another can take the place of, and what may go wrong with that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from flowrunner.node import Context, Node, NodeOptions, Tracked


class Leaver(Node):
    """Sends what it is told, until it leaves."""

    class Options(NodeOptions):
        label: str = ""
        fail: str = ""
        """What fails: to open, or to hear; ``never``: it never hears."""

    options: Options
    inputs = "none"

    async def open(self, ctx: Context) -> None:
        if self.options.fail == "open":
            raise ZeroDivisionError("no")
        self.told: asyncio.Queue[object] = asyncio.Queue()
        self.acked: list[object] = []

    async def listening(self) -> None:
        if self.options.fail == "listening":
            raise ValueError("it cannot say")
        if self.options.fail == "never":
            await asyncio.Event().wait()

    def leave(self, ctx: Context) -> None:
        self.told.put_nowait(None)

    async def produce(self, ctx: Context) -> AsyncIterator[Tracked]:
        while (payload := await self.told.get()) is not None:
            message = ctx.message(payload, position=str(payload))
            yield Tracked(message, lambda payload=payload: self.acked.append(payload))  # type: ignore[misc]
