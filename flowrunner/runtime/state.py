"""A node's durable state: objects in memory, encoded and committed in groups within a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from flowrunner.node import Node
from flowrunner.store import Store

T = TypeVar("T")


class NodeState:
    """One JSON value per key. What was set since the last commit may be lost in a crash."""

    def __init__(self, store: Store, flow: str, node: Node, changed: Callable[[NodeState], None]) -> None:
        self._store, self._flow, self._id, self._version = store, flow, node.id, node.state_version
        self._changed = changed
        self._raw: dict[str, bytes] = {}
        self._values: dict[str, object] = {}
        self._dirty: set[str] = set()
        self.lost = ""
        """Why an older state could not be taken over, or ""."""
        self._load(node)

    def _load(self, node: Node) -> None:
        found = self._store.load_state(self._flow, self._id)
        if found.version == self._version or not found.entries:
            self._raw = dict(found.entries)
            return
        migrate: Callable[[Any, int], object] | None = getattr(node, "migrate", None)
        if migrate is None:
            self.lost = f"its kept state has version {found.version}, this type knows {self._version}"
            self._store.drop_state(self._flow, self._id)
            return
        for key, raw in found.entries.items():
            self._raw[key] = msgspec.json.encode(migrate(msgspec.json.decode(raw), found.version))
        self._dirty |= set(self._raw)
        self._changed(self)

    def get(self, key: str, kind: type[T]) -> T | None:
        value = self._values.get(key)
        if value is not None:
            return value if isinstance(value, kind) else msgspec.convert(value, kind)
        raw = self._raw.pop(key, None)
        if raw is None:
            return None
        loaded = msgspec.json.decode(raw, type=kind)
        self._values[key] = loaded
        return loaded

    def set(self, key: str, value: object) -> None:
        self._raw.pop(key, None)
        self._values[key] = value
        self._mark(key)

    def delete(self, key: str) -> None:
        self._raw.pop(key, None)
        self._values.pop(key, None)
        self._mark(key)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._values, *(key for key in self._raw if key not in self._values)])

    def _mark(self, key: str) -> None:
        if not self._dirty:
            self._changed(self)
        self._dirty.add(key)

    def commit(self) -> None:
        """Hand what changed to the store."""
        if not self._dirty:
            return
        changes: dict[str, bytes | None] = {}
        for key in self._dirty:
            if key in self._values:
                changes[key] = msgspec.json.encode(self._values[key])
            else:
                changes[key] = self._raw.get(key)
        self._dirty.clear()
        self._store.save_state(self._flow, self._id, self._version, changes)
