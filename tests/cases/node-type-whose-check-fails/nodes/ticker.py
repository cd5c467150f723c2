"""ticker: its check has a mistake."""

from flowrunner.node import Fault, Node


class Ticker(Node):
    """Tick."""

    inputs = "none"

    def check(self) -> list[Fault]:
        return [Fault("speed", self.options.sped)]

    async def produce(self, ctx):
        yield ctx.message(1, position="0")
