"""Stubs: what stands in for nodes, or for their peers, while a flow is tested. A test touches no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal

import msgspec

from flowrunner.errors import NotConnected, Reject, did_you_mean
from flowrunner.exchange.stand_in import Answer
from flowrunner.exchange.stand_in import StandIn as StandInExchange
from flowrunner.fields import is_number
from flowrunner.graph import Graph, GraphNode
from flowrunner.market.stand_in import StandIn as StandInPrices
from flowrunner.message import JSON, Instant, Message
from flowrunner.node import Context, Node
from flowrunner.units import Duration

AWAY = "disconnected by the test"
WORDS = ("accepts", "silence")
OPTIONS = ("value", "values", "repeat", "rejects", "error", "reason", "delay", "stored")
THROTTLED = 429
FOREVER_S = 1e9
Kind = Literal["says", "accepts", "rejects", "fails", "is-silent"]
PRICE = "price_eur_mwh"


class Stub(msgspec.Struct, frozen=True, kw_only=True):
    """What a stub does; see :func:`read_stub`."""

    kind: Kind
    values: tuple[JSON, ...] = ()
    status: int = 0
    reason: str = ""
    delay_s: float = 0.0
    stored: bool = False
    repeat: bool = False
    """Whether the values begin again behind the last one; else the last one goes on."""


def read_stub(given: JSON) -> Stub:
    """``accepts``, ``silence``, a map of `OPTIONS`, a list of values, or any other value. ValueError says what is wrong
    with it."""
    if given == "accepts":
        return Stub(kind="accepts")
    if given == "silence":
        return Stub(kind="is-silent")
    if isinstance(given, list):
        return _saying(given)
    own = [name for name in OPTIONS if isinstance(given, dict) and name in given]
    if not isinstance(given, dict) or not own:
        return _saying([given])
    if others := [name for name in given if name not in OPTIONS]:
        hint = did_you_mean(others[0], OPTIONS) or f"a record with a field {own[0]!r} is written {{value: {{…}}}}"
        raise ValueError(f"{', '.join(others)} beside {', '.join(own)}: a record, or what it answers? {hint}")
    given = dict(given)
    delay = given.pop("delay", "0s")
    if not isinstance(delay, str):
        raise ValueError(f"delay: {delay!r} is not a duration like 5s")
    delay_s, stored, reason = Duration.parse(delay).seconds, given.pop("stored", False), given.pop("reason", "")
    repeat = given.pop("repeat", False)
    if not isinstance(repeat, bool) or (repeat and "values" not in given):
        raise ValueError("repeat: it is true or false, beside values")
    if not isinstance(reason, str):
        raise ValueError("reason: it is a text")
    if not isinstance(stored, bool):
        raise ValueError("stored: it is true or false")
    if reason and "rejects" not in given:
        raise ValueError("reason: it belongs to rejects")
    if stored and not given.keys() & {"rejects", "error"}:
        raise ValueError("stored: it belongs to rejects and error; what is accepted is stored anyway")
    stub = _answering(given, reason, delay_s > 0)
    return msgspec.structs.replace(stub, delay_s=delay_s, stored=stored, repeat=repeat)


def _answering(given: Mapping[str, JSON], reason: str, delayed: bool) -> Stub:
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other")
    if "value" in given:
        return _saying([given["value"]])
    if "values" in given:
        if not isinstance(given["values"], list):
            raise ValueError("values: it is a list")
        return _saying(given["values"])
    if "rejects" in given:
        status = given["rejects"]
        if not isinstance(status, int) or isinstance(status, bool) or not 400 <= status <= 599:
            raise ValueError(f"rejects: {status!r} is not a status from 400 to 599")
        text = f"{status}: {reason}" if reason else f"{status}: refused by the test"
        return Stub(kind="rejects" if status < 500 else "fails", status=status, reason=text)
    if "error" in given:
        if not isinstance(given["error"], str):
            raise ValueError("error: it is a text")
        return Stub(kind="fails", reason=given["error"])
    if not delayed:
        raise ValueError("it says nothing; write accepts, or what it answers")
    return Stub(kind="accepts")


def _saying(values: Sequence[JSON]) -> Stub:
    if not values:
        raise ValueError("a list of no values says nothing; write silence")
    return Stub(kind="says", values=tuple(values))


def fault(stub: Stub, node: Node, *, source: bool) -> str:
    """Why this node cannot be stubbed so, or ""."""
    if node.peer == "exchange" and stub.kind == "says":
        return "an exchange says nothing by itself; write accepts, silence, {rejects: 400}, {error: …} or {delay: 5s}"
    if stub.stored and node.peer != "exchange":
        return "'stored' is of an exchange: nobody else can be asked for it later"
    if node.peer == "prices":
        if stub.kind in ("accepts", "rejects") or stub.status:
            return "prices are a number, a list of numbers, {value: 50, delay: 5s}, {error: …} or silence"
        if stub.repeat:
            return "prices follow the clock, each for its slot: write them out"
        wrong = next((one for one in stub.values if not _is_price(one)), None)
        return "" if wrong is None else f"{wrong!r:.60} is no price: write a number, null, or {{{PRICE}: 50}}"
    if source and stub.kind in ("accepts", "rejects"):
        return "nothing comes into it: it has nothing to accept or to refuse"
    if source and stub.kind == "fails" and (stub.status or stub.delay_s):
        return "nothing comes into it: write {error: …}, alone"
    if source and stub.repeat and getattr(node.options, "every", None) is None:
        return "it says its values once: it has no 'every' that they could be repeated at"
    if stub.kind == "says" and node.peer != "exchange" and "out" not in node.ports:
        return "it sends nothing on; write accepts, silence, {rejects: 400}, {error: …} or {delay: 5s}"
    return ""


def _is_price(value: JSON) -> bool:
    own = value.get(PRICE) if isinstance(value, dict) and value.keys() == {PRICE} else value
    return own is None or is_number(own)


def _price(value: JSON) -> float | None:
    own = value[PRICE] if isinstance(value, dict) else value
    return None if own is None else float(own)


# ---- in a graph ---------------------------------------------------------------------------------------------------


def meets_the_outside(spec: GraphNode) -> bool:
    """Whether it is a source or a sink with something behind it."""
    node = spec.node
    at_an_end = not spec.wires or hasattr(node, "produce") or node.side_effect != "none" or not spec.shapes
    return at_an_end and not node.self_contained


class Stage:
    """Puts stubs into a graph, again after each restart: what stands in for a peer outlives the program."""

    def __init__(self, stubs: Mapping[str, Stub]) -> None:
        """``stubs``: by address."""
        self.stubs = dict(stubs)
        self.away: set[str] = set()
        self._peers: dict[str, StandInExchange | StandInPrices] = {}
        self._nodes: dict[str, StubNode] = {}

    def set(self, graph: Graph) -> None:
        """Every node of ``graph`` that is stubbed, or would meet the outside."""
        before, self._nodes = self._nodes, {}
        for address, spec in graph.nodes.items():
            stub = self.stubs.get(address)
            stand_in = getattr(spec.node, "stand_in", None)
            if stub is not None and spec.node.peer and stand_in is not None:
                stand_in(self._peer(spec, stub))
            elif stub is not None or meets_the_outside(spec):
                kind = _SourceStub if not spec.wires and stub is not None else StubNode
                made = kind(spec.node, stub)
                made.away = address in self.away
                if address in before:
                    made.go_on(before[address])
                spec.node = self._nodes[address] = made

    def _peer(self, spec: GraphNode, stub: Stub) -> StandInExchange | StandInPrices:
        peer = self._peers.get(spec.address)
        if peer is None:
            if spec.node.peer == "exchange":
                peer = StandInExchange(timeout_s=_timeout_s(spec.node))
            else:
                assert spec.market is not None  # noqa: S101  (who has prices needs a market)
                one_slot = getattr(spec.node.options, "source", "") == "exchange"
                peer = StandInPrices(spec.market, (), timeout_s=_timeout_s(spec.node), one_slot=one_slot)
            self._peers[spec.address] = peer
            self._say(peer, stub, spec.address in self.away)
        return peer

    @staticmethod
    def _say(peer: StandInExchange | StandInPrices, stub: Stub, away: bool) -> None:
        if isinstance(peer, StandInPrices):
            peer.become([_price(one) for one in stub.values])
            peer.trouble = AWAY if away else stub.reason
            peer.delay_s = FOREVER_S if stub.kind == "is-silent" else stub.delay_s
            return
        meanings: dict[Kind, Literal["accepts", "rejects", "fails", "is-silent"]]
        meanings = {"accepts": "accepts", "rejects": "rejects", "fails": "fails", "is-silent": "is-silent"}
        peer.answer = Answer(
            meaning="throttles" if stub.status == THROTTLED else meanings[stub.kind], reason=stub.reason,
            delay_s=stub.delay_s, stored=stub.stored,
        )  # fmt: skip

    def change(self, address: str, stub: Stub) -> None:
        """From now on it does something else."""
        self.stubs[address] = stub
        if (peer := self._peers.get(address)) is not None:
            self._say(peer, stub, address in self.away)
        elif (node := self._nodes.get(address)) is not None:
            node.become(stub)

    def can_leave(self, address: str) -> bool:
        """Whether it has a peer that can go away."""
        return address in self._peers or address in self._nodes

    def leave(self, address: str, away: bool, ctx: Context) -> None:
        """Its peer goes away, or comes back."""
        (self.away.add if away else self.away.discard)(address)
        peer = self._peers.get(address)
        if isinstance(peer, StandInExchange):
            peer.away = away
        elif isinstance(peer, StandInPrices):
            peer.trouble = AWAY if away else self.stubs[address].reason
        else:
            self._nodes[address].leave(away)
            ctx.connected(not away, AWAY if away else "")


def _timeout_s(node: Node) -> float:
    """How long it waits for an answer; who does not say waits as long as a client of ours does."""
    own: Duration = getattr(node.options, "timeout", Duration.parse("10s"))
    return own.seconds


class StubNode(Node):
    """Takes the place of a node: of one that is cut off (``stub`` None: it takes what comes and says nothing), or of
    one that answers as it was told."""

    def __init__(self, original: Node, stub: Stub | None) -> None:
        super().__init__(original.id, original.options)
        self.original = original
        self.ports = original.ports
        self.default_queue = original.default_queue
        self.manual = original.manual  # type: ignore[misc]  # that of the type: it has the form all the same
        self.away = False
        self.turned = asyncio.Event()
        """It does something else now, or its peer came or went."""
        self.become(stub or Stub(kind="is-silent"))

    def become(self, stub: Stub) -> None:
        self.stub = stub
        self._said = 0
        self.turned.set()

    def go_on(self, before: StubNode) -> None:
        """The program began again, and its peer did not."""
        if before.stub is self.stub:
            self._said = before._said

    def leave(self, away: bool) -> None:
        self.away = away
        self.turned.set()

    async def process(self, message: Message, ctx: Context) -> Message | None:
        if self.away:
            raise NotConnected(AWAY)
        stub = self.stub
        if stub.delay_s:
            await asyncio.sleep(stub.delay_s)
        if stub.kind == "rejects":
            raise Reject("rejected", stub.reason)
        if stub.kind == "fails":
            raise Reject("failed", stub.reason)
        if stub.kind == "is-silent" or "out" not in self.ports:
            return None
        return message if stub.kind == "accepts" else message.derive(self._next())

    def _next(self) -> JSON:
        """The values one after the other; then the last one again and again, or all of them."""
        place, self._said = self._said, self._said + 1
        count = len(self.stub.values)
        return self.stub.values[place % count if self.stub.repeat else min(place, count - 1)]


class _SourceStub(StubNode):
    """Says its values by itself: at the begin, and where the original node has an ``every``, at each of its turns."""

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        every: Duration | None = getattr(self.original.options, "every", None)
        failed = False
        while True:
            self.turned.clear()
            stub = self.stub
            if not self.away and failed != (stub.kind == "fails"):
                failed = not failed
                ctx.connected(not failed, stub.reason)
            if stub.delay_s and self._has_more(every):
                await asyncio.sleep(stub.delay_s)
            if stub is self.stub and self._has_more(every):
                try:
                    yield said(self.original, self._next(), ctx)
                except Reject as error:  # what the real one would not believe
                    ctx.error(error.code, error.reason)
            if every:
                await ctx.sleep_until_next(lambda now: now - now % every + every)
            elif not self._has_more(every):
                await self.turned.wait()

    def _has_more(self, every: Duration | None) -> bool:
        more = every is not None or self._said < len(self.stub.values)
        return self.stub.kind == "says" and more and not self.away


def said(node: Node, value: JSON, ctx: Context, port: str = "out") -> Message:
    """What ``node`` sends on when it hears ``value``; by another port than ``out``: just that. Reject when it would
    not."""
    say = getattr(node.original if isinstance(node, StubNode) else node, "say", None)
    if say is not None and port == "out":
        message: Message = say(value, ctx)
        return message
    position = f"said:{ctx.now()}"
    missing = [name for name, one in value.items() if one is None] if isinstance(value, dict) else []
    if not missing:
        return ctx.message(value, position=position)
    message = ctx.message({name: one for name, one in value.items() if one is not None}, position=position)
    info = message.as_info()
    bad = {name: msgspec.structs.replace(info, quality="bad") for name in missing}
    return msgspec.structs.replace(message, fields=bad)


def dated(message: Message, age: int, quality: Literal["good", "uncertain", "bad"] | None, key: str | None) -> Message:
    """The same, ``age`` nanoseconds older (negative: from the future), of another quality, about something else."""
    changes: dict[str, JSON] = {} if quality is None else {"quality": quality}

    def older(at: Instant) -> Instant:
        return at - age

    fields = message.fields and {
        name: msgspec.structs.replace(
            one, at=older(one.at), **({} if quality is None or one.quality == "bad" else {"quality": quality})
        )
        for name, one in message.fields.items()
    }
    own = {} if key is None else {"key": key}
    return msgspec.structs.replace(message, at=older(message.at), fields=fields, **changes, **own)
