"""Why a node decided as it did: its newest decision, reckoned when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from flowrunner import shown
from flowrunner.engine import Engine, Unknown
from flowrunner.message import JSON, Instant
from flowrunner.runtime import Worker
from flowrunner.units import iso

INSTANTS = ("at", "since", "delivery_start", "delivery_end")
Mask = Callable[[str], str]


class ClauseShown(TypedDict):
    """One condition: `value op limit` gives `outcome`; `reason` says why it has none."""

    text: str
    value: JSON
    op: str
    limit: JSON
    outcome: bool | None
    reason: str


class WhyShown(TypedDict):
    """The newest decision of a node. Beside these a rule has `clauses`, `then` and `guard`; a risk-guard `text`,
    `rule`, `order`, `side`, `quantity_mwh`, `limited_by`, `delivery_start` and `rules`; a threshold `field`, `value`,
    `limit` and `since`."""

    flow: str
    node: str
    type: str
    decided: Annotated[bool, Meta(description="Whether it has decided anything since it began to run.")]
    now: shown.Time
    outcome: Annotated[
        str | None,
        Meta(
            description="rule: wish, no wish, cannot be judged. risk-guard: passed, blocked, repeat. "
            "threshold: above, below, clear, unknown."
        ),
    ]
    reason: str
    at: shown.Time | None
    key: str
    detail: Annotated[dict[str, JSON], Meta(description="What else this type of node says.")]


def why(engine: Engine, flow: str, node: str) -> WhyShown:
    """The newest decision of a node. Unknown where there is none of that name, or it decides nothing."""
    engine.node(flow, node)  # says what is wrong with the name
    worker = engine.runtime.workers[f"{flow}/{node}"]
    ask = getattr(worker.node, "why", None)
    if ask is None:
        raise Unknown(f"{flow}/{node} decides nothing; it is a {worker.spec.kind.name}")
    told = _asked(worker)
    detail = {} if told is None else dict(told)
    head: dict[str, Any] = {name: detail.pop(name, None) for name in ("outcome", "reason", "at", "key")}
    if worker.spec.kind.name == "rule":
        detail["guard"] = _guard(engine, worker)
    mask = engine.runtime.mask
    now = engine.clock.now()
    return {
        "flow": flow,
        "node": node,
        "type": worker.spec.kind.name,
        "decided": told is not None,
        "now": iso(now),
        "outcome": head["outcome"],
        "reason": mask(head["reason"] or ""),
        "at": None if head["at"] is None else iso(head["at"]),
        "key": mask(head["key"] or ""),
        "detail": _told(detail, mask),
    }


def _asked(worker: Worker) -> dict[str, JSON] | None:
    if not worker.opened or worker.stub:
        return None
    told: dict[str, JSON] | None = getattr(worker.node, "why")(worker.ctx)  # noqa: B009  (found by presence)
    return told


def _guard(engine: Engine, rule: Worker) -> dict[str, JSON] | None:
    """What the guard behind a rule said last about its wishes."""
    waiting, seen = [rule.spec.address], {rule.spec.address}
    while waiting:
        source = waiting.pop(0)
        for address, spec in engine.graph.nodes.items():
            if address in seen or not any(one.source == source and not one.listens for one in spec.wires):
                continue
            seen.add(address)
            waiting.append(address)
            if spec.kind.name == "risk-guard":
                told = _asked(engine.runtime.workers[address]) or {}
                said = told.get("rules", {}).get(rule.spec.id)
                return {"node": address, "decided": said is not None, **(said or {})}
    return None


def _told(value: JSON, mask: Mask, name: str = "") -> JSON:
    """As JSON for people: instants as text, nothing secret."""
    if isinstance(value, Mapping):
        return {mask(str(key)): _told(one, mask, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_told(one, mask) for one in value]
    if isinstance(value, str):
        return mask(value)
    if name in INSTANTS and isinstance(value, int):
        instant: Instant = value
        return iso(instant)
    return value
