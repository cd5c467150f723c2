"""What nodes have changed and the disk has not: merged in memory, laid over what is read, written in one go."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from flowrunner.store.tables import LETTERS_KEPT, DeadLetter, NodeState, delete_state, write_letters, write_state


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


class Unsaved:
    """Queued changes. Truthy when there are any. Its size is that of the state itself: a key is kept once."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], _NodeChanges] = {}
        self._letters: list[DeadLetter] = []
        self.letters_dropped = 0

    def __bool__(self) -> bool:
        return bool(self._nodes or self._letters or self.letters_dropped)

    def count(self) -> int:
        """How many entries, dropped nodes and letters wait."""
        return sum(len(changes.entries) + 1 for changes in self._nodes.values()) + len(self._letters)

    def put(self, flow: str, node: str, version: int, entries: Mapping[str, bytes | None]) -> None:
        changes = self._nodes.setdefault((flow, node), _NodeChanges())
        changes.version = version
        changes.entries.update(entries)

    def drop(self, flow: str, node: str) -> None:
        self._nodes.setdefault((flow, node), _NodeChanges()).drop()

    def add_letter(self, letter: DeadLetter) -> None:
        self._letters.append(letter)
        self._cut_letters()

    def letters(self, flow: str | None) -> list[DeadLetter]:
        """Newest first."""
        return [letter for letter in reversed(self._letters) if flow is None or letter.flow == flow]

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
        self._letters += newer._letters
        self.letters_dropped += newer.letters_dropped
        self._cut_letters()

    def write(self, connection: sqlite3.Connection) -> None:
        """Within a transaction; this stays as it is, so it can be written again."""
        for (flow, node), changes in self._nodes.items():
            if changes.dropped:
                delete_state(connection, flow, node)
            if changes.version is not None:
                write_state(connection, flow, node, changes.version, changes.entries)
        if self._letters or self.letters_dropped:
            write_letters(connection, self._letters, self.letters_dropped)

    def _cut_letters(self) -> None:
        surplus = len(self._letters) - LETTERS_KEPT
        if surplus > 0:
            del self._letters[:surplus]
            self.letters_dropped += surplus
