"""What every message that leaves a node is given: where it began, the way that it took, and the envelope's key."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable

import msgspec

from flowrunner.errors import Reject
from flowrunner.graph import STATUS_PORT, GraphNode
from flowrunner.message import Message, Path, Root
from flowrunner.node import Output
from flowrunner.template import Text

_set = msgspec.structs.force_setattr
_replace = msgspec.structs.replace


class BadOutput(TypeError):
    """A node returned what is no message, or named a port that it does not have."""


class Lineage:
    """That of one node. ``ports``: all that it has, in order."""

    def __init__(self, spec: GraphNode, ports: Collection[str]) -> None:
        self._ports = ports
        self._key = Text(spec.key) if spec.key else None
        self._start = (spec.id,)
        self._from: Path = None
        self._onward: Path = self._start  # the way of what came by the way `_from`: all of a list came the same way

    def way(self, path: Path) -> Path:
        """The way of what is made here out of what came by ``path``."""
        if path is not self._from:
            self._from, self._onward = path, self._start if path is None else path + self._start
        return self._onward

    def by_port(self, result: Output) -> list[tuple[str, Message]]:
        """Whatever a node returned as (port, message) pairs, in order. BadOutput says what is wrong with it."""
        if result is None:
            return []
        parts: Iterable[tuple[str, object]] = result.items() if isinstance(result, dict) else [("out", result)]
        pairs: list[tuple[str, Message]] = []
        for port, messages in parts:
            self.check(port)
            for message in messages if isinstance(messages, list) else [messages]:
                if not isinstance(message, Message):
                    if inspect.iscoroutine(message):
                        message.close()
                    kind = type(message).__name__
                    raise BadOutput(f"it returned a {kind}; return None, a message, a list, or {{port: message}}")
                pairs.append((port, message))
        return pairs

    def check(self, port: str) -> None:
        """BadOutput for a port that the node does not have, or that it does not speak by itself."""
        if port not in self._ports or port == STATUS_PORT:
            known = ", ".join(one for one in self._ports if one != STATUS_PORT)
            raise BadOutput(f"a message left by the port {port!r}, which this type does not have (ports: {known})")

    def stamp(self, message: Message, root: Root | None, path: Path) -> Message:
        """Lineage and the envelope's key. A message that was handed on before is copied, never changed.

        Reject when the message lacks a field that the key is made of, or has nothing in it.
        """
        if self._key is not None:
            key = self._key.fill(message)
            if not key:  # what has no key joins every key: that must be meant, not happen
                raise Reject("empty-key", f"the key {self._key.text!r} comes out empty for this message")
            return _replace(message, key=key, root=root, path=self.way(path))
        return self.stamp_unkeyed(message, root, path)

    def stamp_unkeyed(self, message: Message, root: Root | None, path: Path) -> Message:
        """The same without the envelope's key: for errors, which keep the key of what they are about."""
        if message.path is not None:
            return _replace(message, root=root, path=self.way(path))
        _set(message, "root", root)
        _set(message, "path", self.way(path))
        return message
