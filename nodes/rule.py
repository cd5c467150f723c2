"""rule: from a record that meets conditions to the wish to buy or sell."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.expression import EvaluationError, Program, RecordScope, Trace, Unusable
from flowrunner.fields import is_number, room_for_key
from flowrunner.message import JSON, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import Amount, Condition
from flowrunner.shape import Shape
from flowrunner.units import Duration


class Then(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rule wants when its conditions hold."""

    side: Annotated[Literal["BUY", "SELL"], Meta(description="BUY charges the battery, SELL discharges it.")]
    quantity_mwh: Annotated[int | float | Amount, Meta(description="Energy: a number or an expression.")]
    limit_price_eur_mwh: Annotated[
        int | float | Amount | None, Meta(description="The worst price to accept: a number or an expression.")
    ] = None
    order_type: Annotated[Literal["LIMIT", "MARKET"], Meta(description="MARKET takes any price.")] = "LIMIT"
    time_in_force: Annotated[
        Literal["GFD", "IOC", "FOK"], Meta(description="Good for the day, immediate or cancel, fill or kill.")
    ] = "GFD"


MADE = {"side": "text", "quantity_mwh": "number", "limit_price_eur_mwh": "number", "order_type": "text",
        "time_in_force": "text", "rule": "text"}  # fmt: skip
"""The fields that an intent has beside those of its record."""


class Standing(msgspec.Struct):
    """What is known of one key, in flow time."""

    holds_since: Instant | None = None
    fresh_until: Instant | None = None
    """When the first of the values behind that was no longer fresh."""
    rests_until: Instant = 0

    def since(self, now: Instant) -> Instant:
        """Since when the conditions hold without a gap, if they hold now."""
        gap = self.fresh_until is not None and now >= self.fresh_until
        return now if self.holds_since is None or gap else self.holds_since


class Rule(Node):
    """Pass on, as an intent, every record for which all conditions hold.

    Level-triggered: true on ten records, ten intents; the risk-guard makes one order of them. An intent is the record
    with ``side``, ``quantity_mwh``, ``limit_price_eur_mwh``, ``order_type``, ``time_in_force`` and ``rule``. A
    condition that cannot be judged (a field is missing, stale, uncertain or no number) is an error and no intent.
    ``for``: they must have held on every record for this long, with no time between in which a value had
    run out. ``cooldown``: after an intent the rule rests.
    """

    example = """
        market-and-battery:
          type: manual-in
          fields: {soc_percent: {min: 0, max: 100}, price_eur_mwh: {}}
        buy:
          type: rule
          from: market-and-battery
          when: [soc_percent < 30, price_eur_mwh <= 60]
          then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
    """

    class Options(NodeOptions):
        when: Annotated[
            Condition | Annotated[list[Condition], Meta(min_length=1)],
            Meta(description="Conditions that must all hold."),
        ]
        then: Annotated[Then, Meta(description="What is wanted then.")]
        for_: Annotated[Duration, Meta(description="How long they must have held on every record.")] = msgspec.field(
            name="for", default=Duration(0)
        )
        cooldown: Annotated[Duration, Meta(description="Rest after an intent.")] = Duration(0)

    options: Options

    def check(self) -> list[Fault]:
        then, faults = self.options.then, []
        if is_number(then.quantity_mwh) and then.quantity_mwh <= 0:
            faults.append(Fault("then.quantity_mwh", f"{then.quantity_mwh} MWh cannot be ordered", "write more than 0"))
        if then.order_type == "LIMIT" and then.limit_price_eur_mwh is None:
            faults.append(Fault("then", "a LIMIT order needs limit_price_eur_mwh", "write it, or order_type: MARKET"))
        if then.order_type == "MARKET" and then.limit_price_eur_mwh is not None:
            faults.append(Fault("then.limit_price_eur_mwh", "a MARKET order has no limit", "leave one of them out"))
        return faults

    def emits(self, incoming: Shape) -> Shape:
        taken = [name for name in MADE if name in incoming.fields]
        if taken:
            raise ValueError(f"the field {taken[0]!r} comes in already, and the intent would overwrite it; rename it")
        return incoming.plus(dict(MADE), {"quantity_mwh": "MWh", "limit_price_eur_mwh": "EUR/MWh"})  # type: ignore[arg-type]  # the words are Kinds

    async def open(self, ctx: Context) -> None:
        when = self.options.when
        self.conditions = [ctx.condition(text) for text in ([when] if isinstance(when, str) else when)]
        self.numbers = {
            name: value if is_number(value) else ctx.condition(value)
            for name in ("quantity_mwh", "limit_price_eur_mwh")
            if (value := getattr(self.options.then, name)) is not None
        }
        programs = [*self.conditions, *(one for one in self.numbers.values() if isinstance(one, Program))]
        names = dict.fromkeys(name for program in programs for name in program.expression.names)
        self.uses = [name for name in names if name not in ctx.vars]
        self.standings = {key: ctx.state.get(key, Standing) or Standing() for key in ctx.state}
        self.remembers = bool(self.options.for_ or self.options.cooldown)
        """Whether one record's outcome depends on those before it."""

    def process(self, message: Message, ctx: Context) -> Message | None:
        ctx.trading.wish(ctx.address, False)  # until it is known that it does
        scope, now = ctx.scope(message), ctx.now()
        standing = self._standing(message.key)
        try:
            holds = False not in [condition.test(scope) for condition in self.conditions]  # each must be usable
        except (Unusable, EvaluationError) as error:
            if self.remembers:
                self._keep(message.key, Standing(None, None, standing.rests_until), ctx)
            raise Reject("expression", str(error)) from None
        since = min(standing.since(now), now) if holds else None
        wishes = since is not None and now - since >= self.options.for_
        due = wishes and now >= standing.rests_until
        rests = now + self.options.cooldown if due and self.options.cooldown else standing.rests_until
        intent = self._intent(message, scope) if due else None
        ctx.trading.wish(ctx.address, wishes)
        if self.remembers:
            self._keep(message.key, Standing(since, self._fresh_until(message), rests), ctx)
        return intent

    def _fresh_until(self, message: Message) -> Instant | None:
        """When the first of the values that were judged runs out. One with an interval is followed by the next."""
        infos = [message.info(name) for name in self.uses]
        return min((one.valid_until for one in infos if one.valid_until and not one.valid_from), default=None)

    def _standing(self, key: str) -> Standing:
        if key not in self.standings:
            room_for_key(self.standings)
            self.standings[key] = Standing()
        return self.standings[key]

    def _keep(self, key: str, standing: Standing, ctx: Context) -> None:
        if standing != self.standings[key]:
            self.standings[key] = standing
            ctx.state.set(key, standing)

    def _intent(self, message: Message, scope: RecordScope) -> Message:
        then = self.options.then
        made: dict[str, JSON] = {"side": then.side, "order_type": then.order_type, "time_in_force": then.time_in_force,
                                 "rule": self.id}  # fmt: skip
        for name, number in self.numbers.items():
            made[name] = _number(name, number, scope)
        if made["quantity_mwh"] <= 0:
            raise Reject("quantity", f"then.quantity_mwh is {made['quantity_mwh']}: it cannot be ordered")
        traces: list[Trace] = [condition.explain(scope) for condition in self.conditions]
        decision = {
            "rule": self.id,
            "uses": self.uses,
            "clauses": [msgspec.to_builtins(clause) for trace in traces for clause in trace.clauses],
        }
        record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        return message.derive({**record, **made}, meta={**(message.meta or {}), "decision": decision})


def _number(name: str, number: int | float | Program, scope: RecordScope) -> int | float:
    if not isinstance(number, Program):
        return number
    try:
        value = number.evaluate(scope)
    except (Unusable, EvaluationError) as error:
        raise Reject("expression", f"then.{name}: {error}") from None
    if not is_number(value):
        raise Reject("expression", f"then.{name}: {number.expression.text} is no number")
    assert isinstance(value, int | float)  # noqa: S101  (is_number says so)
    return value
