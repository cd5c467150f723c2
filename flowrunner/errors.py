"""What can go wrong, as values and as exceptions.

A *problem* is a finding in a file: it has a place and is collected, never raised alone. An *exception* stops
something. The tree of exceptions::

    FlowrunnerError
    ├── BadFlow            a flow file has problems; carries them all
    ├── UsageError         the command or its surroundings are wrong (port taken, no key beyond loopback)
    ├── StoreLocked        another engine works on the same data folder
    └── NodeError          raised by nodes; the runtime acts on it
        ├── NotConnected   the peer is away: reconnect with back-off, keep the message
        ├── Retry          the same message again later
        ├── Reject         this message leaves by the error port
        └── Fatal          the whole flow stops
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

import msgspec

Severity = Literal["error", "warning", "note"]


class Mark(msgspec.Struct, frozen=True, order=True):
    """A place in a file: 1-based line and column (in characters, as editors count)."""

    line: int = 1
    column: int = 1


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One finding in a flow file. ``path`` is the way to the option as a person says it: ``scale.factor``."""

    file: str
    line: int
    column: int
    path: str
    code: str
    severity: Severity = "error"
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        path = f"{self.path}: " if self.path else ""
        level = "" if self.severity == "error" else f"{self.severity}: "
        if not self.hint:
            return f"{where}{level}{path}{self.message}"
        joint = ", " if self.hint.startswith("did you mean") else "\n    "
        return f"{where}{level}{path}{self.message}{joint}{self.hint}"

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        return (self.file, self.line, self.column, self.path, self.code)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'threshold'?`` for the nearest known word, or ``""`` when nothing is near.

    Near is also the only one that begins or ends with the word: ``soc`` is ``soc_percent``.
    """
    folded = {name.casefold().replace("_", "-"): name for name in known}
    wanted = word.casefold().replace("_", "-")
    near = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.66)
    if not near and len(wanted) > 2:
        near = [name for name in folded if name.startswith(f"{wanted}-") or name.endswith(f"-{wanted}")]
    return f"did you mean {folded[near[0]]!r}?" if len(near) == 1 else ""


def described(error: BaseException) -> str:
    """An exception of somebody else's code for people: its kind and its text."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # a user's __str__ may raise anything
        return f"{type(error).__name__} (its text cannot be made)"


class FlowrunnerError(Exception):
    """The root of all that this package raises on purpose."""


class BadFlow(FlowrunnerError):
    """A flow file has at least one error. ``problems`` holds every finding of the pass, sorted by place."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.order)
        super().__init__("\n".join(map(str, self.problems)))


class UsageError(FlowrunnerError):
    """The surroundings do not allow it; the text says the next step."""


class StoreLocked(UsageError):
    """Another engine holds the data folder."""


class NodeError(FlowrunnerError):
    """Raised by nodes; what the runtime does with each is written at the class."""


class NotConnected(NodeError):
    """The peer is away. The node is marked disconnected, reconnected with back-off; the message is kept."""


class Retry(NodeError):
    """Offer the same message again after ``after`` seconds."""

    def __init__(self, after: float, reason: str = "") -> None:
        self.after = after
        super().__init__(reason or f"again in {after:g} s")


class Reject(NodeError):
    """This message cannot be processed. It leaves by the node's ``error`` port with ``code`` and ``reason``."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class Fatal(NodeError):
    """The flow must not go on. It stops, loudly."""
