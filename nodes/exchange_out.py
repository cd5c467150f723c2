"""exchange-out: orders to the exchange, at most once each; or telemetry, until it arrives."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.exchange import TELEMETRY, Adapter, HttpInterface, HttpOrders, Phoenyra, check_interface
from flowrunner.fields import is_number, room_for_key
from flowrunner.httpclient import check_url, header_fault, is_loopback, place_of, shared_client
from flowrunner.message import FUTURE_TOLERANCE_NS, FieldInfo, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions, Queue
from flowrunner.orders import ORDER_SHAPE, ClockDrift, Follower, Line, Sender
from flowrunner.schema import Secret
from flowrunner.shape import Shape
from flowrunner.units import Duration

OWN = {"phoenyra": {"url", "api_key", "client_order_ids"}, "http": {"url", "http"}, "paper": set[str]()}
"""Adapter → the options that belong to it alone."""
LIVE_NEEDS = ("price", "max_quantity_mwh", "energy", "max_age")
"""Options that a guard of live orders must have."""


class ExchangeOut(Node):
    """Send orders, or telemetry, to an exchange.

    ``send: orders`` takes orders from a risk-guard and from nobody else. In paper mode an order goes all the way and
    stops before the sending; it leaves by ``out`` with the state ``paper``. In live mode each order is sent at most
    once: it is in the journal as ``sending`` before the first byte, and only when not one byte left, or the exchange
    said that it is too much at once, is it tried again, while its gate is open and what it was decided on holds.

    What the exchange refuses leaves by ``error``, word for word; so does an order whose fate is not known. Then its
    market is blocked, and the order is looked for at the exchange until it is found, or cannot come any more, or a
    person decides (``flowrunner orders resolve``). What the exchange trades later leaves by ``out``.

    ``send: telemetry`` waits until state of charge, power and temperature are all fresh and newer than what was sent
    before, and sends the three together. While the exchange is away only the newest record waits: its interface takes
    no time, and shows what comes as what is. With ``queue: {durable: true, when_full: drop_oldest}`` all of them are
    kept, and sent in order when it is back.
    """

    example = """
        telemetry:
          type: manual-in
          fields: {soc_percent: {min: 0, max: 100}, active_power_mw: {}, temperature_c: {}}
        mirror:
          type: exchange-out
          from: telemetry
          send: telemetry
          url: http://localhost:9100
    """

    class Options(NodeOptions):
        send: Annotated[Literal["orders", "telemetry"], Meta(description="What is sent.")]
        url: Annotated[str, Meta(description="Base address of the exchange, like http://localhost:9100")] = ""
        mode: Annotated[
            Literal["paper", "live"] | None, Meta(description="Of orders: paper sends nothing. Default: paper.")
        ] = None
        adapter: Annotated[
            Literal["phoenyra", "http", "paper"],
            Meta(description="Which interface the exchange speaks; http: one that is described here; paper: none."),
        ] = "phoenyra"
        http: Annotated[
            HttpInterface | None, Meta(description="Of the adapter http: how an order is written, what answers mean.")
        ] = None
        api_key: Annotated[Secret, Meta(description="Key for the header X-API-KEY.")] = ""
        client_order_ids: Annotated[
            bool,
            Meta(description="The exchange keeps client order ids: it refuses a second one, and can be asked for it."),
        ] = False
        clock_drift: Annotated[
            ClockDrift, Meta(description="How far its clock, by the header Date, may be from ours.")
        ] = ClockDrift()
        timeout: Annotated[Duration, Meta(description="How long an answer may take.")] = Duration.parse("10s")

    options: Options
    met: Adapter | None = None
    """What stands in for the exchange."""

    def __init__(self, id: str, options: NodeOptions) -> None:  # noqa: A002  (the field's own word)
        super().__init__(id, options)
        self.live = self.options.mode == "live"
        if self.options.send == "telemetry":
            self.side_effect, self.default_queue = "idempotent", Queue(size=100, when_full="latest")
            return
        self.side_effect = "at_most_once"
        self.keeps_orders = True
        self.peer = "exchange"
        self.self_contained = not self.live
        if self.live:
            self.produce = self._news

    def stand_in(self, peer: object) -> None:
        self.met = cast(Adapter, peer)
        self.live = self.simulated = True
        self.produce = self._news

    def check(self) -> Iterator[Fault]:
        o = self.options
        for name in ("url", "api_key", "client_order_ids", "http"):
            if getattr(o, name) and name not in OWN[o.adapter]:
                yield Fault(name, f"it does not belong to the adapter {o.adapter}", "leave it out")
        if o.adapter == "http" and o.http is None:
            yield Fault("http", "the adapter http needs it", "see `flowrunner nodes exchange-out`")
        if o.send == "telemetry" and o.adapter != "phoenyra":
            yield Fault("adapter", f"the adapter {o.adapter} takes orders only", "send telemetry by http-out")
        for wrong in check_interface(o.http) if o.http is not None else ():
            yield Fault(f"http.{wrong.option}", wrong.message, wrong.hint)
        if o.adapter == "paper":
            if self.live:
                yield Fault("mode", "the adapter paper sends nothing", "name the adapter of the exchange")
            return
        try:
            check_url(o.url)
        except ValueError as error:
            yield Fault("url", str(error), "write it like http://localhost:9100")
            return
        if fault := header_fault("X-API-KEY", o.api_key):
            yield Fault("api_key", fault)
        if o.send == "telemetry" and o.mode is not None:
            yield Fault("mode", "'mode' concerns orders only; telemetry is sent in any mode", "leave it out")
        elif self.live and self.simulated and not is_loopback(urlsplit(o.url).hostname or ""):
            yield Fault("mode", "in a simulated world live orders go to the simulated exchange only", "")
        elif self.live and o.url.startswith("http:") and not is_loopback(urlsplit(o.url).hostname or ""):
            text = "orders and their key go over the net as everybody there can read them"
            yield Fault("url", text, "use https:// where the exchange has it", "warning")
        if o.clock_drift.block < o.clock_drift.alarm:
            yield Fault("clock_drift.block", f"{o.clock_drift.block} is less than alarm {o.clock_drift.alarm}")

    def refuses(self, source: Node, port: str) -> Fault | None:
        if self.options.send == "telemetry":
            return None
        if source.type != "risk-guard" or port != "out":
            name = source.id if port == "out" else f"{source.id}.{port}"
            message = f"exchange-out takes orders from the output of a risk-guard only, not from {name!r}"
            return Fault("from", message, "put a risk-guard between the two")
        missing = [name for name in LIVE_NEEDS if not getattr(source.options, name)]
        if self.options.mode == "live" and missing:
            message = f"live orders need a guard with limits; {source.id!r} has no {', no '.join(missing)}"
            return Fault("from", message, "see `flowrunner nodes risk-guard`")
        return None

    def emits(self, incoming: Shape) -> Shape:
        if self.options.send == "orders":
            return ORDER_SHAPE
        missing = [name for name in TELEMETRY if name not in incoming.fields]
        if missing and not incoming.open:
            raise ValueError(f"the exchange takes {', '.join(TELEMETRY)} together, and no {missing[0]!r} comes in")
        return incoming

    async def open(self, ctx: Context) -> None:
        o = self.options
        self.sent: dict[str, list[Instant]] = {key: ctx.state.get(key, list[int]) or [] for key in ctx.state}
        if o.send == "telemetry":
            self.exchange = self._phoenyra(ctx)
            return
        assert ctx.market is not None  # noqa: S101  (a guard is in front, and it needs one)
        exchange: Adapter | None = self.met
        if exchange is not None:
            pass  # a test or a replay speaks for it
        elif o.http is not None:
            exchange = HttpOrders(shared_client(ctx.shared, o.url), o.url, o.http, o.timeout.seconds, ctx.now)
        elif o.adapter == "phoenyra":
            exchange = self._phoenyra(ctx)
        venue = place_of(o.url) if o.url else ""
        self.line = Line(exchange, venue, ctx.trading, ctx.market, o.clock_drift, ctx)
        self.sender = Sender(self.line)
        self.follower = Follower(self.line)

    def _phoenyra(self, ctx: Context) -> Phoenyra:
        o = self.options
        return Phoenyra(
            shared_client(ctx.shared, o.url), o.url, o.api_key, o.timeout.seconds, ctx.now, o.client_order_ids
        )

    async def close(self) -> None:
        if hasattr(self, "line"):
            self.line.close()

    async def process(self, message: Message, ctx: Context) -> Message | None:
        if self.options.send == "telemetry":
            return await self._tell(message, ctx)
        order = ctx.journal.find(str((message.payload or {}).get("order", "")))
        if order is None or order.state != "intent":
            raise Reject("no-order", "this is no order that the journal has decided and nobody has taken yet")
        if order.mode == "live" and not self.live:  # for another one, which reads from the same guard
            ctx.drop("live-order")
            return None
        order = await self.sender.send(order.id)
        ctx.log.info("%s: %s", order.state, order)
        if order.state not in ("accepted", "paper"):
            raise Reject(order.state, f"{order.id}: {order.reason}")
        return message.derive(order.record())

    async def _news(self, ctx: Context) -> AsyncIterator[Message]:
        """What the exchange says of orders later on."""
        async with aclosing(self.follower.news()) as news:
            async for order in news:
                ctx.log.info("%s: %s", order.state, order)
                yield ctx.message(order.record(), position=f"{order.id}:{order.state}:{order.updated_at}")

    # ---- telemetry ------------------------------------------------------------------------------------------

    async def _tell(self, message: Message, ctx: Context) -> Message | None:
        record = message.payload if isinstance(message.payload, dict) else {}
        infos = [message.info(name) for name in TELEMETRY]
        meant = _judged_at(infos, ctx)
        troubled = any(info.trouble(meant, ctx.use(meant)) for info in infos)
        if troubled or not all(is_number(record.get(name)) for name in TELEMETRY):
            ctx.drop("incomplete")
            return None
        times, before = [info.at for info in infos], self.sent.get(message.key)
        if before is None:
            room_for_key(self.sent)
        if before and max(before) > ctx.now() + FUTURE_TOLERANCE_NS:
            before = None  # the clock was set back
        if before and any(at <= last for at, last in zip(times, before, strict=True)):
            ctx.drop("sent-before")
            return None
        refused = await self.exchange.tell({name: record[name] for name in TELEMETRY})
        ctx.connected(True)
        self.sent[message.key] = times
        ctx.state.set(message.key, times)
        if refused:
            raise Reject("refused", refused)
        return message


def _judged_at(infos: list[FieldInfo], ctx: Context) -> Instant:
    """When a record of telemetry must be fresh: now; where the queue keeps all of them until they can be sent, when the
    record was made, that is when the newest of its values came."""
    every_one = ctx.queue.durable and ctx.queue.when_full != "latest"
    return max(info.received_at for info in infos) if every_one else ctx.now()
