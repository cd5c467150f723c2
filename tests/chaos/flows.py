"""The flows that run through the chaos, and the ways in which their file changes meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

KEPT = "retry: {first: 100ms, max: 500ms}, queue: {durable: true, size: 100000, when_full: drop_oldest, max_age: 1d}"
SITE = """
flow: site
nodes:
  in:
    {{type: mqtt-in, broker: "{broker}", client_id: chaos, persistent: true, topic: plant/in/+, key: "{{topic_3}}",
     {retry}}}
  scale: {{type: scale, from: in, fields: {{value: {{factor: {factor}}}}}}}
  limit: {{type: threshold, from: {judged}, field: value, above: 40{held}}}
  out: {{type: mqtt-out, from: limit, broker: "{broker}", client_id: chaos-out, topic: "plant/out/{{key}}", {kept}}}

  rest:
    {{type: http-in, route: POST /in, key: "{{site}}", rate_limit: 100000/s,
     body: {{number: {{required: true}}, site: {{type: text, required: true}}, sent_at: {{}}}}}}
  told: {{type: mqtt-out, from: rest, broker: "{broker}", client_id: chaos-out, topic: "rest/out/{{key}}", {kept}}}
  web: {{type: http-out, from: rest, url: "{web}/taken", timeout: 2s, {kept}}}

  device:
    {{type: modbus-in, host: 127.0.0.1, port: {device}, every: 200ms, timeout: 1s,
     registers: {{number: {{address: 0}}, same: {{address: 1}}}}, {retry}}}
{more}"""
RETRY = "retry: {first: 100ms, max: 500ms}"
TRADE = """
flow: trade-{name}
market: {{name: {market}, slot: 15min, gate_closure: 5min}}
nodes:
  wish:
    type: http-in
    route: POST /wish/{name}
    rate_limit: 100000/s
    body: {{soc_percent: {{required: true, min: 0, max: 100}}, price_eur_mwh: {{required: true}}}}
  state: {{type: merge, from: wish, stale_after: 90s}}
  buy:
    type: rule
    from: state
    when: [soc_percent < 30, price_eur_mwh <= 60]
    then: {{side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}}
  guard:
    type: risk-guard
    from: buy
    max_age: {{wish: 90s}}
    max_orders: {{per_slot: 1, per_day: 48}}
    max_quantity_mwh: 1.0
    price: {{min: -500, max: 4000}}
    energy: {{capacity_mwh: 1000, min_soc: 5, max_soc: 95, efficiency: 0.9}}
  exchange:
    {{type: exchange-out, from: guard, send: orders, mode: live, url: "{exchange}", api_key: made-up-key, timeout: 2s,
     retry: {{first: 100ms, max: 500ms}}}}
"""


class Version(NamedTuple):
    """One way in which ``site.yaml`` may stand. ``text``: the whole of it, of a file that is not finished."""

    what: str
    put_in: Mapping[str, str] = {}
    text: str = ""

    @property
    def good(self) -> bool:
        return not (self.text or "nonsense" in "".join(self.put_in.values()))


PLAIN: Mapping[str, str] = {"factor": "2", "judged": "scale", "held": "", "more": "", "kept": KEPT, "retry": RETRY}
VERSIONS = (
    Version("as it was"),
    Version("another factor", {"factor": "3"}),
    Version(
        "a node in between", {"judged": "known", "more": "  known: {type: filter, from: scale, when: number > 0}\n"}
    ),
    Version("a node beside it", {"more": "  seen: {type: filter, from: limit, when: number > 5}\n"}),
    Version("a queue on the disk", {"held": ", queue: {durable: true}"}),
    Version("another queue", {"held": ", queue: {size: 50}"}),
    Version("a branch less", {"judged": "in"}),
    Version("other waits", {"retry": "retry: {first: 50ms, max: 400ms}"}),
    Version("a node that is none", {"more": "  more: {type: nonsense, from: scale}\n"}),
    Version("a word that is none", {"factor": "nonsense"}),
    Version("a file that is not finished", text="flow: site\nnodes:\n  in: {type: mqtt-in, broker: "),
)


def site(version: Version, places: Mapping[str, str]) -> str:
    return version.text or SITE.format(**{**PLAIN, **version.put_in, **places})


def trade(name: str, market: str, exchange: str) -> str:
    return TRADE.format(name=name, market=market, exchange=exchange)
