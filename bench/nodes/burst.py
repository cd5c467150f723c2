"""burst: makes many messages of one; for the bench."""

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Burst(Node):
    """The same record as often as its count says."""

    class Options(NodeOptions):
        """Nothing to set."""

    options: Options

    def process(self, message: Message, ctx: Context) -> list[Message]:
        return [message.derive(message.payload) for _ in range(message.payload["count"])]
