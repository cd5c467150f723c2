"""A running system as plain JSON values: what the API and the page show. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import msgspec

from flowrunner import shown
from flowrunner.changeover import Reloaded
from flowrunner.errors import Problem
from flowrunner.graph import FlowHead, Graph, GraphNode
from flowrunner.message import JSON, Instant, Message
from flowrunner.orders import Order, Refusal, Refused, Stop, SwitchStep
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.inbox import Inbox
from flowrunner.store import DeadLetter
from flowrunner.units import iso, seconds_text


def message(one: Message, now: Instant) -> shown.MessageShown:
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
        "fields": {name: cast(shown.FieldShown, one.info(name).shown(now)) for name in names},
    }


def node(spec: GraphNode, counters: Counters, inbox: Inbox, now: Instant) -> shown.NodeShown:
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


def flow_line(graph: Graph, head: FlowHead, counters: dict[str, Counters]) -> shown.FlowLine:
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


def flow(graph: Graph, head: FlowHead, counters: dict[str, Counters]) -> shown.FlowShown:
    """A flow with its nodes, wires and what of it does not run."""
    mine = [one for one in graph.nodes.values() if one.flow == head.name]
    nodes: list[shown.NodeLine] = [
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
    wires: list[shown.WireShown] = [
        {"from": wire.source.removeprefix(f"{head.name}/"), "port": wire.port, "to": one.id, "listens": wire.listens}
        for one in mine
        for wire in one.wires
    ]
    prefix = f"{head.name}/"
    disabled = {key.removeprefix(prefix): why for key, why in graph.disabled.items() if key.startswith(prefix)}
    return {
        **flow_line(graph, head, counters),
        "timezone": head.timezone,
        "vars": dict(head.vars),
        "disabled": disabled,
        "nodes": nodes,
        "wires": wires,
    }


def config(graph: Graph) -> dict[str, shown.ConfigShown]:
    """Every node's options as bound, by flow; secrets are masked."""
    return {
        name: {
            "file": head.file,
            "digest": head.digest,
            "timezone": head.timezone,
            "vars": dict(head.vars),
            "nodes": {one.id: one.shown for one in graph.nodes.values() if one.flow == name},
        }
        for name, head in graph.flows.items()
    }


def running(graph: Graph, generation: int, loaded_at: Instant, last: Reloaded | None) -> shown.RunningShown:
    """What runs, and how it came to run."""
    told = None if last is None else reloaded(last)
    return {"generation": generation, "loaded_at": iso(loaded_at), "last_reload": told, "flows": config(graph)}


def reloaded(one: Reloaded) -> shown.ReloadedShown:
    return cast(shown.ReloadedShown, msgspec.structs.asdict(one))


def problems(running: Iterable[Problem], last: Reloaded | None) -> list[shown.ProblemShown]:
    """What is wrong with what runs, and with newer files that do not run."""
    found = [_problem(one, "running") for one in running]
    if last is not None and last.result in ("refused", "failed"):
        newer = list(last.problems)
        if last.result == "failed":  # its files are good, a peer is not
            newer.append(Problem(file="", line=1, column=1, path="", code="reload-failed", message=last.reason))
        found += [_problem(one, "newer") for one in newer]
    return found


def _problem(one: Problem, of: Literal["running", "newer"]) -> shown.ProblemShown:
    return cast(shown.ProblemShown, {**msgspec.structs.asdict(one), "of": of})


def dead_letter(letter: DeadLetter) -> shown.DeadLetterShown:
    """A rejected message as it was kept."""
    return {
        "id": letter.id,
        "at": iso(letter.at),
        "flow": letter.flow,
        "node": letter.node,
        "code": letter.code,
        "reason": letter.reason,
        "wire": letter.wire,
        "attempts": letter.attempts,
        "lineage": _lineage(letter),
        "standing": letter.standing,
        "hindrance": letter.hindrance or None,
        "answer": letter.answer or None,
        "message": msgspec.Raw(letter.message),
    }


def _lineage(letter: DeadLetter) -> str:
    try:
        return msgspec.json.decode(letter.message, type=Message).lineage()
    except msgspec.MsgspecError:  # what could be written of it is no message any more
        return "?"


def order(one: Order) -> shown.OrderShown:
    more = {
        "flow": one.flow,
        "guard": one.guard,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
        "good_until": iso(one.good_until) if one.good_until else None,  # 0: an order of before this was kept
    }
    return cast(shown.OrderShown, one.record() | more)


def story(one: Order, steps: list[dict[str, JSON]]) -> shown.StoryShown:
    return {"order": order(one), "steps": [cast(shown.StepShown, {**step, "at": iso(step["at"])}) for step in steps]}


def refusal(one: Refused) -> shown.RefusalShown:
    times: dict[str, Instant] = {name: getattr(one, name) for name in ("delivery_start", "created_at", "updated_at")}
    texts = {name: getattr(one, name) for name in ("market", "side", "flow", "guard", "rule", "reason", "text")}
    return cast(shown.RefusalShown, {**texts, "count": one.count, **{name: iso(at) for name, at in times.items()}})


def switch(stop: Stop | None) -> shown.SwitchShown:
    """``stop``: why trading is stopped, or None."""
    since = None if stop is None or stop.since is None else iso(stop.since)
    by, reason = ("", "") if stop is None else (stop.by, stop.reason)
    return {"stopped": stop is not None, "since": since, "by": by, "reason": reason}


def trading(stop: Stop | None, held: list[tuple[str, Refusal]], steps: list[SwitchStep]) -> shown.TradingShown:
    return {
        **switch(stop),
        "held": [{"market": market, "reason": one.reason, "text": one.text} for market, one in held],
        "steps": [{"at": iso(one.at), "stopped": one.stopped, "by": one.by, "reason": one.reason} for one in steps],
    }
