"""What of the list is asked for: the filters of a query, and which events they take. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from flowrunner import shown
from flowrunner.message import JSON, Instant
from flowrunner.units import parse_instant
from flowrunner.web.endpoint import Query
from flowrunner.web.events.event import FIRST, LAST, SEVERITIES, Event, Kind, Position, Severity

KINDS: tuple[Kind, ...] = get_args(Kind)
MOST = 500
"""Events of one answer."""
LONGEST = 200
"""Characters of a text that is looked for."""
LIMIT = 100
"""Events of an answer that was told no number."""


class Wrong(ValueError):
    """A parameter is wrong; the text names it."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which events. Empty texts take all."""

    kinds: frozenset[Kind] = frozenset(KINDS)
    flow: str = ""
    common: bool = False
    """With ``flow``: also what belongs to no flow, since it concerns all: reloads and the kill switch."""
    node: str = ""
    severity: Severity = "info"
    """At least."""
    state: str = ""
    text: str = ""
    """In small letters."""
    since: Instant | None = None
    until: Instant | None = None
    """``since`` is included, ``until`` is not."""
    limit: int = LIMIT
    before: Position | None = None

    def takes(self, event: Event) -> bool:
        """Whether the filters let it through; kind, times and place in the list are not for it to judge."""
        return (
            (self.flow in ("", event.flow) or (self.common and not event.flow))
            and self.node in ("", event.node)
            and SEVERITIES.index(event.severity) >= SEVERITIES.index(self.severity)
            and self.state in ("", event.state, event.course)
            and (not self.text or any(self.text in one.casefold() for one in _texts(event)))
        )


def _texts(event: Event) -> list[str]:
    own = [event.text, event.flow, event.node, event.who, event.origin, event.order, event.state, event.wire, event.key]
    return [*own, *_strings(event.values), *_strings(event.detail)]


def _strings(value: JSON) -> Iterator[str]:
    """All texts in it, names of members too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield str(name)
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


QUERIES = (
    Query(
        "kind", f"Only of these kinds, with commas between them: {', '.join(KINDS)}.",
        kind=Annotated[str, Meta(pattern=f"^({'|'.join(KINDS)})(,({'|'.join(KINDS)}))*$")],
    ),
    Query("flow", "Only of this flow."),
    Query("node", "Only of this node of a flow, by its id."),
    Query("severity", "Only those that matter at least so much.", kind=Severity),
    Query(
        "state",
        "Only in this state: of alarms open, acknowledged, going-on, over, quiet or unknown; of others the state that"
        " they are shown with.",
    ),
    Query(
        "text", f"Only with this in their texts, names or ids; at most {LONGEST} characters. Large and small letters"
        " are the same; the words of titles are not looked through.",
        kind=Annotated[str, Meta(max_length=LONGEST)],
    ),
    Query("from", "Those of this time and later.", kind=shown.Time),
    Query("to", "Those before this time.", kind=shown.Time),
)  # fmt: skip
"""What every route of the list understands."""
PAGES = (
    Query("limit", f"At most so many; {LIMIT} unless told.", kind=Annotated[int, Meta(ge=1, le=MOST)]),
    Query(
        "before",
        "Go on with what an answer gave as `before`.",
        kind=Annotated[str, Meta(pattern=r"^[0-8]?[0-9]{1,18}(\.[0-8]?[0-9]{1,18}){2}$")],
    ),
)


def asked(query: Mapping[str, str]) -> Asked:
    """The filters of a query; an empty one (of a form) is none. Wrong names the first that cannot be. What else is in
    the query is no business of this list."""
    given: dict[str, Any] = {name: query[name] for name in ("flow", "node", "state") if query.get(name)}
    if query.get("kind"):
        given["kinds"] = _kinds(query["kind"])
    if query.get("severity"):
        given["severity"] = _severity(query["severity"])
    if query.get("text"):
        if len(query["text"]) > LONGEST:
            raise Wrong(f"text: there are more than {LONGEST} characters")
        given["text"] = query["text"].casefold()
    for name, field in (("from", "since"), ("to", "until")):
        if query.get(name):
            given[field] = _instant(name, query[name])
    if query.get("limit"):
        given["limit"] = _limit(query["limit"])
    if query.get("before"):
        try:
            given["before"] = Position.parse(query["before"])
        except ValueError as error:
            raise Wrong(f"before: {error}") from None
    return Asked(**given)


def _kinds(text: str) -> frozenset[Kind]:
    names = text.split(",")
    unknown = [one for one in names if one not in KINDS]
    if unknown:
        raise Wrong(f"kind: {unknown[0][:60]!r} is none; known: {', '.join(KINDS)}")
    return frozenset(one for one in KINDS if one in names)


def _severity(text: str) -> Severity:
    for one in SEVERITIES:
        if one == text:
            return one
    raise Wrong(f"severity: {text[:60]!r} is none of {', '.join(SEVERITIES)}")


def _instant(name: str, text: str) -> Instant:
    try:
        return max(FIRST, min(parse_instant(text), LAST))  # no event is further away
    except ValueError as error:
        raise Wrong(f"{name}: {error}") from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST):
        raise Wrong(f"limit: {text[:20]!r} is not a whole number from 1 to {MOST}")
    return int(text)
