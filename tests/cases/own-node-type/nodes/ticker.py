"""ticker: a type of the user's own."""

from typing import Annotated

from msgspec import Meta

from flowrunner.node import Context, Node, NodeOptions
from flowrunner.shape import Shape


class Ticker(Node):
    """Tick."""

    class Options(NodeOptions):
        speed: Annotated[int, Meta(ge=1, description="Ticks.")] = 1

    options: Options
    inputs = "none"

    def emits(self, incoming: Shape) -> Shape:
        return Shape({"beats": "number", "speed": "number"})

    async def produce(self, ctx: Context):
        yield ctx.message({"beats": self.options.speed}, position="0")
