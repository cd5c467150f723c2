"""The routes that the flows have now, as their nodes' options describe them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import Meta

from flowrunner.body import BodyField
from flowrunner.fields import Limits
from flowrunner.graph import Graph, GraphNode
from flowrunner.message import JSON
from flowrunner.routes import Route
from flowrunner.shape import Kind, Shape
from flowrunner.shown import FieldShown
from flowrunner.web.endpoint import Codes
from flowrunner.web.openapi.answers import FOREIGN, JSON_MEDIA, NO_KEY, QUERY, Operation, gives, refusals, wrong_body

KIND_TYPES: Mapping[Kind, list[str]] = {"number": ["number"], "text": ["string"], "bool": ["boolean"]}
FIELD_TYPES: Mapping[str, dict[str, JSON]] = {
    "number": {"type": "number", "format": "double"},
    "integer": {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1},  # more is no integer to parse_json
    "text": {"type": "string"},
    "boolean": {"type": "boolean"},
}
TIME: JSON = {"type": "string", "format": "date-time"}


class StatusField(FieldShown):
    """A field of the newest record: its value and what is known of it."""

    value: Annotated[JSON, Meta(description="null where it cannot be used at all.")]


class NoValueYet(TypedDict):
    """A field that no source has spoken of."""

    value: None
    stale: Literal[True]
    quality: Literal["bad"]
    reason: str


TYPES: list[Any] = [StatusField, NoValueYet]


class Described(msgspec.Struct, frozen=True):
    """One route: its path and operation, and the security schemes that it speaks of."""

    path: str
    operation: Operation
    schemes: dict[str, JSON]


def tag(flow: str) -> str:
    """The heading of a flow's routes."""
    return f"flow {flow}"


def described(graph: Graph, route: Route) -> Described:
    """A flow's route. Of a node type that is not http-in only what holds for every route is known."""
    spec = graph.nodes[route.address]
    options = spec.node.options
    found: list[Mapping[int, Codes]] = [
        FOREIGN,
        {
            500: {"internal": "The node failed; its log says why."},
            503: {
                "starting": "The node is not ready yet, or the flow was changed while the request came.",
                "stopping": "The server stops, and the flow gave no answer before.",
            },
        },
    ]
    schemes: dict[str, JSON] = {}
    if getattr(options, "api_key", ""):
        schemes = _scheme(spec)
        found.append(NO_KEY)
    operation: Operation = {
        "operationId": f"{spec.flow}.{spec.id}.{route.method.lower()}",
        "tags": [tag(spec.flow)],
        "summary": f"{spec.kind.name} {spec.id}",
        "description": f"Served by the node {spec.address}.",
        "parameters": [],
        "security": [{name: []} for name in schemes],
    }
    answers: dict[str, JSON]
    if spec.kind.name != "http-in":
        answers = {"default": {"description": "What the node answers."}}
    else:
        found.append({429: {"too-fast": f"A client asks more than {options.rate_limit}."}})
        if options.reply_with is not None:
            answers = _newest(spec, operation, found)
        else:
            _takes(route, spec, operation, found)
            answers = _accepted(graph, spec, operation, found)
    more = {404: {"keys": {"type": "array", "items": {"type": "string"}}}, 422: {"fields": WRONG_FIELDS}}
    operation["responses"] = dict(sorted((refusals(*found, more=more) | answers).items()))
    return Described(route.path.replace("{", "%7B").replace("}", "%7D"), operation, schemes)


WRONG_FIELDS: JSON = {"type": "array", "items": {"$ref": "#/components/schemas/WrongField"}}


def _scheme(spec: GraphNode) -> dict[str, JSON]:
    """Routes whose key is one variable share a scheme."""
    variable = spec.variables.get("api_key", "")
    name = variable if re.fullmatch(r"[A-Za-z0-9._-]+", variable) else spec.address.replace("/", ".")
    text = f"The api_key of the routes that take it from {variable}." if name == variable else f"Of {spec.address}."
    return {name: {"type": "apiKey", "in": "header", "name": "X-API-KEY", "description": text}}


# ---- a route that takes something --------------------------------------------------------------------------------


def _takes(route: Route, spec: GraphNode, operation: Operation, found: list[Mapping[int, Codes]]) -> None:
    options = spec.node.options
    found.append(
        {
            422: {"value": "A field is wrong; the answer says which."},
            503: {"full": "The flow cannot take more now."},
        }
    )
    if route.method == "GET":
        found.append(QUERY)
        operation["summary"] = f"Give {spec.id} the query's fields"
        # not as a parameter: what is wanted, any name with one text, is none of the ways that OpenAPI has for objects
        operation["description"] += " The query becomes the record: any names, each once and with a text."
        return
    operation["summary"] = f"Give {spec.id} a record" if options.body else f"Give {spec.id} any JSON"
    found.append(wrong_body(route.max_body))
    media: dict[str, JSON] = {"schema": record(options.body) if options.body else {"description": "Any JSON."}}
    sample = getattr(spec.node, "sample_body", lambda: None)()
    if sample:
        media["example"] = sample
    operation["requestBody"] = {"required": True, "content": {JSON_MEDIA: media}}


def record(rules: Mapping[str, BodyField]) -> dict[str, JSON]:
    """The schema of a body that ``flowrunner.body.faults`` finds nothing wrong with."""
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {name: _field(rule) for name, rule in rules.items()},
        "additionalProperties": False,
        "minProperties": 1,
    }
    required = [name for name, rule in rules.items() if rule.required]
    return schema | ({"required": required} if required else {})


def _field(rule: BodyField) -> dict[str, JSON]:
    return FIELD_TYPES[rule.type] | _limited(rule)


def _limited(rule: Limits) -> dict[str, JSON]:
    limits = {"minimum": rule.min, "maximum": rule.max}
    unit = {"description": f"In {rule.unit}."} if rule.unit else {}
    return {name: one for name, one in limits.items() if one is not None} | unit


def _accepted(graph: Graph, spec: GraphNode, operation: Operation, found: list[Mapping[int, Codes]]) -> dict[str, JSON]:
    options = spec.node.options
    if options.reply is None and "http-response" in spec.feeds:
        operation["description"] += f" The flow makes the answer; it is waited for {options.timeout} at most."
        found.append(
            {
                500: {"internal": "The flow could not make the answer; its log says why."},
                504: {"timeout": f"The flow gave no answer within {options.timeout}."},
            }
        )
        return _made_downstream(graph, spec)
    constant = options.reply.json if options.reply is not None else {"status": "OK"}
    properties: dict[str, JSON] = {name: {"const": value} for name, value in constant.items()}
    back = options.reply.accepted_as if options.reply is not None else None
    if back is not None:
        taken = record(options.body)["properties"] if options.body else {}
        properties[back] = {
            "type": "object",
            "description": "What was taken, and when.",
            "properties": {**taken, "timestamp": TIME},
            "required": ["timestamp"],
        }
    return {"200": gives("The flow has it.", {"type": "object", "properties": properties, "required": [*properties]})}


def _made_downstream(graph: Graph, spec: GraphNode) -> dict[str, JSON]:
    answers: dict[str, JSON] = {}
    for node in _answering(graph, spec):
        options = node.node.options
        one: dict[str, JSON] = {"description": f"As the node {node.address} makes it."}
        media = {name.lower(): value for name, value in options.headers.items()}.get("content-type", "")
        if not media:
            media = "text/plain" if isinstance(options.body, str) else JSON_MEDIA
        if options.status not in (204, 205, 304) and "{" not in media:
            schema: JSON = {"const": options.body} if isinstance(options.body, dict) else {}
            one = gives(one["description"], {"type": "string"} if isinstance(options.body, str) else schema, media)
        if str(options.status) in answers:
            one = {"description": "As one of several nodes makes it."}
        answers[str(options.status)] = one
    return answers


def _answering(graph: Graph, spec: GraphNode) -> Iterator[GraphNode]:
    """The http-response nodes that its messages can reach. Nodes are in topological order."""
    reached = {spec.address}
    for node in graph.nodes.values():
        if any(wire.source in reached and not wire.listens for wire in node.wires):
            reached.add(node.address)
            if node.kind.name == "http-response":
                yield node


# ---- values entered by hand --------------------------------------------------------------------------------------


def entries(graph: Graph, path: str, general: Operation) -> Iterator[Described]:
    """The ``general`` route for entries (``path`` with its places) once more for each manual node, with its fields."""
    for spec in graph.nodes.values():
        fields: Mapping[str, Limits] = getattr(spec.node.options, "fields", {}) if spec.node.manual else {}
        if not fields:
            continue
        values = {
            "type": "object",
            "properties": {name: _number_or_null(limits) for name, limits in fields.items()},
            "additionalProperties": False,
            "minProperties": 1,
        }
        body = general["requestBody"]["content"][JSON_MEDIA]["schema"]
        schema = {"allOf": [body, {"properties": {"values": values}}]}
        own = {
            "operationId": f"enter.{spec.flow}.{spec.id}",
            "tags": [tag(spec.flow)],
            "summary": f"Enter values by hand into {spec.id}",
            "parameters": [],
            "requestBody": {"required": True, "content": {JSON_MEDIA: {"schema": schema}}},
            "responses": {status: one for status, one in general["responses"].items() if status != "404"},
        }
        yield Described(path.replace("{flow}", spec.flow).replace("{node}", spec.id), general | own, {})


def _number_or_null(limits: Limits) -> dict[str, JSON]:
    return _limited(limits) | {"type": ["number", "null"]}


# ---- a route that answers with the newest record -----------------------------------------------------------------


def _newest(spec: GraphNode, operation: Operation, found: list[Mapping[int, Codes]]) -> dict[str, JSON]:
    options = spec.node.options
    operation["summary"] = f"The newest record of {options.reply_with}"
    operation["description"] += " Each field comes with its source, its age and whether it may be used."
    operation["parameters"] = [
        {
            "name": "key", "in": "query", "required": False, "schema": {"type": "string"},
            "description": "Which record, where there are several (sites, devices).",
        }
    ]  # fmt: skip
    found.append(QUERY)
    found.append({404: {"unknown-key": "There is no record of that key, or there are several and none was named."}})
    return {"200": gives("The newest record.", _record_shown(spec.incoming, str(options.offline_after)))}


def _record_shown(shape: Shape, offline_after: str) -> dict[str, JSON]:
    status = f"online: every field is fresh; stale: one is not; offline: there was no value for {offline_after}."
    head: dict[str, JSON] = {
        "status": {"enum": ["online", "stale", "offline"], "description": status},
        "timestamp": {**TIME, "type": ["string", "null"], "description": "Of the newest value."},
    }
    expected = {} if shape.open else shape.fields
    fields = {
        name: ({"type": [*KIND_TYPES[kind], "null"]} if kind else {})
        | ({"description": f"In {shape.units[name]}."} if name in shape.units else {})
        for name, kind in expected.items()
        if name not in ("status", "timestamp", "fields", "key")
    }
    one = {"anyOf": [{"$ref": f"#/components/schemas/{kind}"} for kind in ("StatusField", "NoValueYet")]}
    return {
        "type": "object",
        "properties": {
            **head,
            "key": {"type": "string", "description": "The site or device; left out where there is only one."},
            **fields,
            "fields": {"type": "object", "additionalProperties": one, "required": list(expected)},
        },
        "required": [*head, *fields, "fields"],
    }
