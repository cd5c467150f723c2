"""The stage of a test: stubs in the places of nodes, stand-ins in those of their peers. A test touches no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Literal

import msgspec

from flowrunner.errors import NotConnected, Reject
from flowrunner.exchange.stand_in import Answer, Search
from flowrunner.exchange.stand_in import StandIn as StandInExchange
from flowrunner.graph import Graph, GraphNode
from flowrunner.market.stand_in import StandIn as StandInPrices
from flowrunner.message import JSON, Instant, Message
from flowrunner.node import Context, Node
from flowrunner.testing.stubs import Stub, price_of
from flowrunner.units import Duration

AWAY = "disconnected by the test"
FOREVER_S = 1e9


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

    def reloaded(self, graph: Graph) -> None:
        """These nodes run now: those of before where nothing about them changed."""
        self._nodes = {name: one.node for name, one in graph.nodes.items() if isinstance(one.node, StubNode)}

    def _peer(self, spec: GraphNode, stub: Stub) -> StandInExchange | StandInPrices:
        peer = self._peers.get(spec.address)
        if peer is None:
            if spec.node.peer == "exchange":
                peer = StandInExchange(search=_search(spec.node), timeout_s=_timeout_s(spec.node))
            else:
                assert spec.market is not None  # noqa: S101  (who has prices needs a market)
                one_slot = getattr(spec.node.options, "source", "") == "exchange"
                peer = StandInPrices(
                    spec.market, spec.zone, (), timeout_s=_timeout_s(spec.node), one_slot=one_slot
                )  # fmt: skip
            self._peers[spec.address] = peer
            self._say(peer, stub, spec.address in self.away)
        return peer

    @staticmethod
    def _say(peer: StandInExchange | StandInPrices, stub: Stub, away: bool) -> None:
        if isinstance(peer, StandInPrices):
            peer.become([price_of(one) for one in stub.values])
            peer.trouble = AWAY if away else stub.reason
            peer.delay_s = FOREVER_S if stub.kind == "is-silent" else stub.delay_s
            return
        peer.answer = Answer(
            kind=stub.kind if stub.kind != "says" else "accepts", status=stub.status, reason=stub.reason,
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
            self._nodes[address].set_away(away)
            ctx.connected(not away, AWAY if away else "")


def _timeout_s(node: Node) -> float:
    """How long it waits for an answer; who does not say waits as long as a client of ours does."""
    own: Duration = getattr(node.options, "timeout", Duration.parse("10s"))
    return own.seconds


def _search(node: Node) -> Search:
    """How the real exchange can be asked for an order whose answer was lost."""
    described = getattr(node.options, "http", None)
    if described is not None:
        return "by-id" if described.find is not None else "not"
    return "by-id" if getattr(node.options, "client_order_ids", False) else "by-likeness"


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

    def set_away(self, away: bool) -> None:
        self.away = away
        self.turned.set()

    async def open(self, ctx: Context) -> None:
        if self.away:  # it was when the program began again
            ctx.connected(False, AWAY)

    async def process(self, message: Message, ctx: Context) -> Message | None:
        if self.away:
            raise NotConnected(AWAY)
        stub = self.stub
        if stub.delay_s:
            await asyncio.sleep(stub.delay_s)
        if stub.kind == "rejects":
            raise Reject("rejected" if stub.status < 500 else "failed", stub.reason)
        if stub.kind == "fails":
            raise Reject("failed", stub.reason)
        if stub.kind == "is-silent" or "out" not in self.ports:
            return None
        if stub.kind == "accepts":
            return message
        made = plainly(self._next(), ctx)
        return message.derive(made.payload, fields=made.fields)

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
    return plainly(value, ctx)


def plainly(value: JSON, ctx: Context) -> Message:
    """A message with this payload. Of a record, a field that is null has no value."""
    position = f"said:{ctx.now()}"
    missing = [name for name, one in value.items() if one is None] if isinstance(value, dict) else []
    if not missing:
        return ctx.message(value, position=position)
    message = ctx.message({name: one for name, one in value.items() if one is not None}, position=position)
    bad = msgspec.structs.replace(message.as_info(), quality="bad")
    return msgspec.structs.replace(message, fields=dict.fromkeys(missing, bad))


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
