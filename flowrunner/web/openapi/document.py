"""The OpenAPI 3.1 document (spec.openapis.org/oas/v3.1.1) of one generation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flowrunner import __version__
from flowrunner.engine import Engine
from flowrunner.graph import FlowHead
from flowrunner.message import JSON
from flowrunner.web import api
from flowrunner.web.endpoint import Endpoint, Query
from flowrunner.web.openapi import flow_routes
from flowrunner.web.openapi.answers import (
    FOREIGN,
    JSON_MEDIA,
    NO_KEY,
    QUERY,
    WRONG_ROLE,
    Operation,
    Refusal,
    Schemas,
    WrongField,
    gives,
    marked,
    refusals,
    wrong_body,
)  # fmt: skip

ABOUT = """
What the running flows see and what is wrong with them, values entered by hand, and the routes that the flows themselves
have. The document is made for the flows that run now.

- Every refusal has the form `{"error": code, "detail": sentence}`. Go by the code; the sentence is for people.
- A path takes only the methods named here; another is answered with 405 and the header `Allow`. A path that is not
  here is answered with 404. GET answers HEAD as well.
- Times are ISO 8601 in UTC with milliseconds. A value that is missing is null or left out, never 0.
- A route that changes something needs the role operator or editor, as it says; each may all that a viewer may.
- Pages of this server use the cookie of a session in place of a key, and send `X-CSRF-Token` with what changes
  something.
- Objects may get further members in later versions: ignore what you do not know.
"""
TAGS = {
    "running flows": "What runs, what it last saw, and values entered by hand.",
    "orders": "What was decided, sent and refused, and the switch that stops it.",
    "operation": "For orchestrators, scrapers and tools.",
}
PLACES = {
    "flow": "The flow's name.",
    "node": "The node's id in its flow.",
    "order": "The order's id.",
    "id": "The alarm's id.",
    "letter": "The dead letter's id.",
}
"""What stands for a ``{place}`` in a path."""
KEY_SCHEMES: Mapping[str, JSON] = {
    "key": {
        "type": "apiKey", "in": "header", "name": "X-API-KEY",
        "description": "A key that `flowrunner keys add` made, with its role; or what the environment variable"
        " FLOWRUNNER_API_KEY was at the server's start: an editor.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key, for scrapers that send it so."},
}  # fmt: skip


def encoded(engine: Engine, rows: Sequence[Endpoint], *, locked: bool) -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document(engine, rows, locked=locked))


def document(engine: Engine, rows: Sequence[Endpoint], *, locked: bool) -> dict[str, JSON]:
    """``rows`` and the flows' own routes. ``locked``: the program's routes need its key."""
    types: list[Any] = [Refusal, WrongField, *flow_routes.TYPES]
    for row in rows:
        types += [row.gives, *(kind for _, kind in row.also.values()), *(one.kind for one in row.query)]
        types += [] if row.takes is None else [row.takes]
    schemas = Schemas(types)
    paths: dict[str, dict[str, Operation]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schemas, locked)
    for entry in flow_routes.entries(engine.graph, api.ENTRIES, paths[api.ENTRIES]["post"]):
        paths[entry.path] = {"post": entry.operation}
    schemes = dict(KEY_SCHEMES) if locked else {}
    for route in engine.routes.values():
        one = flow_routes.described(engine.graph, route)
        paths.setdefault(one.path, {})[route.method.lower()] = one.operation
        schemes |= one.schemes
    flows = [{"name": flow_routes.tag(name), "description": _title(head)} for name, head in engine.graph.flows.items()]
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "flowrunner",
            "version": __version__,
            "summary": "Flows that run, from outside.",
            "description": ABOUT.strip(),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "Where this document came from."}],
        "tags": [*flows, *({"name": name, "description": text} for name, text in TAGS.items())],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": schemes},
    }


def _title(head: FlowHead) -> str:
    title = head.title
    name = title if isinstance(title, str) else (title or {}).get("en") or next(iter((title or {}).values()), "")
    return f"Routes of the flow {head.name}" + (f" ({name})." if name else ".")


def _operation(row: Endpoint, schemas: Schemas, locked: bool) -> Operation:
    places = [part[1:-1] for part in row.path.split("/") if part.startswith("{")]
    about = marked(inspect.getdoc(row.handle) or "")
    if row.key and row.needs != "viewer":
        about += f" It needs the role {row.needs}."
    operation: Operation = {
        "operationId": row.handle.__name__,
        "tags": [row.tag],
        "summary": row.summary,
        "description": about,
        "parameters": [*map(_place, places), *(_query(one, schemas) for one in row.query)],
    }
    if row.takes is not None:
        schema: JSON = {"anyOf": [schemas.of(row.takes), {}]} if row.any_body else schemas.of(row.takes)
        operation["requestBody"] = {"required": not row.any_body, "content": {JSON_MEDIA: {"schema": schema}}}
    found = [FOREIGN, row.refuses]
    if row.key and locked:
        found.append(NO_KEY)
        found += [WRONG_ROLE] if row.needs != "viewer" else []
    if row.query:
        found.append(QUERY)
    if places:
        found.append({404: {"unknown": f"There is no such {' or '.join(places)}, or it does not run."}})
    if row.takes is not None and not row.any_body:
        found.append(wrong_body(row.max_body))
    also = {str(status): gives(when, schemas.of(kind)) for status, (when, kind) in row.also.items()}
    answers = {"200": gives("As asked.", schemas.of(row.gives), row.media)} | also | refusals(*found)
    operation["responses"] = dict(sorted(answers.items()))
    operation["security"] = [{name: []} for name in KEY_SCHEMES] if row.key and locked else []
    return operation


def _place(name: str) -> dict[str, JSON]:
    about = PLACES.get(name, f"The {name}.")
    return {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string"}}


def _query(one: Query, schemas: Schemas) -> dict[str, JSON]:
    about = {"description": one.description, "schema": schemas.of(one.kind)}
    return {"name": one.name, "in": "query", "required": one.required, **about}
