"""slow: works long for each message, and lets nobody else have the processor meanwhile; for the bench."""

from flowrunner.clock.io_time import stopwatch
from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Slow(Node):
    """Count, until the milliseconds that the payload names have gone by."""

    class Options(NodeOptions):
        """Nothing to set."""

    options: Options

    def process(self, message: Message, ctx: Context) -> None:
        until = stopwatch() + message.payload["work_ms"] / 1000
        while stopwatch() < until:
            pass
