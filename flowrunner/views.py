"""A running system as plain JSON values: what the API and the page show. Reads only."""

from __future__ import annotations

import msgspec

from flowrunner.graph import FlowHead, Graph, GraphNode
from flowrunner.message import JSON, Instant, Message
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.inbox import Inbox
from flowrunner.store import DeadLetter
from flowrunner.units import iso, seconds_text


def message(one: Message, now: Instant) -> JSON:
    """A message with its lineage; ``fields`` says of each field of a record what is known of it."""
    names = one.field_names() if isinstance(one.payload, dict) else ()
    return {
        "payload": one.payload,
        "at": iso(one.at),
        "source": one.source,
        "origin": one.origin,
        "quality": one.quality,
        "key": one.key,
        "age_s": seconds_text(max(now - one.at, now - one.received_at, 0)),
        "lineage": one.lineage(),
        "fields": {name: one.info(name).shown(now) for name in names},
    }


def node(spec: GraphNode, counters: Counters, inbox: Inbox, now: Instant) -> JSON:
    return {
        "flow": spec.flow,
        "id": spec.id,
        "type": spec.kind.name,
        "file": spec.file,
        "line": spec.line,
        "state": counters.state,
        "connected": counters.connected,
        "received": counters.received,
        "sent": counters.sent,
        "errors": dict(counters.errors),
        "dropped": counters.drop(inbox.dropped),
        "inbox": len(inbox),
        "restarts": counters.restarts,
        "last_error": counters.last_error or None,
        "last_error_at": None if counters.last_error_at is None else iso(counters.last_error_at),
        "last": {port: message(one, now) for port, one in counters.last.items()},
    }


def flow_line(graph: Graph, head: FlowHead, counters: dict[str, Counters]) -> JSON:
    """A flow in a list of flows."""
    mine = [counters[address] for address, one in graph.nodes.items() if one.flow == head.name]
    return {
        "flow": head.name,
        "title": head.title,
        "file": head.file,
        "nodes": len(mine),
        "ready": all(one.ready for one in mine),
        "digest": head.digest,
    }


def flow(graph: Graph, head: FlowHead, counters: dict[str, Counters]) -> JSON:
    """A flow with its nodes, wires and what of it does not run."""
    mine = [one for one in graph.nodes.values() if one.flow == head.name]
    nodes = [
        {
            "id": one.id,
            "type": one.kind.name,
            "line": one.line,
            "state": counters[one.address].state,
            "connected": counters[one.address].connected,
            "ports": one.ports,
        }
        for one in mine
    ]
    wires = [
        {"from": wire.source.removeprefix(f"{head.name}/"), "port": wire.port, "to": one.id}
        for one in mine
        for wire in one.wires
    ]
    prefix = f"{head.name}/"
    disabled = {key.removeprefix(prefix): why for key, why in graph.disabled.items() if key.startswith(prefix)}
    more = {"timezone": head.timezone, "vars": dict(head.vars), "disabled": disabled}
    return {**flow_line(graph, head, counters), **more, "nodes": nodes, "wires": wires}


def config(graph: Graph) -> JSON:
    """Every node's options as bound, by flow; secrets are masked."""
    return {
        name: {
            "file": head.file,
            "timezone": head.timezone,
            "vars": dict(head.vars),
            "nodes": {one.id: one.shown for one in graph.nodes.values() if one.flow == name},
        }
        for name, head in graph.flows.items()
    }


def dead_letter(letter: DeadLetter) -> JSON:
    """A rejected message as it was kept."""
    return {
        "at": iso(letter.at),
        "flow": letter.flow,
        "node": letter.node,
        "code": letter.code,
        "reason": letter.reason,
        "message": msgspec.Raw(letter.message),
    }
