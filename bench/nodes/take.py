"""take: a sink that does nothing; for the bench."""

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Take(Node):
    """Taken, and that is all."""

    class Options(NodeOptions):
        """Nothing to set."""

    options: Options

    def process(self, message: Message, ctx: Context) -> None:
        """Its runtime counts it."""
