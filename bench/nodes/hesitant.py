"""hesitant: a sink that waits for ten milliseconds with each message; for the bench."""

from flowrunner.clock.io_time import pause
from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Hesitant(Node):
    """A peer that is slow."""

    class Options(NodeOptions):
        """Nothing to set."""

    options: Options

    async def process(self, message: Message, ctx: Context) -> None:
        await pause(0.01)
