"""risk-guard: of many intents at most one order for each market, delivery slot and side, and only a safe one."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.market import day_of
from flowrunner.message import JSON, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.orders import (
    INTENT_FIELDS,
    ORDER_SHAPE,
    Book,
    Energy,
    Held,
    Intent,
    MaxOrders,
    Mode,
    Order,
    PriceRange,
    Reading,
    Reduction,
    Refusal,
    Verdict,
    limits,
    read_intent,
)
from flowrunner.schema import FieldName, OriginName, VerdictName
from flowrunner.shape import Shape
from flowrunner.units import Duration, iso

SOC = "soc_percent"
MOST_RULES = 100
"""Rules whose newest decision is told."""
Positive = Annotated[float, Meta(gt=0)]
BLOCKED = Shape(
    {"market": "text", "delivery_start": "text", "side": "text", "rule": "text", "reason": "text", "text": "text",
     "quantity_mwh": "number", "limit_price_eur_mwh": "number"}
)  # fmt: skip


class RiskGuard(Node):
    """Let an intent become an order when every check is passed; say why where it does not.

    The order is for the market's next delivery slot whose gate is open. Its identity is market, slot and side: the
    first intent decides, a repeat is counted and dropped. The decision is in the journal, on the disk, before it
    leaves by ``out``. What is refused leaves by ``blocked``, once per rule, slot and reason. An order that could not
    be sent yet is judged again with every repeat, and withdrawn when it would be refused.

    Nothing is guessed: a value that is missing, stale, uncertain or bad blocks, and so does a threshold that is not
    clear. Prices are never moved; a quantity is reduced only by ``limit_while``. Counts come from the journal, for
    the market, whatever flow the orders came from; paper orders do not count for live ones. While trading is
    stopped (``flowrunner stop-trading``) or the clock is behind what the journal has seen, there is no order.
    """

    example = """
        site:
          type: manual-in
          fields: {soc_percent: {min: 0, max: 100}, temperature_c: {}, price_eur_mwh: {}}
        overheated: {type: threshold, from: site, field: temperature_c, above: 40}
        buy:
          type: rule
          from: overheated
          when: [soc_percent < 30, price_eur_mwh <= 60]
          then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
        guard:
          type: risk-guard
          from: buy
          stop_while: [overheated]
          max_age: {site: 90s}
          max_orders: {per_slot: 1, per_day: 48}
          price: {min: -500, max: 4000}
          energy: {capacity_mwh: 10, min_soc: 5, max_soc: 95, efficiency: 0.9}
          manual: allow
        orders: {type: log, from: [guard, guard.blocked]}
    """

    class Options(NodeOptions):
        stop_while: Annotated[
            list[VerdictName], Meta(description="Thresholds: no order unless their verdict is clear.")
        ] = []
        limit_while: Annotated[
            dict[VerdictName, Reduction], Meta(description="Thresholds: smaller orders unless their verdict is clear.")
        ] = {}
        max_age: Annotated[
            dict[OriginName, Duration],
            Meta(description="Node → how old its values may be; of a value with an interval, its last fetch."),
        ] = {}
        max_orders: Annotated[MaxOrders | None, Meta(description="How many orders there may be.")] = None
        price: Annotated[PriceRange | None, Meta(description="Limit prices that are allowed, EUR/MWh.")] = None
        max_quantity_mwh: Annotated[Positive | None, Meta(description="Largest order.")] = None
        max_value_eur: Annotated[Positive | None, Meta(description="Largest price times quantity.")] = None
        max_position_mwh: Annotated[
            Positive | None, Meta(description="Largest bought minus sold energy of a delivery day, either way.")
        ] = None
        energy: Annotated[Energy | None, Meta(description="The battery that orders must fit into.")] = None
        soc_field: Annotated[FieldName | None, Meta(description="State of charge in %, where it has another name.")] = (
            None
        )
        manual: Annotated[
            Literal["block", "allow"], Meta(description="Whether records with values that a person typed may trade.")
        ] = "block"

    options: Options
    ports = ("out", "blocked")
    latest: dict[str, tuple[Message, Instant, Intent, Order | Refusal | None, str]]
    """Rule → the newest decision about it, and what it was made of."""
    needs_market = True
    depends_on_wires = "both"
    keeps_orders = True

    def check(self) -> Iterator[Fault]:
        o = self.options
        if o.price is not None and o.price.min > o.price.max:
            yield Fault("price.min", f"min {o.price.min:g} is above max {o.price.max:g}: no order would pass")
        if o.energy is not None and o.energy.min_soc >= o.energy.max_soc:
            yield Fault("energy.min_soc", f"min_soc {o.energy.min_soc:g} is not below max_soc {o.energy.max_soc:g}")
        for name in o.limit_while:
            if name in o.stop_while:
                yield Fault(f"limit_while.{name}", f"{name!r} stops all orders already", "keep it in one of the two")
        if o.energy is None and o.soc_field is not None:
            yield Fault("soc_field", "there is no 'energy' that it could serve")

    def emits(self, incoming: Shape) -> dict[str, Shape]:
        missing = [name for name in INTENT_FIELDS[:2] if name not in incoming.fields]
        if missing and not incoming.open:
            raise ValueError(f"what comes in is no intent: it has no field {missing[0]!r}; read from a rule")
        soc = self.options.soc_field or SOC
        if self.options.energy is not None and soc not in incoming.fields and not incoming.open:
            raise ValueError(f"'energy' needs the state of charge, and no field {soc!r} comes in; name it by soc_field")
        return {"out": ORDER_SHAPE, "blocked": BLOCKED}

    def __init__(self, id: str, options: NodeOptions) -> None:  # noqa: A002  (the field's own word)
        super().__init__(id, options)
        self.latest = {}

    async def open(self, ctx: Context) -> None:
        self.soc = self.options.soc_field or SOC
        live = any(reader.live for reader in ctx.readers("out"))
        self.mode: Mode = "live" if live else "paper"
        verdicts = (*self.options.stop_while, *self.options.limit_while)
        self.max_age: dict[str, Duration] = {}
        for name, age in self.options.max_age.items():
            for field in ctx.about[name].fields:  # of two limits for one field the shorter counts
                self.max_age[field] = min(age, self.max_age.get(field, age))
        self.verdicts = {name: self._verdict(name, ctx) for name in verdicts}

    def _verdict(self, name: str, ctx: Context) -> Verdict:
        """Where a judged value may have been left out on the way, its limit of age holds for the verdict."""
        flow, _, node = name.rpartition("/")
        lost = [self.max_age[one] for one in ctx.about[name].fields
                if one in self.max_age and one not in ctx.incoming.fields]  # fmt: skip
        return Verdict(node.replace("-", "_"), f"{flow or ctx.flow}/{node}", min(lost, default=None))

    async def process(self, message: Message, ctx: Context) -> dict[str, Message] | None:
        now = ctx.now()
        assert ctx.market is not None  # noqa: S101  (needs_market)
        intent = read_intent(message, ctx.market, now)
        o = self.options
        halt = ctx.trading.refusal(intent.market)
        reading = Reading(message, now, ctx.trouble, self.verdicts, self.soc if o.energy else None)
        stop = next(reading.refusals(intent.slot, o.stop_while, self.max_age, by_hand=o.manual == "allow"), None)
        quantity, limited_by = reading.reduced(intent.quantity_mwh, o.limit_while)
        intent = msgspec.structs.replace(intent, quantity_mwh=quantity)
        asked = float(message.payload["quantity_mwh"])
        decision = {**reading.decision(), "flow_digest": ctx.flow_digest}
        today, delivery_day = day_of(now, ctx.zone), day_of(intent.slot.start, ctx.zone)

        gate = intent.slot.start - ctx.market.gate_closure_ns
        good_until = reading.good_until(gate, self.max_age)

        refused: Refusal | None = None

        def decide(book: Book) -> Order | Refusal | None:
            """None: nothing new. All of it in one transaction, so that no other decision comes between."""
            nonlocal refused
            known = book.find(intent.id)
            if known is not None and known.mode == "paper" and self.mode == "live":
                taken = refused = Refusal("paper-order", f"{known.id} was ordered on paper: its slot is taken")
                return taken if book.refuse(intent, taken, now, ctx.flow, self.id, decision) else None
            if known is not None and (known.state != "intent" or (known.flow, known.guard) != (ctx.flow, self.id)):
                return None  # also of what another guard decided, and judges by its own limits
            refusal = halt or limits.clock(book.latest(), now) or stop
            if refusal is None and known is not None and known.rule != intent.rule:
                return None  # another rule wishes something else; what stops one stops all
            if refusal is None:
                held = book.held(intent, self.mode, now, today, delivery_day, reading.measured_at)
                refusal = next(self._limits(intent, held, reading), None)
            if refusal is None and known is not None:
                refusal = limits.changed(known, intent)
            refused = refusal
            if refusal is not None:
                if known is not None:
                    book.advance(known.id, "expired", now, reason=f"withdrawn before it was sent: {refusal.text}")
                news = book.refuse(intent, refusal, now, ctx.flow, self.id, decision)
                return refusal if news else None
            if known is not None:  # it waits to be sent, and may go on waiting
                book.renew(known, good_until)
                return None
            order = Order(
                id=intent.id, market=intent.market, delivery_start=intent.slot.start, delivery_end=intent.slot.end,
                side=intent.side, quantity_mwh=intent.quantity_mwh, requested_mwh=asked, limited_by=limited_by,
                limit_price_eur_mwh=intent.limit_price_eur_mwh, order_type=intent.order_type,
                time_in_force=intent.time_in_force, flow=ctx.flow, guard=self.id, rule=intent.rule, state="intent",
                mode=self.mode, created_at=now, updated_at=now, good_until=good_until, open_mwh=intent.quantity_mwh,
            )  # fmt: skip
            return book.add(order, decision)

        outcome = await ctx.journal.decide(decide)
        self.latest.pop(intent.rule, None)
        if len(self.latest) < MOST_RULES:
            self.latest[intent.rule] = (message, now, intent, refused or outcome, limited_by)
        if outcome is None:
            ctx.drop("repeat")
            return None
        if isinstance(outcome, Refusal):
            return {"blocked": message.derive(_blocked(intent, outcome), fields=None, meta=None)}
        return {"out": message.derive(outcome.record(), fields=None, meta=None)}

    def why(self, ctx: Context) -> dict[str, JSON] | None:
        """The newest decision; in ``rules`` that about each rule, the newest last."""
        told = {rule: _told(*decision) for rule, decision in self.latest.items()}
        return {**list(told.values())[-1], "rules": told} if told else None

    def _limits(self, intent: Intent, held: Held, reading: Reading) -> Iterator[Refusal]:
        """The checks of the order itself, with what the journal says."""
        o = self.options
        found = (
            limits.unknown(held),
            limits.opposite(intent, held),
            limits.counts(o.max_orders, held) if o.max_orders else None,
            limits.price(intent, o.price),
            limits.quantity(intent, o.max_quantity_mwh),
            limits.value(intent, o.max_value_eur),
            limits.position(intent, o.max_position_mwh, held),
            limits.energy(intent, o.energy, reading.soc, reading.measured_at, held),
        )
        return (one for one in found if one is not None)


def _told(
    message: Message, now: Instant, intent: Intent, done: Order | Refusal | None, limited: str
) -> dict[str, JSON]:
    """A decision for people. What was done is None where the order is there already."""
    refusal = done if isinstance(done, Refusal) else None
    return {
        "outcome": "blocked" if refusal else "repeat" if done is None else "passed",
        "reason": refusal.reason if refusal else "",
        "text": refusal.text if refusal else f"{intent.id} was decided before" if done is None else "",
        "at": now,
        "key": message.key,
        "rule": intent.rule,
        "order": None if refusal else intent.id,
        "side": intent.side,
        "quantity_mwh": intent.quantity_mwh,
        "requested_mwh": message.payload["quantity_mwh"],
        "limited_by": limited,
        "limit_price_eur_mwh": intent.limit_price_eur_mwh,
        "delivery_start": intent.slot.start,
        "delivery_end": intent.slot.end,
    }


def _blocked(intent: Intent, refusal: Refusal) -> dict[str, JSON]:
    begin = iso(intent.slot.start)
    return {
        "market": intent.market,
        "delivery_start": begin,
        "side": intent.side,
        "rule": intent.rule,
        "reason": refusal.reason,
        "text": f"{intent.rule}: {intent.side} {intent.quantity_mwh:g} MWh for {begin}: {refusal.text}",
        "quantity_mwh": intent.quantity_mwh,
        "limit_price_eur_mwh": intent.limit_price_eur_mwh,
    }
