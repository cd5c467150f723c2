"""A node's durable state: objects in memory, encoded and committed in groups within a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar, get_origin

import msgspec

from flowrunner.node import Node
from flowrunner.store import Store, StoreFailed

T = TypeVar("T")


class NodeState:
    """One JSON value per key. What was set since the last commit may be lost in a crash.

    ``trouble`` is told, in a sentence, what of it could not be kept, taken over or read.
    """

    def __init__(
        self,
        store: Store,
        flow: str,
        node: Node,
        changed: Callable[[NodeState], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._store, self._flow, self._id, self._version = store, flow, node.id, node.state_version
        self._changed = changed
        self._trouble = trouble
        self._raw: dict[str, bytes] = {}
        self._values: dict[str, object] = {}
        self._dirty: dict[str, None] = {}
        self._load(node)

    def _load(self, node: Node) -> None:
        found = self._store.load_state(self._flow, self._id)
        if found.version == self._version or not found.entries:
            self._raw = dict(found.entries)
            return
        migrate: Callable[[Any, int], object] | None = getattr(node, "migrate", None)
        versions = f"it is of version {found.version}, this type knows {self._version}"
        if migrate is None:
            self._forget(f"{versions}: dropped, the node starts without it")
            return
        try:
            for key, raw in found.entries.items():
                value = migrate(msgspec.json.decode(raw), found.version)
                if value is not None:
                    self._raw[key] = msgspec.json.encode(value)
        except Exception as error:  # the type's own code: one node's defect must not keep the others from starting
            self._raw.clear()
            why = f"its migrate failed ({type(error).__name__}: {error})"
            self._forget(f"{versions}, and {why}: dropped, the node starts without it")
            return
        for key in found.entries:
            self._mark(key)

    def _forget(self, why: str) -> None:
        self._store.drop_state(self._flow, self._id)
        self._trouble(why)

    def get(self, key: str, kind: type[T]) -> T | None:
        value = self._values.get(key)
        if value is not None:
            plain: Any = get_origin(kind) or kind  # dict[str, int] cannot be asked, dict can
            return value if isinstance(value, plain) else msgspec.convert(value, kind)
        raw = self._raw.get(key)
        if raw is None:
            return None
        try:
            loaded = msgspec.json.decode(raw, type=kind)
        except msgspec.MsgspecError as error:
            del self._raw[key]
            self._trouble(f"{key!r} cannot be read ({error}): the node goes on without it")
            return None
        del self._raw[key]
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

    def hurry(self) -> None:
        with suppress(StoreFailed):  # offered again with the next group, which says why
            self.commit()
            self._store.hurry()

    def __iter__(self) -> Iterator[str]:
        return iter([*self._values, *(key for key in self._raw if key not in self._values)])

    def _mark(self, key: str) -> None:
        if not self._dirty:
            self._changed(self)
        self._dirty[key] = None

    def commit(self) -> None:
        """Hand what changed to the store. StoreFailed when it takes no more; all is kept and offered again then."""
        changes: dict[str, bytes | None] = {}
        for key in self._dirty:
            try:
                key.encode()
                changes[key] = msgspec.json.encode(self._values[key]) if key in self._values else self._raw.get(key)
            except Exception as error:  # whatever a node's value raises: the other keys are kept all the same
                self._trouble(f"{key!r} cannot be kept ({type(error).__name__}: {error})")
        if changes:
            self._store.save_state(self._flow, self._id, self._version, changes)
        self._dirty.clear()
