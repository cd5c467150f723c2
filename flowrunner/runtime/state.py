"""A node's durable state: objects in memory, encoded and committed in groups within a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_origin

import msgspec

from flowrunner.errors import described
from flowrunner.node import Node
from flowrunner.store import StateChanges, Store, StoreFailed

T = TypeVar("T")


def _nobody(state: NodeState) -> None:
    """Who is told of changes that are not committed."""


class NodeState:
    """One JSON value per key. What was set since the last commit may be lost in a crash.

    ``changed`` hears that there is something to commit, ``hurry`` that it must not wait; ``trouble`` is told, in a
    sentence, what of it could not be kept, taken over or read. ``fresh``: what is kept under this name is not for this
    node.
    """

    def __init__(
        self,
        store: Store,
        flow: str,
        node: Node,
        changed: Callable[[NodeState], None],
        hurry: Callable[[], None],
        trouble: Callable[[str], None],
        *,
        fresh: bool = False,
    ) -> None:
        self._store, self._flow, self._id, self._version = store, flow, node.id, node.state_version
        self._changed, self._hurry = changed, hurry
        self._trouble = trouble
        self._raw: dict[str, bytes] = {}
        self._values: dict[str, object] = {}
        self._dirty: dict[str, None] = {}
        self.changed_times = 0
        """Grows with every change: who compares it sees whether there was one."""
        self._fresh = fresh
        if not fresh:
            self._load(node)

    @property
    def dirty(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._dirty)

    def detach(self) -> None:
        """Nothing of it is committed any more: another has taken it over."""
        self._changed = _nobody

    def attach(self, changed: Callable[[NodeState], None]) -> None:
        """From now on what changes is committed, and what has changed so far."""
        self._changed = changed
        if self._fresh:  # a node of another type had the name
            self._fresh = False
            try:
                self._store.drop_state(self._flow, self._id)
            except StoreFailed as error:
                self._trouble(f"what a node of another type kept under this name is still there: {error}")
        if self._dirty:
            changed(self)

    def again(self) -> None:
        """Offer all of it to the store once more: another may have changed what is there."""
        for key in self:
            self._mark(key)

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
            why = f"its migrate failed ({described(error)})"
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
        self._hurry()

    def __iter__(self) -> Iterator[str]:
        return iter([*self._values, *(key for key in self._raw if key not in self._values)])

    def _mark(self, key: str) -> None:
        self.changed_times += 1
        if not self._dirty:
            self._changed(self)
        self._dirty[key] = None

    def changes(self) -> StateChanges:
        """What changed since the last commit; encoded, and still here."""
        changes: dict[str, bytes | None] = {}
        for key in self._dirty:
            try:
                key.encode()
                changes[key] = msgspec.json.encode(self._values[key]) if key in self._values else self._raw.get(key)
            except Exception as error:  # whatever a node's value raises: the other keys are kept all the same
                self._trouble(f"{key!r} cannot be kept ({described(error)})")
        return StateChanges(self._flow, self._id, self._version, changes)

    def committed(self) -> None:
        """The changes are the store's."""
        self._dirty.clear()
