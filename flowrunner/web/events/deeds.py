"""What people and programs did, from the audit: one source for each of its kinds, each on the index of that kind.

Steps of the kill switch are not among them: the journal of orders has those of every side, the command's and the
file's too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from flowrunner.message import JSON, Instant
from flowrunner.store import audit
from flowrunner.units import parse_instant
from flowrunner.web.events.event import Event, Kind, Position, Severity
from flowrunner.web.events.sources import TABLES, Row, Source


class Named(NamedTuple):
    """How a deed is told."""

    kind: Kind
    title: str
    severity: Severity = "info"


DEEDS: Mapping[audit.Kind, Named] = {
    "entry": Named("entry", "entry"),
    "alarm": Named("acknowledgement", "acknowledgement"),
    "reload": Named("reload", "reload.applied"),
    "login": Named("login", "login"),
    "login-failed": Named("login", "login-failed", "warning"),
    "logout": Named("login", "logout"),
    "user": Named("account", "user"),
    "key": Named("account", "key"),
    "letters": Named("letter", "letters"),
    "order": Named("order", "order.word"),
}
RELOADS: Mapping[str, Severity] = {"applied": "info", "unchanged": "info", "refused": "warning", "failed": "warning"}


class Deeds:
    """The entries of one kind."""

    rank, time, number = 6, "at", "id"
    columns = ("who", "origin", "flow", "node", "text", "detail")

    def __init__(self, of: audit.Kind) -> None:
        self._of, self._named = of, DEEDS[of]
        self.kinds = frozenset({self._named.kind})
        # The kind is a name of ours; as a parameter it would stand among those that all sources share.
        self.table = f"audit WHERE kind = '{of}' AND"

    def event(self, position: Position, row: Row) -> Event:
        who, origin, flow, node, text, raw = row
        detail: dict[str, JSON] = msgspec.json.decode(raw, type=dict)
        title, severity, state = self._named.title, self._named.severity, ""
        result = detail.get("result")
        if self._of == "reload" and isinstance(result, str) and result in RELOADS:
            title, severity, state = f"reload.{result}", RELOADS[result], result
        order, until = detail.get("order"), detail.get("until")
        return Event(
            kind=self._named.kind, position=position, who=who, origin=origin, flow=flow,
            node=node, title=title, text=text, severity=severity, state=state, detail=detail,
            order=order if isinstance(order, str) else "", until=_instant(until),
        )  # fmt: skip


def _instant(value: JSON) -> Instant | None:
    """Of a detail; what is no time says nothing."""
    if isinstance(value, str):
        try:
            return parse_instant(value)
        except ValueError:
            return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


SOURCES: Sequence[Source] = (*TABLES, *map(Deeds, DEEDS))
"""All that the list is made of."""
