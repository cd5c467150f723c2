"""One route of the program: what serves it, and what the API's description says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from flowrunner.store.people import Role
from flowrunner.web.guard import Handler

Codes = Mapping[str, str]
"""The ``error`` of a refusal → when it is given, as a sentence."""


@dataclass(frozen=True, slots=True)
class Query:
    """One parameter behind the ``?``. ``kind`` is the type of its value, like ``Annotated[int, Meta(ge=1)]``;
    what is not of it must be refused by the handler."""

    name: str
    description: str
    _: KW_ONLY
    kind: Any = str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. The handler's docstring is the description; refusals that follow from the rest of the row
    (key, wrong body, a ``{place}`` in the path that names nothing) are described without being listed."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handle: Handler
    summary: str
    _: KW_ONLY
    gives: Any
    """The type of the answer with status 200; limits and texts by ``Annotated`` and ``Meta``."""
    takes: Any = None
    """The type of the JSON body; a Struct that forbids unknown fields where they are refused."""
    any_body: bool = False
    """Whatever the body is, also none, it is no reason to refuse; ``takes`` is what is understood."""
    max_body: int = 65_536
    """Bytes that the handler reads of a body."""
    query: tuple[Query, ...] = ()
    refuses: Mapping[int, Codes] = field(default_factory=dict)
    """Status → error codes of this route alone."""
    also: Mapping[int, tuple[str, Any]] = field(default_factory=dict)
    """Status → (when, type) of further answers that are no refusals."""
    media: str = "application/json"
    """Content type of the answer."""
    tag: str = "running flows"
    """The heading that it stands under."""
    key: bool = True
    """Whether one must say who one is: by a key or a session."""
    role: Role | None = None
    """What it needs; None: to read a viewer's, to change something an operator's."""

    @property
    def needs(self) -> Role:
        """The role that it needs."""
        return self.role or ("viewer" if self.method == "GET" else "operator")
