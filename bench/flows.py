"""The flows that are measured, as text."""

from __future__ import annotations

CHAIN = """
flow: chain
nodes:
  source: {type: inject, once: true, payload: {value: 1}}
  scale: {type: scale, from: source, fields: {value: {factor: 2}}}
  filter: {type: filter, from: scale, when: value > 0}
  select: {type: select, from: filter, fields: [value]}
"""
DURABLE = """
flow: chain
nodes:
  source: {type: inject, once: true, payload: {value: 1}}
  gate: {type: gate, from: source, queue: {durable: true, size: 1000000}}
  select: {type: select, from: gate, fields: [value]}
"""

PER_GROUP = 8


def many_nodes(count: int, *, every: str = "1s", more: str = "", changed: int = 40) -> str:
    """A flow of so many nodes: chains of the usual types that meet in merges. ``more``: lines of further nodes;
    ``changed``: an option of one of its nodes."""
    lines = ["flow: large", "nodes:", *more.splitlines()]
    for number in range(count // PER_GROUP):
        limit = changed if number == 0 else 40
        lines += [
            f"  in-{number}: {{type: inject, every: {every}, payload: {{soc_percent: 50, temperature_c: 20}}}}",
            f"  scale-{number}: {{type: scale, from: in-{number}, fields: {{soc_percent: {{factor: 0.1, max: 100}}}}}}",
            f"  filter-{number}: {{type: filter, from: scale-{number}, when: soc_percent < 30 and temperature_c > 0}}",
            f"  select-{number}: {{type: select, from: filter-{number}, fields: [soc_percent, temperature_c]}}",
            f"  merge-{number}: {{type: merge, from: [select-{number}, in-{number}], stale_after: 90s}}",
            f"  hot-{number}: {{type: threshold, from: merge-{number}, field: temperature_c, above: {limit}}}",
            f"  full-{number}: {{type: threshold, from: hot-{number}, field: soc_percent, above: 90}}",
            f"  log-{number}: {{type: log, from: [full-{number}.above, hot-{number}.error]}}",
        ]
    return "\n".join(lines) + "\n"


def stream(url: str, factor: float) -> str:
    """MQTT in, scaled, judged, MQTT out: the lines of its nodes. ``factor`` is what a reload changes."""
    return f"""\
  stream-in: {{type: mqtt-in, broker: "{url}", client_id: stream, topic: plant/in/+, key: "{{topic_3}}"}}
  stream-scale: {{type: scale, from: stream-in, fields: {{value: {{factor: {factor}}}}}}}
  stream-threshold: {{type: threshold, from: stream-scale, field: value, above: 40}}
  stream-out: {{type: mqtt-out, from: stream-threshold, broker: "{url}", client_id: stream, topic: "plant/out/{{key}}"}}
"""
