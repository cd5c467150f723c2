"""What the program knows of its node types, as text for people and as schemas for editors."""

from __future__ import annotations

import inspect
import json
import textwrap
from typing import Any

from flowrunner.errors import UsageError, did_you_mean
from flowrunner.flowfile import TILES, CasesFile, FlowFile
from flowrunner.graph import PORTS_OF_ALL
from flowrunner.node import NewField
from flowrunner.registry import BrokenType, Envelope, NodeType, Registry, has_inbox
from flowrunner.schema import describe as describe_schema
from flowrunner.schema import schema_of
from flowrunner.schema.walk import MESSAGE, Schema

DRAFT = "http://json-schema.org/draft-07/schema#"
NEW_FIELDS = schema_of(dict[NewField, str])["propertyNames"]


def listing(registry: Registry) -> str:
    """Every type with its first line, a broken one with what is wrong; then what every node may say."""
    width = max(map(len, registry.names))
    lines = []
    for name in registry.names:
        try:
            summary = registry.get(name).summary
        except BrokenType as error:
            summary = f"BROKEN: {error}"
        lines.append(f"{name:<{width}}  {summary}")
    return "\n".join([*lines, "", "every node:", *_options(schema_of(Envelope), "  ")])


def describe(registry: Registry, name: str) -> str:
    """One type: what it does, ports, an example, options with types and defaults. UsageError when there is none."""
    try:
        kind = registry.get(name)
    except KeyError:
        hint = did_you_mean(name, registry.names) or "`flowrunner nodes` lists the types"
        raise UsageError(f"there is no node type {name!r}; {hint}") from None
    schema = schema_of(kind.cls.Options)
    ports = ", ".join([*kind.cls.ports, *PORTS_OF_ALL])
    inputs = {"none": "none, it is a source", "optional": "may read from others", "required": "needs 'from'"}
    heard = {"": inputs[kind.cls.inputs], "error": "the errors of other nodes", "status": "the states of other nodes"}
    text = [f"{name}: {kind.doc}", "", f"input: {heard[kind.cls.listens]}", f"ports: {ports}"]
    if has_inbox(kind.cls):
        queue = kind.cls.default_queue
        text.append(
            f"queue: {queue.size} messages{', kept on the disk' if queue.durable else ''}, {queue.when_full} when full"
        )
    envelope = schema_of(Envelope)
    if kind.cls.inputs == "none":
        del envelope["properties"]["from"]
    if not has_inbox(kind.cls):
        del envelope["properties"]["queue"]
    if shown := example(kind):
        text += ["", "example:", textwrap.indent(shown, "  ")]
    text += ["", "options:", *_options(schema, "  "), ""]
    text.append(f"every node: {', '.join(envelope['properties'])} (`flowrunner nodes` says what they do)")
    return "\n".join(text)


def example(kind: NodeType) -> str:
    """The nodes that show the type at work, as they stand under ``nodes:``; empty when it has no example."""
    return inspect.cleandoc(kind.cls.example)


def _options(schema: Schema, indent: str) -> list[str]:
    required = schema.get("required", [])
    lines: list[str] = []
    for name, one in schema.get("properties", {}).items():
        extra = ", required" if name in required else ""
        if "default" in one:
            extra = f", default {json.dumps(one['default'], ensure_ascii=False)}"
        head = f"{indent}{name} ({describe_schema(one)}{extra})"
        about = one.get("description", "")
        lines += textwrap.wrap(f"{head}: {about}" if about else head, 110, subsequent_indent=indent + "    ")
        lines += _nested(one, indent + "    ")
    return lines


def _nested(schema: Schema, indent: str) -> list[str]:
    for branch in [schema, *schema.get("anyOf", [])]:
        below = branch.get("additionalProperties")
        if branch.get("properties"):
            return _options(branch, indent)
        if isinstance(below, dict) and below.get("properties"):
            return [f"{indent}NAME{_named(schema, branch)}:", *_options(below, indent + "  ")]
    return []


def _named(option: Schema, names: Schema) -> str:
    """What the names of a map stand for: the description says it left of an arrow, or they are fields."""
    what, arrow, _ = option.get("description", "").partition(" → ")
    if arrow:
        return f" (a {what.rpartition(': ')[2].lower()})"
    return " (a field)" if names.get("propertyNames") == NEW_FIELDS else ""


# ---- schemas for editors -----------------------------------------------------------------------------------------


def node_schema(kind: NodeType) -> Schema:
    """The editor's schema of one node type."""
    return {"$schema": DRAFT} | _titled(kind)


def flow_schema(registry: Registry) -> Schema:
    """The editor's schema of a flow file: every scalar may be a ``${…}``, the type chooses the options."""
    schema = schema_of(FlowFile, editor=True)
    names = registry.names
    kinds = [registry.get(name) for name in names]
    choices: list[Schema] = [
        {
            "if": {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"$ref": f"#/definitions/{name}"},
        }
        for name in names
    ]
    # The list of types comes last: editors show the first description that they meet, and that is the type's own.
    type_ = {"enum": names, "enumDescriptions": [kind.summary for kind in kinds], "description": "The node type."}
    node = {
        "title": "node",
        "type": "object",
        "allOf": [*choices, {"required": ["type"], "properties": {"type": type_}}],
    }
    nodes = {"additionalProperties": node, MESSAGE: "Expected a map of nodes: a name and a colon, its options below."}
    schema["properties"]["nodes"] |= nodes
    schema["properties"]["dashboard"]["properties"]["tiles"]["items"] = _tile()
    definitions: dict[str, Any] = {kind.name: _titled(kind) for kind in kinds}
    definitions |= {f"tile-{name}": _tile_options(name) for name in TILES}
    return {"$schema": DRAFT, "title": "flowrunner flow"} | schema | {"definitions": definitions}


def _tile() -> Schema:
    """The editor's schema of one tile of a dashboard: ``tile`` chooses the options."""
    choices: list[Schema] = [
        {
            "if": {"type": "object", "properties": {"tile": {"const": name}}, "required": ["tile"]},
            "then": {"$ref": f"#/definitions/tile-{name}"},
        }
        for name in TILES
    ]
    told = [inspect.cleandoc(kind.__doc__ or "") for kind in TILES.values()]
    word = {"enum": [*TILES], "enumDescriptions": told, "description": "What is shown."}
    return {
        "title": "tile",
        "type": "object",
        "allOf": [*choices, {"required": ["tile"], "properties": {"tile": word}}],
    }


def _tile_options(name: str) -> Schema:
    schema = schema_of(TILES[name], editor=True)
    schema["properties"]["tile"] = {"const": name}
    return {"title": name, "description": inspect.cleandoc(TILES[name].__doc__ or "")} | schema


def _titled(kind: NodeType) -> Schema:
    """What an editor shows of a node of this type, and takes in it."""
    return {"title": kind.name, "description": kind.doc} | kind.schema(editor=True)


def flow_schema_text(registry: Registry) -> str:
    return _text(flow_schema(registry))


def cases_schema_text() -> str:
    """The editor's schema of a file of tests."""
    return _text({"$schema": DRAFT, "title": "flowrunner tests"} | schema_of(CasesFile, editor=True))


def schema_files(registry: Registry) -> dict[str, str]:
    """File name → text of everything under ``schemas/``."""
    files = {"flow.schema.json": flow_schema_text(registry), "tests.schema.json": cases_schema_text()}
    return files | {f"nodes/{name}.json": _text(node_schema(registry.get(name))) for name in registry.names}


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
