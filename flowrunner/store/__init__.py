"""Durable state of one engine: node state, dead letters, history, alarms, people, the audit, and transactions for
rooms that keep their own tables."""

from flowrunner.store.alarms import Alarm, Alarms, Raised
from flowrunner.store.audit import Audit, Entry
from flowrunner.store.history import History, Row
from flowrunner.store.lane import Lane
from flowrunner.store.letters import DeadLetter, Wanted
from flowrunner.store.lock import FolderLock
from flowrunner.store.queues import Place, QueueChanges, Waiting
from flowrunner.store.reader import Reader, reading, writing
from flowrunner.store.renamed import Known, fitting, note, take_over
from flowrunner.store.store import DATA_FOLDER, FILE_NAME, Store
from flowrunner.store.tables import LIVE_SINCE, NodeState, StateChanges, read_counter, write_state
from flowrunner.store.writer import StoreFailed

__all__ = [
    "DATA_FOLDER",
    "FILE_NAME",
    "LIVE_SINCE",
    "Alarm",
    "Alarms",
    "Audit",
    "DeadLetter",
    "Entry",
    "FolderLock",
    "History",
    "Known",
    "Lane",
    "NodeState",
    "Place",
    "QueueChanges",
    "Raised",
    "Reader",
    "Row",
    "StateChanges",
    "Store",
    "StoreFailed",
    "Waiting",
    "Wanted",
    "fitting",
    "note",
    "read_counter",
    "reading",
    "take_over",
    "write_state",
    "writing",
]
