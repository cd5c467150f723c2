"""The parts that all operations have: schemas of types, answers, and refusals in their one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from flowrunner.message import JSON
from flowrunner.web.endpoint import Codes

JSON_MEDIA = "application/json"
Operation = dict[str, JSON]
"""An Operation Object of OpenAPI."""


class Refusal(TypedDict):
    """Every answer that is an error."""

    error: Annotated[str, Meta(description="A code for programs.")]
    detail: Annotated[str, Meta(description="A sentence for people: what is wrong, and what to do.")]


class WrongField(TypedDict):
    """What is wrong with one field of a body."""

    field: Annotated[str, Meta(description='The field; "" where it is the body as a whole.')]
    message: str


FOREIGN: Mapping[int, Codes] = {
    403: {
        "host": "The Host header is no name of this server.",
        "origin": "The request comes from a page of another site.",
    }
}
"""What every route refuses."""
QUERY: Mapping[int, Codes] = {400: {"query": "The query has a name twice."}}
NO_KEY: Mapping[int, Codes] = {
    401: {"unauthorized": "The key is missing or wrong."},
    429: {"too-fast": "There were too many wrong keys."},
}
WRONG_ROLE: Mapping[int, Codes] = {
    403: {
        "role": "The key or the person has a lower role.",
        "csrf": "A page's session, and the token that the page was given is not sent.",
    }
}
"""What a route that changes something refuses beside."""
HEADERS: Mapping[int, tuple[str, str, JSON]] = {
    401: ("WWW-Authenticate", "The header that the key belongs into.", {"type": "string"}),
    405: ("Allow", "The methods that the path takes.", {"type": "string"}),
    429: ("Retry-After", "Seconds until it is worth trying again.", {"type": "integer", "minimum": 1}),
    503: ("Retry-After", "Seconds until it is worth trying again.", {"type": "integer", "minimum": 1}),
}
"""Status → the header that a refusal with it always has."""


def wrong_body(max_body: int) -> Mapping[int, Codes]:
    """What a route that takes JSON refuses before it looks at the fields."""
    return {
        400: {"not-json": "The body is not JSON, or has a key twice, or is nested too deep."},
        413: {"too-large": f"The body is larger than {max_body} bytes."},
        415: {"media-type": "The body is not sent as application/json in UTF-8, without content-encoding."},
    }


def marked(text: str) -> str:
    """Docstrings mark code with two backticks, CommonMark does with one."""
    return text.replace("``", "`")


class Schemas:
    """JSON Schemas of types; those with a name stand in ``components`` once."""

    def __init__(self, types: list[Any]) -> None:
        found, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
        self.components = msgspec.json.decode(marked(msgspec.json.encode(components).decode()))
        self._types = types  # kept: their ids must stay theirs
        self._found = {id(one): schema for one, schema in zip(types, found, strict=True)}

    def of(self, kind: Any) -> dict[str, JSON]:
        """The schema of one of the types. KeyError for another."""
        return self._found[id(kind)]


def gives(description: str, schema: Mapping[str, JSON], media: str = JSON_MEDIA) -> dict[str, JSON]:
    """A Response Object with a body."""
    return {"description": description, "content": {media: {"schema": schema}}}


def refusals(*found: Mapping[int, Codes], more: Mapping[int, Mapping[str, JSON]] | None = None) -> dict[str, JSON]:
    """Response Objects by status. ``more``: status → schemas of what a refusal says beside error and detail."""
    merged: dict[int, dict[str, str]] = {}
    for one in found:
        for status, codes in one.items():
            known = merged.setdefault(status, {})
            for code, when in codes.items():
                known[code] = f"{known[code]} {when}" if known.get(code, when) != when else when
    return {str(status): _refusal(status, merged[status], (more or {}).get(status, {})) for status in sorted(merged)}


def _refusal(status: int, codes: Codes, more: Mapping[str, JSON]) -> dict[str, JSON]:
    text = " ".join(codes.values()) if len(codes) == 1 else "\n".join(f"- `{code}`: {codes[code]}" for code in codes)
    narrowed = {"properties": {"error": {"enum": list(codes)}, **more}}
    answer = gives(text, {"allOf": [{"$ref": "#/components/schemas/Refusal"}, narrowed]})
    if status in HEADERS:
        name, description, schema = HEADERS[status]
        answer["headers"] = {name: {"description": description, "required": True, "schema": schema}}
    return answer
