"""A flow file that is saved again and again: what stands in it at first, and each change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Nodes = dict[str, str]
"""Node id → its options, as they stand in the file."""

SOURCE = 'type: mqtt-in, broker: "{url}", key: "{{topic_3}}", persistent: true'
START: Nodes = {
    "in": f"{SOURCE}, client_id: plant, topic: plant/in/+",
    "scale": "type: scale, from: in, fields: {{value: {{factor: 2}}}}",
    "threshold": "type: threshold, from: scale, field: value, above: 40",
    "out": 'type: mqtt-out, from: threshold, broker: "{url}", client_id: plant-out, topic: "plant/out/{{key}}"',
    # Beside it, a branch that nobody ever touches.
    "still-in": 'type: mqtt-in, broker: "{url}", client_id: still, topic: still/in/+, key: "{{topic_3}}"',
    "still-out": 'type: mqtt-out, from: still-in, broker: "{url}", client_id: still, topic: "still/out/{{key}}"',
}
UNTOUCHED = ("still-in", "still-out")
UNFINISHED = "flow: stream\nnodes:\n  in: {{type: mqtt-in, broker: "
"""A file that is saved in the middle of a word."""


class Change(NamedTuple):
    """One save of the file."""

    what: str
    nodes: Mapping[str, str | None]
    """Node id → its new options; None: it is gone."""
    result: Literal["applied", "refused"] = "applied"
    """Of a refused one nothing stays in the file."""
    text: str = ""
    """The whole file, where it is no change of nodes."""
    may_repeat: bool = False
    """The connection that messages come by is another one: for a moment both bring them."""


CHANGES = (
    Change("an option", {"scale": "type: scale, from: in, fields: {{value: {{factor: 3}}}}"}),
    Change("a node more", {"large": "type: filter, from: threshold, when: value > 60"}),
    Change("another queue", {"threshold": f"{START['threshold']}, queue: {{{{size: 500}}}}"}),
    Change("a file that is not finished", {}, "refused", text=UNFINISHED),
    Change(
        "a node put in between",
        {
            "counted": "type: filter, from: scale, when: number > 0",
            "threshold": "type: threshold, from: counted, field: value, above: 40",
        },
    ),
    Change("another topic filter", {"in": f"{SOURCE}, client_id: plant, topic: plant/in/#"}, may_repeat=True),
    Change("an option of a node with state", {"threshold": "type: threshold, from: counted, field: value, above: 45"}),
    Change("a queue on disk", {"out": f"{START['out']}, queue: {{{{durable: true}}}}"}),
    Change("an unknown type", {"large": "type: filtre, from: threshold, when: value > 60"}, "refused"),
    Change("a node less", {"large": None}),
    Change("another client id", {"in": f"{SOURCE}, client_id: plant-b, topic: plant/in/#"}, may_repeat=True),
    Change("the wires as they were", {"counted": None, "threshold": START["threshold"]}),
    Change("an option of the last one", {"out": f"{START['out']}, expiry: 1h, queue: {{{{durable: true}}}}"}),
    Change("a branch more", {"also-in": 'type: mqtt-in, broker: "{url}", client_id: also, topic: plant/in/+',
                             "also": "type: log, from: also-in, level: debug"}),
    Change("another connection of the last one", {"out": START["out"].replace("plant-out", "plant-out-b")}),
    Change("a reference to nobody", {"threshold": "type: threshold, from: scael, field: value, above: 40"}, "refused"),
    Change("a branch less", {"also-in": None, "also": None}),
    Change("the same session by another protocol",
           {"in": f"{SOURCE}, client_id: plant-b, topic: plant/in/#, protocol: '3.1.1'"}, may_repeat=True),
    Change("a node by another name",
           {"scale": None, "scaled": START["scale"],
            "threshold": "type: threshold, from: scaled, field: value, above: 40"}),
    Change("all of it at once", {**{name: START[name] for name in START if name not in UNTOUCHED}, "scaled": None},
           may_repeat=True),
)  # fmt: skip


class FlowFile:
    """What stands in the file, change by change."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._nodes = START

    @property
    def text(self) -> str:
        return _text(self._nodes, self._url)

    def after(self, change: Change) -> str:
        """The file with this change."""
        if change.text:
            return change.text.format(url=self._url)
        changed = {name: options for name, options in {**self._nodes, **change.nodes}.items() if options is not None}
        if change.result == "applied":
            self._nodes = changed
        return _text(changed, self._url)


def _text(nodes: Nodes, url: str) -> str:
    lines = [f"  {name}: {{{options.format(url=url)}}}" for name, options in nodes.items()]
    return "\n".join(["flow: stream", "nodes:", *lines, ""])
