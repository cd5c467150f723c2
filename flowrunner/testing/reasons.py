"""Why nothing came, or something else: what the nodes in front decided, the last word of each."""

from __future__ import annotations

from flowrunner.expression import Clause
from flowrunner.flowfile import Expectation
from flowrunner.graph import ERROR_PORT, GraphNode
from flowrunner.message import JSON
from flowrunner.testing.checking import split
from flowrunner.testing.view import View, as_json
from flowrunner.testing.watching import Judged

WHY = "why:"
NOTES = 12
"""Lines, at most."""


def why(one: Expectation, view: View) -> list[str]:
    """What the nodes in front of it decided: the last word of each."""
    name = split(one.from_)[0] if one.from_ is not None else one.into or ""
    lines: list[str] = []
    for spec in _upstream(view.node(name), view):
        lines += _of_node(spec, view)
    if not lines:
        return []
    more = [f"    … and {len(lines) - NOTES} more lines"] if len(lines) > NOTES else []
    return [WHY, *(f"    {line}" for line in lines[:NOTES]), *more]


def _upstream(spec: GraphNode, view: View) -> list[GraphNode]:
    """The node and all that its messages come through, the nearest first."""
    found: dict[str, GraphNode] = {}
    waiting = [spec]
    while waiting:
        here = waiting.pop(0)
        if here.address not in found:
            found[here.address] = here
            waiting += [view.nodes[wire.source] for wire in here.wires]
    return list(found.values())


def _of_node(spec: GraphNode, view: View) -> list[str]:
    lines = []
    for port in (ERROR_PORT, "blocked"):
        sent = [one for one in view.watching.sent if (one.address, one.port) == (spec.address, port)]
        if sent:
            lines.append(f"{spec.id}.{port} at {view.clock(sent[-1].at)}: {_said(sent[-1].message.payload)}")
    judged = [one for one in view.watching.judged.get(spec.address, {}).values() if one.last is not None]
    if judged:
        at = max(one.at for one in judged)
        traced = [f"    {text}" for one in judged for text in _traced(one)]
        lines += [f"{spec.id} judged {_times(judged[0].times)} {view.clock(at)}:", *traced] if traced else []
    return [*lines, *_verdict(spec, view)]


def _verdict(spec: GraphNode, view: View) -> list[str]:
    """What a threshold said last, and of which value."""
    if spec.kind.name != "threshold":
        return []
    sent = [one for one in view.watching.sent if (one.address, one.port) == (spec.address, "out")]
    if not sent or not isinstance(record := sent[-1].message.payload, dict):
        return []
    names = ("above", "clear_below", "below", "clear_above", "for", "clear_after")
    limits = ", ".join(f"{name} {spec.shown[name]}" for name in names if name in spec.shown)
    field, verdict = spec.shown["field"], record.get(spec.id.replace("-", "_"))
    return [f"{spec.id} is {verdict} at {view.clock(sent[-1].at)}: {field} is {as_json(record.get(field))} ({limits})"]


def _times(count: int) -> str:
    return "once, at" if count == 1 else f"{count} times, the last at"


def _said(payload: JSON) -> str:
    record = payload if isinstance(payload, dict) else {}
    code, text = record.get("code") or record.get("reason"), record.get("text") or record.get("reason")
    return f"{text} ({code})" if code and text and code != text else as_json(payload)


def _traced(one: Judged) -> list[str]:
    trace = one.last
    if trace is None:
        return []
    if not isinstance(trace.outcome, bool | None):
        return []  # an amount: nothing in it is true or false
    lines = [_clause(clause) for clause in trace.clauses]
    if trace.error and not any(clause.reason for clause in trace.clauses):
        lines.append(f"{one.text}: {trace.error}")
    return lines


def _clause(clause: Clause) -> str:
    word = {True: "true ", False: "false", None: "?    "}[clause.outcome]
    if clause.outcome is None:
        return f"{word} {clause.text} ({clause.reason})"
    limit = as_json(clause.limit) if clause.op else ""
    return f"{word} {clause.text} ({as_json(clause.value)} {clause.op} {limit})".replace(" )", ")")
