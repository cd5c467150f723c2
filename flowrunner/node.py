"""The node contract: what a node type is, and what the runtime gives it.

A node type is one class in one file of ``nodes/``. Everything it may have beside ``Options`` and ``process`` is
optional and found by presence; the defaults here do nothing.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, dataclass_transform
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from flowrunner.errors import Severity
from flowrunner.expression import Program, RecordScope
from flowrunner.http import Request, Response
from flowrunner.market import Market
from flowrunner.message import JSON, FieldInfo, Instant, Message, Origin, Quality
from flowrunner.orders import Journal, Trading
from flowrunner.shape import Shape
from flowrunner.store import Alarms, History
from flowrunner.units import Duration

T = TypeVar("T")
Output = Message | list[Message] | Mapping[str, Message | list[Message]] | None
"""What ``process`` returns: nothing (filtered), messages for ``out``, or messages by port."""

NodeState = Literal["starting", "running", "disconnected", "restarting", "finished", "stopped"]
"""How a node is."""

NewField = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
"""A field that a node makes: a name that expressions can use."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class _OptionsMeta(msgspec.StructMeta):
    """Makes every subclass keyword-only: msgspec asks for it class by class."""

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, kw_only: bool = True, **config: Any
    ) -> Any:
        return super().__new__(mcls, name, bases, namespace, kw_only=kw_only, **config)


class NodeOptions(msgspec.Struct, metaclass=_OptionsMeta, frozen=True, forbid_unknown_fields=True):
    """The base of every node's ``Options``: the only configuration that a node has."""


class Queue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node's inbox."""

    size: Annotated[int, Meta(ge=1, le=1_000_000, description="Messages that may wait.")] = 1000
    when_full: Annotated[
        Literal["block", "drop_oldest", "drop_newest", "latest"],
        Meta(description="What happens to a message that finds no room; latest keeps the newest per key."),
    ] = "block"
    durable: Annotated[
        bool, Meta(description="What waits is kept on the disk: it survives a crash, and comes again in order.")
    ] = False
    max_age: Annotated[
        Duration | None, Meta(description="What has waited for longer is dropped; of durable queues.")
    ] = None


class Tracked(NamedTuple):
    """What ``produce`` may yield in place of a message: its source wants to hear when all that comes of it is done."""

    message: Output
    """None: there is nothing to send, and it is done."""
    done: Callable[[], None]
    """Called once, when every descendant is done with: delivered, filtered, dropped by a stated policy, kept in state
    or in a durable inbox (and on the disk), or rejected and safe in the dead letters. Never called when the engine
    ends before: then the peer brings the message again."""


class InFlight(Protocol):
    """A message whose ``process`` has returned and whose end is still to come: ``Context.in_flight``."""

    def done(self) -> None:
        """It is done with: only now its source hears, and its row goes from the disk."""

    def failed(self, error: Exception) -> None:
        """As if ``process`` had raised it. After NotConnected and Retry all that is in flight is processed again, in
        order, before anything new; the node is closed and opened before where it is NotConnected."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Back-off of reconnects and restarts: doubled from ``first`` to ``max``, with jitter."""

    first: Annotated[Duration, Meta(description="Wait before the first attempt.")] = Duration.parse("1s")
    max: Annotated[Duration, Meta(description="Longest wait between attempts.")] = Duration.parse("1min")

    def wait_ns(self, failures: int, chance: float) -> int:
        """Before the next attempt after so many that failed since the last success. ``chance``, from 0 to 1, takes up
        to a fifth off: not all come back at the same instant."""
        wait = min(self.first * 2 ** min(failures, 20), self.max)
        return int(wait * (1 - 0.2 * chance))


class Fault(msgspec.Struct, frozen=True):
    """A contradiction that a node finds in its options: the option's path, a sentence, a next step."""

    option: str
    message: str
    hint: str = ""
    severity: Severity = "error"
    """A warning is said, and the flow runs."""


class State(Protocol):
    """A node's durable state: one JSON value per key (of any msgspec-encodable type)."""

    def get(self, key: str, kind: builtins.type[T]) -> T | None:
        """The value at ``key`` as ``kind``, or None."""

    def set(self, key: str, value: object) -> None:
        """Keep ``value``; it must not be changed afterwards. Committed within a second."""

    def delete(self, key: str) -> None: ...

    def hurry(self) -> None:
        """Have what was set on the disk at once, not within a second: of latches that a crash must not undo."""

    def __iter__(self) -> Iterator[str]: ...


class Context(Protocol):
    """What a running node may use. One per node; it outlives a restart of the node."""

    id: str
    flow: str
    address: str
    """``flow/id``."""
    input: str
    """The wire (``id.port``) that the message in ``process`` came by."""
    zone: ZoneInfo
    market: Market | None
    """The flow's market; there for every node that says ``needs_market``."""

    @property
    def vars(self) -> Mapping[str, JSON]: ...

    @property
    def flow_digest(self) -> str:
        """Hash of the text of the flow's file: what was in force when something was decided."""

    @property
    def about(self) -> Mapping[str, Shape]:
        """Other nodes that the options name as `schema.VerdictName` or `schema.OriginName` → what leaves them."""

    @property
    def incoming(self) -> Shape:
        """What the node's inputs bring, as known from the file. A reload may change it: see ``depends_on_wires``."""

    @property
    def inputs(self) -> frozenset[str]:
        """The wires that come in, as the file names them."""

    @property
    def feeds(self) -> frozenset[str]:
        """The types of all nodes that this node's messages can reach."""

    @property
    def state(self) -> State: ...

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]: ...

    def now(self) -> Instant:
        """Flow time."""

    def use(self, now: Instant) -> Instant | None:
        """The instant that a decision made ``now`` is about: the next delivery, in a flow with a market."""

    def trouble(self, info: FieldInfo) -> str:
        """Why a value must not be used now, or "". One with an interval may be used during its interval, and for
        what is decided now for the market's next delivery slot."""

    def scope(self, message: Message) -> RecordScope:
        """The scope of an expression over a message, now; values are usable as ``trouble`` says."""

    @property
    def journal(self) -> Journal:
        """The orders of this engine: what was decided, sent and answered."""

    @property
    def trading(self) -> Trading:
        """Whether orders may be made now."""

    def readers(self, port: str) -> list[Node]:
        """The nodes that read from a port of this one."""

    @property
    def history(self) -> History:
        """What store-outs keep."""

    @property
    def alarms(self) -> Alarms:
        """What alarm-outs tell."""

    @property
    def queue(self) -> Queue:
        """What the node's own inbox does with what waits."""

    @property
    def retry(self) -> RetryPolicy:
        """How it waits for a peer that is away."""

    @property
    def set_back(self) -> int:
        """Nanoseconds by which the clock was set back since the engine began, in all. What was kept with a time of
        before is as old as it was when it is moved back by the difference."""

    def position(self, due: Instant) -> str:
        """The position of what is made because an instant has come; ask when it has. The time that comes again
        after the clock was set back has other positions."""

    def timer(self, name: str, key: str, at: Instant) -> None:
        """Call ``on_timer(name, key, ctx)`` at flow time ``at``; an earlier timer of that name and key goes.

        Early when the clock is set back meanwhile: look at ``now()``, and set it again for what is right by it."""

    def cancel_timer(self, name: str, key: str) -> None: ...

    async def sleep_until(self, at: Instant) -> None:
        """For ``produce``: wait in flow time. Returns early when the clock is set back meanwhile."""

    async def sleep_until_next(self, plan: Callable[[Instant], Instant]) -> Instant:
        """For what comes regularly: wait for the instant that ``plan(now)`` gives, and return it. The plan is asked
        anew whenever the clock was set back."""

    def message(
        self,
        payload: JSON,
        *,
        position: str,
        at: Instant | None = None,
        key: str = "",
        origin: Origin = "automatic",
        quality: Quality = "good",
        fields: dict[str, FieldInfo] | None = None,
        meta: dict[str, JSON] | None = None,
    ) -> Message:
        """A new message of this source. ``position`` in the source makes the root id.

        Reject when the payload has more than about 1 MiB of JSON: all that is on its way is kept in memory.
        """

    async def emit(self, message: Message, port: str = "out") -> None:
        """Hand a message on and wait until every reader's inbox took it.

        One that the envelope's ``key`` cannot be made for leaves by the error port instead. Who gives up waiting
        (a timeout around it) does not take the message back.
        """

    def hold(self) -> Callable[[], None] | None:
        """The message that is being processed is done with only when this has been called, once: for a node that
        goes on with it after ``process`` has returned. None where nobody waits for it."""

    def in_flight(self) -> InFlight:
        """The message that is being processed goes on after ``process``, which is async, has returned: several may be
        under way, in order, and how many is the node's to limit. Say nothing of it before ``process`` returns; what is
        open when the node is closed goes back to its inbox."""

    def keeps(self, port: str = "out") -> bool:
        """Whether a reader of ``port`` keeps on the disk what it gets: ``taken`` waits for that."""

    async def taken(self, port: str = "out") -> None:
        """Return when what was handed on is on the disk, where a durable inbox is behind the port; else at once."""

    def offer(self, message: Message, port: str = "out") -> bool:
        """Hand a message on at once to all readers, or to none: False when an inbox that blocks is full.

        Reject when the envelope's ``key`` cannot be made for it.
        """

    def error(self, code: str, reason: str, message: Message | None = None) -> None:
        """Count an error and send it by the ``error`` port, while the node works on."""

    def drop(self, reason: str) -> None:
        """Count a message that the node leaves out on purpose."""

    def connected(self, state: bool, reason: str = "", code: str = "not-connected") -> None:
        """Tell whether the peer is there; the page and ``/health/ready`` say so. With a ``reason`` the beginning of
        an outage leaves by the error port, once, with this ``code``."""

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """A connection shared by key (one broker, one device); released when the last node closes."""

    def condition(self, text: str) -> Program:
        """Compile an expression of the options (checked already) with the flow's vars."""

    def expect_reply(self) -> tuple[str, asyncio.Future[Response]]:
        """A handle to put into ``meta["reply"]`` and the answer that somebody gives to it later."""

    def forget_reply(self, handle: str) -> None: ...

    def reply(self, handle: str, response: Response) -> bool:
        """Answer a request. False when nobody waits for it (any more)."""


class Node:
    """The base of every node type. Subclasses set ``Options`` and have ``process`` and/or ``produce``.

    - ``process(message, ctx) -> Output``, plain or async: one message in, what comes out of it.
    - ``produce(ctx)``: async generator of messages (or ``{port: message}``).
    - ``on_timer(name, key, ctx) -> Output``.
    - ``leave(ctx)``: a source takes nothing new from now on; its ``produce`` hands on what it has taken, and ends.
      Called before a stop, and before another takes its place.
    - ``make_way(successor, ctx)``: the same while the program goes on: a reload has opened another that takes its
      place, or nobody does (None). ``await successor.listening()`` comes before: it returns when all that comes is
      heard there too, so nothing falls between.
    - ``migrate(old, version)``: an older version's state value → this version's.
    - ``handle(request, ctx)``: a node that claims routes answers here: at once, or async.
    - ``stand_in(peer)``: meet this one in place of the peer that the options name; called before ``open``.
    - ``why(ctx)``: how it came to its newest decision, as JSON with ``outcome``; None before the first one. Asked now
      and then, by people: a node that decides keeps a reference to what it needs for that, and reckons when asked.
    - ``ahead(field, now)``: what is published already of the time to come, as (begin, end, value); none of it guessed.
    - ``say(value, ctx) -> Message``: what it sends on when it hears ``value``: for tests that speak for it. Without it,
      a message with that payload. Reject when it would refuse the value.
    """

    type: ClassVar[str] = ""
    Options: ClassVar[builtins.type[NodeOptions]] = NodeOptions
    example: ClassVar[str] = ""
    """A few lines of a flow file that show the type at work: one or more nodes under ``nodes:``; shown by
    ``flowrunner nodes TYPE``."""
    inputs: ClassVar[Literal["none", "optional", "required"]] = "required"
    ports: tuple[str, ...] = ("out",)
    """Ports by which messages leave, beside ``error`` and ``status``, which every node has."""
    side_effect: Literal["none", "idempotent", "at_most_once"] = "none"
    default_queue: Queue = Queue()
    state_version: ClassVar[int] = 1
    joins: ClassVar[bool] = False
    """Whether it makes one record out of several inputs: then they must agree on the unit of a field."""
    listens: ClassVar[Literal["", "error", "status"]] = ""
    """The port of other nodes that it listens to: of those that its option ``nodes`` (`schema.WatchedName`) names, or
    of all of its flow that are behind no listener. It slows nobody, and nobody counts on it."""
    manual: ClassVar[bool] = False
    """Whether persons give it values by the API and the page."""
    needs_market: ClassVar[bool] = False
    """Whether it works only in a flow that names its ``market``."""
    self_contained: bool = False
    """Whether it meets nothing outside of the program. Sources and sinks that do are cut off in tests."""
    depends_on_wires: ClassVar[Literal["", "inputs", "both"]] = ""
    """What it looks at when it opens: what it reads from, or also who reads from it. A change of that opens it anew."""
    live: bool = False
    """Whether it sends orders that count."""
    keeps_orders: bool = False
    """Whether it works with the journal of orders: where that is damaged nothing starts by itself."""
    simulated: bool = False
    """Whether the flow meets a simulated world and nothing else; set before ``check()``."""
    peer: Literal["", "exchange", "prices"] = ""
    """What stands at its other end, where a test or a replay can put something in that place (``stand_in``): an
    `exchange.Adapter`, a `market.Feed`."""

    options: Any  # each type narrows it to its own Options

    def __init__(self, id: str, options: NodeOptions) -> None:  # noqa: A002  (the field's own word)
        self.id = id
        self.options = options

    def check(self) -> Iterable[Fault]:
        """Options that contradict each other. Pure."""
        return ()

    def silent_ports(self) -> Iterable[str]:
        """Ports by which nothing can ever leave with these options. Pure."""
        return ()

    def claims(self) -> Iterable[str]:
        """Things that only one node may have: ``route:POST /x``, ``port:502``, ``file:out.csv``. Pure."""
        return ()

    def refuses(self, source: Node, port: str) -> Fault | None:
        """Why it must not read from that node's port; None where it may. Pure."""
        return None

    def emits(self, incoming: Shape) -> Shape | Mapping[str, Shape]:
        """What comes out, by port or the same for every port. Pure. By default, what came in."""
        return incoming

    async def open(self, ctx: Context) -> None:
        """Get ready; may raise NotConnected. Safe to repeat."""

    async def close(self) -> None:
        """Let go of everything; safe to repeat, and after a failed ``open``."""


Produce = Callable[[Context], AsyncIterator[Output | Tracked]]
Handle = Callable[[Request, Context], Response | Awaitable[Response]]
