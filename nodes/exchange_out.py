"""exchange-out: orders to the exchange, at most once each; or telemetry, until it arrives."""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.exchange import TELEMETRY, Outcome, Phoenyra
from flowrunner.fields import is_number, room_for_key
from flowrunner.httpclient import check_url, header_fault, is_loopback, shared_client
from flowrunner.message import FUTURE_TOLERANCE_NS, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions, Queue
from flowrunner.orders import ORDER_SHAPE, Order, State
from flowrunner.schema import Secret
from flowrunner.shape import Shape
from flowrunner.units import Duration

MINUTE = Duration.parse("1min")
LIVE_NEEDS = ("price", "max_quantity_mwh", "energy")
"""Options that a guard of live orders must have."""
AGAIN = Duration.parse("5s")
"""Wait between two attempts while nobody listens at the exchange's address."""


class ExchangeOut(Node):
    """Send orders, or telemetry, to an exchange.

    ``send: orders`` takes orders from a risk-guard and from nobody else. In paper mode an order goes all the way and
    stops before the sending; it leaves by ``out`` with the state ``paper``. Each order is sent at most once: it is in
    the journal as ``sending`` before the first byte, and only when not one byte left, or the exchange said that it
    is too much at once, is it tried again, while its gate is open. What the exchange refuses leaves by ``error``, word
    for word; so does an order whose fate is not known, and then its market is blocked.

    ``send: telemetry`` waits until state of charge, power and temperature are all fresh and newer than what was sent
    before, and sends the three together.
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
        url: Annotated[str, Meta(description="Base address of the exchange, like http://localhost:9100")]
        mode: Annotated[
            Literal["paper", "live"] | None, Meta(description="Of orders: paper sends nothing. Default: paper.")
        ] = None
        adapter: Annotated[Literal["phoenyra"], Meta(description="Which interface the exchange speaks.")] = "phoenyra"
        api_key: Annotated[Secret, Meta(description="Key for the header X-API-KEY.")] = ""
        timeout: Annotated[Duration, Meta(description="How long an answer may take.")] = Duration.parse("10s")

    options: Options

    def __init__(self, id: str, options: NodeOptions) -> None:  # noqa: A002  (the field's own word)
        super().__init__(id, options)
        if self.options.send == "telemetry":
            self.side_effect, self.default_queue = "idempotent", Queue(size=100, when_full="latest")
        else:
            self.side_effect = "at_most_once"

    def check(self) -> Iterator[Fault]:
        o = self.options
        try:
            check_url(o.url)
        except ValueError as error:
            yield Fault("url", str(error), "write it like http://localhost:9100")
            return
        if fault := header_fault("X-API-KEY", o.api_key):
            yield Fault("api_key", fault)
        if o.send == "telemetry" and o.mode is not None:
            yield Fault("mode", "'mode' concerns orders only; telemetry is sent in any mode", "leave it out")
        elif o.mode == "live" and not (self.simulated and is_loopback(urlsplit(o.url).hostname or "")):
            hint = "use mode: paper; with --simulate live orders go to the simulated exchange"
            yield Fault("mode", "live orders are not released yet", hint)

    def refuses(self, source: Node, port: str) -> Fault | None:
        if self.options.send == "telemetry":
            return None
        if source.type != "risk-guard" or port != "out":
            name = source.id if port == "out" else f"{source.id}.{port}"
            message = f"exchange-out takes orders from the output of a risk-guard only, not from {name!r}"
            return Fault("from", message, "put a risk-guard between the two")
        missing = [name for name in LIVE_NEEDS if getattr(source.options, name) is None]
        if self.options.mode == "live" and missing:
            message = f"live orders need a guard with limits; {source.id!r} has no {' and no '.join(missing)}"
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
        left = ctx.journal.left_over(ctx.flow) if o.send == "orders" and not hasattr(self, "exchange") else []
        client = shared_client(ctx.shared, o.url)
        self.exchange = Phoenyra(client, o.url, o.api_key, o.timeout.seconds)
        self.sent: dict[str, list[Instant]] = {key: ctx.state.get(key, list[int]) or [] for key in ctx.state}
        for order in left:
            await self._leave(order, ctx)

    async def process(self, message: Message, ctx: Context) -> Message | None:
        if self.options.send == "telemetry":
            return await self._tell(message, ctx)
        order = ctx.journal.find(str((message.payload or {}).get("order", "")))
        if order is None or order.state != "intent":
            raise Reject("no-order", "this is no order that the journal has decided and nobody has taken yet")
        if self.options.mode == "live":
            order = await self._place(order, ctx)
        elif self._late(order, ctx):
            order = await self._expire(order, ctx)
        else:
            order = await ctx.journal.advance(order.id, "paper", ctx.now(), mode="paper")
        ctx.log.info("%s: %s", order.state, order)
        if order.state not in ("accepted", "paper"):
            raise Reject(order.state, f"{order.id}: {order.reason}")
        return message.derive(order.record())

    # ---- orders ---------------------------------------------------------------------------------------------

    async def _place(self, order: Order, ctx: Context) -> Order:
        """Until there is an answer, or the gate has closed. Before each attempt the journal says ``sending``."""
        while not self._late(order, ctx):
            order = await ctx.journal.advance(order.id, "sending", ctx.now(), mode="live")
            if self._late(order, ctx):  # the disk took its time: not one byte has left
                order = await ctx.journal.advance(order.id, "intent", ctx.now())
                break
            outcome = await self.exchange.place(
                client_order_id=order.id, market=order.market, delivery_start=order.delivery_start,
                delivery_end=order.delivery_end, side=order.side, quantity_mwh=order.quantity_mwh,
                limit_price_eur_mwh=order.limit_price_eur_mwh, order_type=order.order_type,
                time_in_force=order.time_in_force,
            )  # fmt: skip
            ctx.connected(outcome.meaning != "not-sent", outcome.reason)
            if outcome.meaning == "accepted" or outcome.meaning == "rejected" or outcome.meaning == "unknown":
                return await self._settle(order, outcome.meaning, outcome, ctx)
            order = await ctx.journal.advance(
                order.id, "intent", ctx.now(), reason=outcome.reason, detail={"meaning": outcome.meaning}
            )
            now = ctx.now()
            again = now + (MINUTE - now % MINUTE if outcome.meaning == "throttled" else AGAIN)
            await ctx.sleep_until(min(again, self._gate(order, ctx)))
        return await self._expire(order, ctx)

    async def _settle(self, order: Order, state: State, outcome: Outcome, ctx: Context) -> Order:
        return await ctx.journal.advance(
            order.id, state, ctx.now(), exchange_id=outcome.exchange_id, reason=outcome.reason,
            detail=outcome.answer,
        )  # fmt: skip

    def _gate(self, order: Order, ctx: Context) -> Instant:
        return order.delivery_start - (ctx.market.gate_closure_ns if ctx.market is not None else 0)

    def _late(self, order: Order, ctx: Context) -> bool:
        return ctx.now() >= self._gate(order, ctx)

    async def _expire(self, order: Order, ctx: Context) -> Order:
        reason = "its gate has closed" + (f"; the last attempt: {order.reason}" if order.reason else "")
        return await ctx.journal.advance(order.id, "expired", ctx.now(), reason=reason)

    async def _leave(self, order: Order, ctx: Context) -> None:
        """What an earlier run left over is never sent by this one."""
        if order.state == "sending":
            reason = "the program ended while it was sent; whether the exchange has it is not known"
            await ctx.journal.advance(order.id, "unknown", ctx.now(), reason=reason)
            ctx.error("unknown", f"{order.id}: {reason}")
        else:
            await ctx.journal.advance(order.id, "expired", ctx.now(), reason="the program ended before it was sent")

    # ---- telemetry ------------------------------------------------------------------------------------------

    async def _tell(self, message: Message, ctx: Context) -> Message | None:
        record = message.payload if isinstance(message.payload, dict) else {}
        infos = [message.info(name) for name in TELEMETRY]
        if not all(is_number(record.get(name)) for name in TELEMETRY) or any(ctx.trouble(info) for info in infos):
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
