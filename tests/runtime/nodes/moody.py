"""moody: a plain node that does as its options say, call by call."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions, Output
from tests.runtime.moods import feel


class Moody(Node):
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
            options = self.options
            self.left = {
                "moods": [*options.moods],
                "opens": [*options.opens],
                "closes": [*options.closes],
                "timers": [*options.timers],
            }
            self.did: list[tuple[str, object, int]] = []
        self.act("open", "opens", ctx.now())
        self.now = ctx.now

    async def close(self) -> None:
        if hasattr(self, "left"):
            self.act("close", "closes", self.now() if hasattr(self, "now") else 0)

    def act(self, what: object, script: str, now: int, message: Message | None = None) -> Output:
        mood = self.left[script].pop(0) if self.left[script] else "ok"
        self.did.append((mood, what, now))
        if mood == "ok":
            return None if message is None else message.derive(message.payload)
        result: Output = feel(mood, message)
        return result

    def process(self, message: Message, ctx: Context) -> Output:
        if message.payload == "timer":
            ctx.timer("t", "k", ctx.now())
        return self.act(message.payload, "moods", ctx.now(), message)

    def on_timer(self, name: str, key: str, ctx: Context) -> Output:
        self.act(f"{name}:{key}", "timers", ctx.now())
        return ctx.message(f"{name}:{key}", position="")
