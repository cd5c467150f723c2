"""Random flows, as they may stand in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
Kinds = Literal["stateless", "keyed", "remembering", "all"]
"""keyed: with state, and every message has a key. remembering: nodes with state and nothing else, so that they hear
what is said."""

PORTS: Mapping[str, tuple[str, ...]] = {
    "filter": ("out", "else"),
    "switch": ("low", "high", "else"),
    "threshold": ("out", "above", "cleared"),
    "rule": (),
    "on-error": (),
}
"""Where they are not just ``out``: ports that others may read from. Intents and errors are for nobody here."""
STATELESS = ("scale", "compute", "filter", "switch", "select")
STATEFUL = ("merge", "threshold", "rule")
SOURCES = ("manual-in", "http-in", "inject")
TICK_S = 7
"""The one inject of a flow ticks at full multiples of this. No other time here is one of it: what two timers of one
instant do, nobody promises an order for."""
STALE, SETTLE_MS, HOLD_S, COOL_S = "61013ms", (37, 41, 43), (3, 11), 13
SETTLED = "1s"
"""No record is being collected any more, wherever it began."""


@dataclass(frozen=True)
class Spec:
    """A node as it stands in the file."""

    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    """``id.port``; none: a source, or a listener."""
    envelope: Mapping[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        options = dict(self.options)
        if options.pop("prefer", False):
            options["prefer"] = [one.removesuffix(".out") for one in reversed(self.inputs)]
        if self.inputs:
            options["from"] = [one.removesuffix(".out") for one in self.inputs]
        return {"type": self.type, **options, **self.envelope}


@dataclass(frozen=True)
class FlowText:
    """A flow whose nodes read only from nodes before them."""

    head: Mapping[str, Any]
    nodes: Mapping[str, Spec]

    def __str__(self) -> str:
        lines = [f"{name}: {json.dumps(value)}" for name, value in self.head.items()]
        merges = [name for name, one in self.nodes.items() if one.type == "merge"]
        entries = {name: one.entry() for name, one in self.nodes.items()}
        for name in merges[:-1]:  # else two would become stale in one instant
            entries[name].pop("stale_after", None)
        nodes = [f"  {name}: {json.dumps(entry)}" for name, entry in entries.items()]
        return "\n".join(["flow: t", *lines, "nodes:", *nodes, ""])

    def sources(self, type: str) -> list[str]:  # noqa: A002  (the format's own word)
        return [name for name, one in self.nodes.items() if one.type == type and one.envelope.get("enabled", True)]

    def with_node(self, name: str, spec: Spec) -> FlowText:
        return replace(self, nodes={**self.nodes, name: spec})


class Maker:
    """Draws what stands in a file. Every node and field that is made has a new name."""

    def __init__(self, draw: Draw, kinds: Kinds) -> None:
        self.draw = draw
        self.types = {"stateless": STATELESS, "remembering": STATEFUL}.get(kinds, (*STATELESS, *STATEFUL, *STATEFUL))
        self.sources = ("http-in",) if kinds == "keyed" else SOURCES
        self._always_keyed = kinds == "keyed"
        self._made = 0

    def name(self, what: str) -> str:
        self._made += 1
        return f"{what}{self._made}"

    def one_of(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def limit(self) -> int:
        return int(self.draw(st.integers(1, 9)))

    # ---- a flow ------------------------------------------------------------------------------------------------

    def flow(self) -> FlowText:
        flow = FlowText({"timezone": "Europe/Vienna", "vars": {"limit": self.limit()}}, {})
        for type_ in ["http-in", *self.draw(st.lists(st.sampled_from(self.sources), max_size=2))]:
            flow = self.with_source(flow, type_)
        for _ in range(self.draw(st.integers(1, 6))):
            flow = self.with_inner(flow)
        return flow

    def with_source(self, flow: FlowText, type_: str) -> FlowText:
        if type_ == "inject" and flow.sources("inject"):
            return flow
        name = self.name("s")
        return flow.with_node(name, Spec(type_, self.source_options(type_, name), envelope=self.keyed(type_)))

    def with_inner(self, flow: FlowText) -> FlowText:
        type_ = self.one_of(*self.types, *(() if self.types is STATEFUL else ("on-error",)))
        if type_ == "on-error":
            return flow.with_node(self.name("e"), Spec(type_))
        inputs = self.inputs(list(flow.nodes), flow.nodes, type_)
        if not inputs:
            return self.with_source(flow, "http-in")
        return flow.with_node(self.name("n"), Spec(type_, self.options(type_), inputs, self.queue()))

    def inputs(self, before: list[str], nodes: Mapping[str, Spec], type_: str) -> tuple[str, ...]:
        """Ports of nodes before it: several only where they are put together, or where the order is no matter."""
        ports = [f"{one}.{port}" for one in before for port in PORTS.get(nodes[one].type, ("out",))]
        if not ports:
            return ()
        most = 3 if type_ == "merge" else 2
        return tuple(self.draw(st.lists(st.sampled_from(ports), min_size=1, max_size=most, unique=True)))

    # ---- a node ------------------------------------------------------------------------------------------------

    def source_options(self, type_: str, name: str) -> dict[str, Any]:
        if type_ == "inject":
            return {
                "every": f"{TICK_S}s", "payload": {"x": self.limit(), "y": self.limit()},
                "once": self.types is STATELESS and self.one_of(True, False),  # a restart says it again, a reload not
            }  # fmt: skip
        if type_ == "manual-in":
            return {"fields": {"x": {"min": 0, "max": self.one_of(9, 99)}, "y": {}}}
        return {
            "route": f"POST /{name}",
            "body": {"x": {"type": "number", "min": 0}, "y": {"type": "number"}, "site": {"type": "text"}},
            "reply": {"json": {"said": self.limit()}},
        }

    def keyed(self, type_: str) -> dict[str, Any]:
        return {"key": "{site}"} if type_ == "http-in" and (self._always_keyed or self.one_of(True, False)) else {}

    def options(self, type_: str) -> dict[str, Any]:
        if type_ == "scale":
            return {"fields": {"x": {"factor": self.one_of(1, 2, 0.5), "offset": self.one_of(0, 1), "max": 12}}}
        if type_ == "compute":
            return {"fields": {self.name("f"): self.one_of("x * 2", "x + limit", "age(x)", "x > limit")}}
        if type_ == "filter":
            return {"when": self.condition()}
        if type_ == "switch":
            cases = {"low": f"x < {self.limit()}", "high": self.condition()}
            return {"cases": cases, "first": self.one_of(True, False)}
        if type_ == "select":
            return {"fields": {"x": "x", self.name("g"): "x"}}
        if type_ == "merge":
            return self.merge_options()
        if type_ == "threshold":
            above = self.limit()
            return {
                "field": "x", "above": above, "clear_below": max(0, above - self.one_of(0, 3)),
                "for": f"{self.one_of(0, *HOLD_S)}s", "clear_after": f"{self.one_of(0, *HOLD_S)}s",
            }  # fmt: skip
        return {
            "when": [self.condition()], "for": f"{self.one_of(0, *HOLD_S)}s", "cooldown": f"{self.one_of(0, COOL_S)}s",
            "then": {"side": self.one_of("BUY", "SELL"), "quantity_mwh": self.limit(), "limit_price_eur_mwh": "x"},
        }  # fmt: skip

    def merge_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"prefer": True} if self.one_of(True, False) else {}
        if self.one_of(True, False):
            options["settle"] = f"{self.one_of(*SETTLE_MS)}ms"
        if self.one_of(True, False):
            options["stale_after"] = STALE
        if self.one_of(True, False):
            options["require"] = ["x"]
        if self.one_of(True, False):
            options["manual"] = self.one_of("fallback", "override")
        return options

    def condition(self) -> str:
        return str(self.one_of("x > limit", f"x >= {self.limit()}", f"x < {self.limit()}", "age(x) < 5s", "hour() < 3"))

    def queue(self) -> dict[str, Any]:
        if not self.one_of(True, False, False):
            return {}
        when_full = self.one_of("block", "drop_oldest", "drop_newest", "latest")
        return {"queue": {"size": self.one_of(3, 1000), "when_full": when_full, "durable": self.one_of(True, False)}}
