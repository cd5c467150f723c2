"""What nodes have changed and the disk has not: merged in memory, laid over what is read, written in one go."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from flowrunner.store.letters import UnsavedLetters
from flowrunner.store.queues import Place, QueueChanges, Waiting, delete_waiting, move_waiting, write_waiting
from flowrunner.store.tables import NodeState, delete_state, write_state


class _NodeChanges:
    """Changes of one node since the last commit: the newest value per key, after a drop of everything or not."""

    def __init__(self) -> None:
        self.dropped = False
        self.version: int | None = None
        self.entries: dict[str, bytes | None] = {}

    def drop(self) -> None:
        self.dropped, self.version, self.entries = True, None, {}

    def add(self, newer: _NodeChanges) -> None:
        if newer.dropped:
            self.drop()
        if newer.version is not None:
            self.version = newer.version
        self.entries |= newer.entries


class _InboxChanges:
    """Changes of one durable inbox: what came and has not gone since, and what went that is on the disk."""

    def __init__(self) -> None:
        self.added: dict[int, Waiting] = {}
        self.removed: set[int] = set()

    def add(self, added: Iterable[Waiting], removed: Iterable[int]) -> None:
        self.added.update((one.seq, one) for one in added)
        for seq in removed:
            if self.added.pop(seq, None) is None:
                self.removed.add(seq)


class Unsaved:
    """Queued changes. Truthy when there are any. Its size is that of the state itself: a key is kept once."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], _NodeChanges] = {}
        self._inboxes: dict[tuple[str, str], _InboxChanges] = {}
        self._moves: list[tuple[Place, Place]] = []  # of inboxes; before all that is in `_inboxes`
        self.letters = UnsavedLetters()

    def __bool__(self) -> bool:
        return bool(self._nodes or self._inboxes or self._moves or self.letters)

    def count(self) -> int:
        """How many entries, dropped nodes and letters wait."""
        states = sum(len(changes.entries) + 1 for changes in self._nodes.values())
        return states + sum(len(one.added) for one in self._inboxes.values()) + len(self.letters)

    def put(self, flow: str, node: str, version: int, entries: Mapping[str, bytes | None]) -> None:
        changes = self._nodes.setdefault((flow, node), _NodeChanges())
        changes.version = version
        changes.entries.update(entries)

    def drop(self, flow: str, node: str) -> None:
        self._nodes.setdefault((flow, node), _NodeChanges()).drop()

    def put_queue(self, changes: QueueChanges) -> None:
        inbox = self._inboxes.setdefault((changes.flow, changes.node), _InboxChanges())
        inbox.add(changes.added, changes.removed)

    def move_queue(self, old: Place, new: Place) -> None:
        """All that waits for ``old`` waits for ``new``, which has nothing of its own."""
        self._moves.append((old, new))
        if (pending := self._inboxes.pop(old, None)) is not None:
            self._inboxes[new] = pending

    def place_on_disk(self, flow: str, node: str) -> Place | None:
        """Under which name the file has the rows of an inbox; None: nowhere."""
        place: Place | None = (flow, node)
        for old, new in reversed(self._moves):
            place = old if place == new else None if place == old else place
        return place

    def waiting_over(self, flow: str, node: str, saved: Iterable[Waiting]) -> list[Waiting]:
        """The rows of an inbox as they will be once this is written, in order. ``saved``: those of `place_on_disk`."""
        changes = self._inboxes.get((flow, node))
        if changes is None:
            return list(saved)
        rows = {one.seq: one for one in saved if one.seq not in changes.removed} | changes.added
        return [rows[seq] for seq in sorted(rows)]

    def over(self, flow: str, node: str, saved: NodeState) -> NodeState:
        """The state of a node as it will be once this is written."""
        changes = self._nodes.get((flow, node))
        if changes is None:
            return saved
        base = NodeState() if changes.dropped else saved
        merged = {**base.entries, **changes.entries}
        return NodeState(
            base.version if changes.version is None else changes.version,
            {key: value for key, value in merged.items() if value is not None},
        )

    def add(self, newer: Unsaved) -> None:
        """Take in what came after this (when a commit failed and this is offered again)."""
        for place, changes in newer._nodes.items():
            self._nodes.setdefault(place, _NodeChanges()).add(changes)
        for old, new in newer._moves:
            self.move_queue(old, new)
        for place, newest in newer._inboxes.items():
            self._inboxes.setdefault(place, _InboxChanges()).add(newest.added.values(), newest.removed)
        self.letters.add(newer.letters)

    def write(self, connection: sqlite3.Connection) -> None:
        """Within a transaction; this stays as it is, so it can be written again."""
        for (flow, node), changes in self._nodes.items():
            if changes.dropped:
                delete_state(connection, flow, node)
            if changes.version is not None:
                write_state(connection, flow, node, changes.version, changes.entries)
        for old, new in self._moves:
            move_waiting(connection, old, new)
        for (flow, node), inbox in self._inboxes.items():
            delete_waiting(connection, flow, node, inbox.removed)
            write_waiting(connection, flow, node, inbox.added.values())
        if self.letters:
            self.letters.write(connection)
