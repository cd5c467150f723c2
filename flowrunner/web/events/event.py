"""One event, and its place in the list: what all sources agree on. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from flowrunner.message import JSON, Instant

Kind = Literal[
    "alarm", "acknowledgement", "order", "refusal", "entry", "reload", "trading", "letter", "login", "account"
]
"""``letter``: a message that a node rejected, and what a person did with it; ``account``: users and keys."""
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""From the least to the most."""
Course = Literal["going-on", "over", "quiet", "unknown"]
"""How the trouble of an alarm goes on; see ``course``."""

LAST, FIRST = 2**63 - 1, -(2**63)
"""Behind and before every number of a row, and every instant."""


class Position(NamedTuple):
    """Where an event stands: by its time, then by its table, then by its number there. No two are equal."""

    at: Instant
    rank: int
    """Of the table."""
    number: int
    """Of its row."""

    def __str__(self) -> str:
        return f"{self.at}.{self.rank}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The opposite of ``str``. ValueError for what is none."""
        parts = text.split(".")
        if len(parts) != 3 or not all(_whole(part) for part in parts):
            raise ValueError(f"{text[:60]!r} is no place in the list; give 'before' as an answer had it")
        return cls(*map(int, parts))


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, as it is kept. Texts are as they came from outside."""

    kind: Kind
    position: Position
    """Its ``at`` is when it happened; of what comes again and again (alarms, refusals), when it came last."""
    since: Instant | None = None
    """When it came first, where it came again."""
    until: Instant | None = None
    """Until when it holds (a manual entry)."""
    flow: str = ""
    node: str = ""
    title: str
    """A key of ``words.TITLES``."""
    values: Mapping[str, JSON] = {}
    """For the places of the title. Times are ISO 8601."""
    text: str = ""
    who: str = ""
    origin: str = ""
    """The address that somebody's word came from."""
    severity: Severity = "info"
    state: str = ""
    course: Course | None = None
    """Of an alarm."""
    count: int = 1
    order: str = ""
    """The id of the order that it is about."""
    alarm: int | None = None
    """The number to acknowledge it by."""
    detail: Mapping[str, JSON] = {}
    """What the audit keeps beside the text."""
    wire: str = ""
    key: str = ""
    """Of an alarm: the way it came, and the entity it is about."""

    @property
    def at(self) -> Instant:
        return self.position.at


def _whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 20 and FIRST <= int(text) <= LAST
