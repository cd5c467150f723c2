"""ticker: a type with a mistake."""

from flowrunner.node import Node


class Ticker(Node)
    pass
