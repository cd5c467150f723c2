"""The types of what ``views`` makes: how flows, nodes and messages look to who asks from outside."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from flowrunner.errors import Problem, Severity
from flowrunner.message import JSON, Origin, Quality
from flowrunner.node import NodeState
from flowrunner.orders import Mode, OrderType, Side, State, TimeInForce
from flowrunner.store.letters import Standing

Time = Annotated[
    str,
    Meta(
        description="ISO 8601, UTC, with milliseconds.",
        examples=["2025-01-25T20:30:00.000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
Age = Annotated[float, Meta(ge=0, description="Seconds since it was true or since it came in, whichever is more.")]
Count = Annotated[int, Meta(ge=0)]
Counts = dict[str, Count]
Result = Literal["unchanged", "applied", "refused", "failed"]


class FieldShown(TypedDict):
    """What is known of one field of a record beside its value."""

    at: Time
    age_s: Age
    source: Annotated[str, Meta(description="The node that brought the value in.")]
    origin: Origin
    quality: Quality
    stale: Annotated[bool, Meta(description="Whether the value must not be used; the reason says why.")]
    unit: NotRequired[str]
    valid_from: NotRequired[Time]
    valid_until: NotRequired[Time]
    reason: NotRequired[str]


class MessageShown(TypedDict):
    """A message with its lineage."""

    payload: Annotated[JSON, Meta(description="Any JSON; a record is an object of field and value.")]
    at: Time
    source: str
    origin: Origin
    quality: Quality
    key: Annotated[str, Meta(description='The site or device that it is about; "" where there is only one.')]
    age_s: Age
    lineage: Annotated[str, Meta(description="The way it took: where it began, and the nodes it came through.")]
    fields: Annotated[dict[str, FieldShown], Meta(description="Of a record: what is known of each field.")]


class NodeShown(TypedDict):
    """A node with its counters and the newest message of each port."""

    flow: str
    id: str
    type: str
    file: str
    line: Annotated[int, Meta(ge=1)]
    state: NodeState
    connected: Annotated[bool | None, Meta(description="Whether its peer is there; null: it has none.")]
    received: Count
    sent: Count
    errors: Annotated[Counts, Meta(description="Errors by code.")]
    dropped: Annotated[Counts, Meta(description="Messages that were left out, by reason.")]
    inbox: Annotated[int, Meta(ge=0, description="Messages that wait.")]
    restarts: Count
    last_error: str | None
    last_error_at: Time | None
    last: Annotated[dict[str, MessageShown], Meta(description="The newest message of each port.")]


class FlowLine(TypedDict):
    """A flow in a list of flows."""

    flow: str
    title: Annotated[str | dict[str, str] | None, Meta(description="A text, or one per language.")]
    file: str
    nodes: Annotated[int, Meta(ge=0, description="How many run.")]
    ready: Annotated[bool, Meta(description="Whether every node runs and has its peer.")]
    digest: Annotated[str, Meta(description="Hash of the file's text.")]


class NodeLine(TypedDict):
    """A node in a flow."""

    id: str
    type: str
    line: Annotated[int, Meta(ge=1)]
    state: NodeState
    connected: bool | None
    ports: list[str]


WireShown = TypedDict("WireShown", {"from": str, "port": str, "to": str, "listens": bool})
WireShown.__doc__ = "A wire: from a node's port to another node. One that only listens is not on the way of messages."


class FlowShown(TypedDict):
    """A flow with its nodes, its wires and what of it does not run."""

    flow: str
    title: Annotated[str | dict[str, str] | None, Meta(description="A text, or one per language.")]
    file: str
    ready: bool
    digest: str
    timezone: str
    vars: dict[str, JSON]
    disabled: Annotated[dict[str, str], Meta(description="Nodes that do not run, and why.")]
    nodes: list[NodeLine]
    wires: list[WireShown]


class ConfigShown(TypedDict):
    """A flow as it was bound from its file."""

    file: str
    digest: Annotated[str, Meta(description="Hash of the file's text.")]
    timezone: str
    vars: dict[str, JSON]
    nodes: Annotated[dict[str, dict[str, JSON]], Meta(description="Every node's options; secrets are masked.")]


class ReloadedShown(TypedDict):
    """What came of reading the files again. Nodes are told as flow/id."""

    result: Annotated[
        Result,
        Meta(description="refused: the files have problems, or need a restart; failed: a node does not open."),
    ]
    generation: Annotated[int, Meta(ge=1, description="Of what runs now; it counts from 1, the start.")]
    reason: Annotated[str, Meta(description='Why what ran runs on, or "".')]
    added: list[str]
    removed: list[str]
    changed: list[str]
    rewired: Annotated[list[str], Meta(description="Nodes that go on as they are, with other wires.")]
    problems: Annotated[list[Problem], Meta(description="Of the files that were read, notes and warnings too.")]
    seconds: Annotated[float, Meta(ge=0, description="How long it took, without the check.")]
    pause_seconds: Annotated[float, Meta(ge=0, description="The longest that messages waited for a node that changed.")]


class NotReloaded(ReloadedShown):
    """The same, where what ran runs on."""

    error: Literal["refused", "failed"]
    detail: Annotated[str, Meta(description="The reason.")]


class ProblemShown(TypedDict):
    """One finding in a file."""

    file: str
    line: int
    column: int
    path: Annotated[str, Meta(description="The way to the option: scale.factor.")]
    code: str
    severity: Severity
    message: str
    hint: str
    of: Annotated[
        Literal["running", "newer"],
        Meta(description="running: of the files as they run; newer: as they are now, and why they do not run."),
    ]


class RunningShown(TypedDict):
    """What runs, and how it came to run."""

    generation: Annotated[int, Meta(ge=1, description="Counts what ran since the start.")]
    loaded_at: Annotated[Time, Meta(description="When this generation began.")]
    last_reload: ReloadedShown | None
    flows: dict[str, ConfigShown]


class DeadLetterShown(TypedDict):
    """A rejected message as it was kept."""

    id: Annotated[int, Meta(ge=1)]
    at: Annotated[Time, Meta(description="When it was rejected.")]
    flow: str
    node: str
    code: str
    reason: str
    wire: Annotated[str, Meta(description='The wire that it came by; "" where the node made it itself.')]
    attempts: Annotated[int, Meta(ge=1, description="How often the node has rejected it.")]
    lineage: Annotated[str, Meta(description="The way it took: where it began, and the nodes it came through.")]
    standing: Annotated[
        Standing,
        Meta(description="kept: it lies here; asked: it is to be put back; back: it is in the node's inbox."),
    ]
    hindrance: Annotated[str | None, Meta(description="Why it can never be put back; null: it can.")]
    answer: Annotated[str | None, Meta(description="Why it was not put back when that was last asked for.")]
    message: Annotated[JSON, Meta(description="The message as the node had it; secrets are masked.")]


# ---- orders -------------------------------------------------------------------------------------------------

Energy = Annotated[float, Meta(description="MWh.")]


class OrderShown(TypedDict):
    """An order of the journal."""

    order: Annotated[str, Meta(description="Its identity: market, delivery slot and side.")]
    market: str
    delivery_start: Time
    delivery_end: Time
    side: Side
    quantity_mwh: Energy
    requested_mwh: Annotated[float, Meta(description="What the rule wanted, in MWh.")]
    limited_by: Annotated[str, Meta(description='The threshold that made the quantity smaller, or "".')]
    limit_price_eur_mwh: Annotated[float | None, Meta(description="EUR/MWh; null for an order without a limit.")]
    order_type: OrderType
    time_in_force: TimeInForce
    rule: str
    state: State
    mode: Mode
    filled_mwh: Annotated[float, Meta(description="What was traded, as far as the exchange told, in MWh.")]
    open_mwh: Annotated[float, Meta(description="What may still be traded of it, in MWh.")]
    average_price_eur_mwh: Annotated[
        float | None, Meta(description="Of what was traded, in EUR/MWh, where the exchange told.")
    ]
    venue: Annotated[str, Meta(description='The address of the exchange that it was sent to, or "".')]
    exchange_id: Annotated[str, Meta(description='The exchange\'s own id, or "".')]
    reason: Annotated[str, Meta(description="What the exchange said, or why it was not sent.")]
    flow: str
    guard: str
    created_at: Time
    updated_at: Time
    good_until: Annotated[
        Time | None,
        Meta(description="Until when it may be sent: its gate, or sooner the end of what it was decided on."),
    ]


class StepShown(TypedDict):
    """One step of an order's life."""

    at: Time
    state: State
    reason: str
    detail: Annotated[
        JSON, Meta(description="Of the first step: the decision; later: the exchange's answer, or who decided.")
    ]


class StoryShown(TypedDict):
    """An order with its whole story."""

    order: OrderShown
    steps: list[StepShown]


class RefusalShown(TypedDict):
    """An order that a guard did not let through: once for each rule, slot, side and reason."""

    market: str
    delivery_start: Time
    side: Side
    flow: str
    guard: str
    rule: str
    reason: str
    text: str
    count: Annotated[int, Meta(ge=1, description="How many intents it was said to.")]
    created_at: Time
    updated_at: Time


# ---- trading ------------------------------------------------------------------------------------------------


class SwitchShown(TypedDict):
    """Whether trading is stopped."""

    stopped: Annotated[bool, Meta(description="While it is, no order is made and none is sent.")]
    since: Annotated[Time | None, Meta(description="null: trading goes on, or the file does not say.")]
    by: str
    reason: str


class SwitchStepShown(TypedDict):
    """Trading was stopped, or a person let it go on."""

    at: Time
    stopped: bool
    by: str
    reason: str


class HoldShown(TypedDict):
    """Why one market gets no orders at present."""

    market: str
    reason: str
    text: str


class TradingShown(SwitchShown):
    """Whether trading is stopped, and how that came."""

    held: Annotated[list[HoldShown], Meta(description="What is held against single markets, like a wrong clock.")]
    steps: Annotated[list[SwitchStepShown], Meta(description="When it was stopped and let go on; the latest first.")]
