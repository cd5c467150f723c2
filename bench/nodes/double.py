"""double: the node that a user writes in five minutes; for the bench."""

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Double(Node):
    """Twice the value."""

    class Options(NodeOptions):
        """Nothing to set."""

    options: Options

    def process(self, message: Message, ctx: Context) -> Message:
        return message.derive({"value": message.payload["value"] * 2})
