"""Durable state of one engine: node state, dead letters, history, alarms, and transactions for rooms that keep their
own tables."""

from flowrunner.store.alarms import Alarm, Alarms, Raised
from flowrunner.store.history import History, Row
from flowrunner.store.lane import Lane
from flowrunner.store.lock import FolderLock
from flowrunner.store.reader import Reader, reading, writing
from flowrunner.store.renamed import Known, take_over
from flowrunner.store.store import DATA_FOLDER, FILE_NAME, Store
from flowrunner.store.tables import DeadLetter, NodeState, read_counter, write_state
from flowrunner.store.writer import StoreFailed

__all__ = [
    "DATA_FOLDER",
    "FILE_NAME",
    "Alarm",
    "Alarms",
    "DeadLetter",
    "FolderLock",
    "History",
    "Known",
    "Lane",
    "NodeState",
    "Raised",
    "Reader",
    "Row",
    "Store",
    "StoreFailed",
    "read_counter",
    "reading",
    "take_over",
    "write_state",
    "writing",
]
