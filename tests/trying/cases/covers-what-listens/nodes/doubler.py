"""doubler: twice the value."""

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Doubler(Node):
    """Double ``x``."""

    class Options(NodeOptions, kw_only=True):
        """None."""

    options: Options

    def process(self, message: Message, ctx: Context) -> Message:
        raise ZeroDivisionError("no")
