"""Durable state of one engine: node state, dead letters, and transactions for rooms that keep their own tables."""

from flowrunner.store.store import Store
from flowrunner.store.tables import DeadLetter, NodeState, write_state
from flowrunner.store.writer import StoreFailed

__all__ = ["DeadLetter", "NodeState", "Store", "StoreFailed", "write_state"]
