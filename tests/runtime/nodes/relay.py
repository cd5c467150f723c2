"""relay: passes messages on, in every way in which a plain node can."""

from __future__ import annotations

from typing import Literal

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions, Output


class Relay(Node):
    """Pass on: a new message, the same one, several, none, or by two ports."""

    class Options(NodeOptions):
        how: Literal["new", "same", "twice", "none", "both", "odd-even", "offer"] = "new"

    options: Options
    ports = ("out", "side")

    def process(self, message: Message, ctx: Context) -> Output:
        how = self.options.how
        if how == "new":
            return message.derive(message.payload)
        if how == "same":
            return message
        if how == "twice":
            return [message.derive(message.payload), message.derive(message.payload)]
        if how == "both":
            out = message.derive(message.payload)
            return {"out": out, "side": out}
        if how == "odd-even":
            return {"side" if int(message.payload) % 2 else "out": message}
        if how == "offer":
            ctx.offer(message.derive(message.payload))
        return None
