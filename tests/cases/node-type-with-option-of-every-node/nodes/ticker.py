"""ticker: one of its options is taken."""

from flowrunner.node import Node, NodeOptions


class Ticker(Node):
    class Options(NodeOptions):
        queue: int = 3

    def process(self, message, ctx):
        return message
