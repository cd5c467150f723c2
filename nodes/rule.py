"""rule: from a record that meets conditions to the wish to buy or sell."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.expression import EvaluationError, Program, RecordScope, Unusable
from flowrunner.fields import is_number, room_for_key
from flowrunner.message import JSON, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import Amount, Condition
from flowrunner.shape import Shape
from flowrunner.units import Duration, iso


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


class Standing(msgspec.Struct, gc=False):
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
    latest: tuple[Message, Instant, Standing] | None = None
    """What was judged last, when, and what was known of its key before."""

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
        self.quicks = [condition.quick for condition in self.conditions]
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
        now, key = ctx.now(), message.key
        does, intent = False, None  # until it is known that it does
        try:
            standing = self._standing(key)
            self.latest = (message, now, standing)
            if not self._holds(message, now, ctx):
                if self.remembers:
                    self._keep(key, Standing(None, self._fresh_until(message), standing.rests_until), ctx)
                return None
            since = min(standing.since(now), now)
            wishes, rests = now - since >= self.options.for_, standing.rests_until
            if wishes and now >= rests:
                intent = self._intent(message, RecordScope(message, now, ctx.zone, ctx.use(now)))
                rests = now + self.options.cooldown if self.options.cooldown else rests
            does = wishes
        finally:
            ctx.trading.wish(ctx.address, does)
        if self.remembers:
            self._keep(key, Standing(since, self._fresh_until(message), rests), ctx)
        return intent

    def _holds(self, message: Message, now: Instant, ctx: Context) -> bool:
        """Whether all conditions do; each must be usable. Reject where one is not."""
        found = [quick(message, now) for quick in self.quicks]
        for one in found:
            if one is not True and one is not False:
                break
        else:
            return False not in found
        scope = RecordScope(message, now, ctx.zone, ctx.use(now))
        try:
            return False not in [condition.test(scope) for condition in self.conditions]
        except (Unusable, EvaluationError) as error:
            if self.remembers:
                self._keep(message.key, Standing(None, None, self._standing(message.key).rests_until), ctx)
            raise Reject("expression", str(error)) from None

    def why(self, ctx: Context) -> dict[str, JSON] | None:
        """The newest decision, reckoned again as of its instant: each clause with its value, limit and outcome."""
        if self.latest is None:
            return None
        message, now, standing = self.latest
        scope = RecordScope(message, now, ctx.zone, ctx.use(now))
        traces = [condition.explain(scope) for condition in self.conditions]
        errors = [trace.error for trace in traces if trace.outcome is None]
        then: dict[str, JSON] = {"side": self.options.then.side}
        outcome, reason = "no wish", ""
        if errors:
            outcome, reason = "cannot be judged", errors[0]
        elif all(trace.outcome is True for trace in traces):
            since = min(standing.since(now), now)
            if now - since < self.options.for_:
                reason = f"all holds since {iso(since)}, and must for {self.options.for_}"
            elif now < standing.rests_until:
                reason = f"it rests until {iso(standing.rests_until)}"
            else:
                outcome = "wish"
        for name, number in self.numbers.items():
            try:
                then[name] = _number(name, number, scope)
            except Reject as error:
                if outcome == "wish":
                    outcome, reason = "cannot be judged", error.reason
        return {
            "outcome": outcome,
            "reason": reason,
            "at": now,
            "key": message.key,
            "clauses": [clause.plain() for trace in traces for clause in trace.clauses],
            "then": then,
        }

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
        clauses = [clause.plain() for condition in self.conditions for clause in condition.clauses(scope)]
        decision = {"rule": self.id, "uses": self.uses, "clauses": clauses}
        record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        return message.derive({**record, **made}, meta={**(message.meta or {}), "decision": decision})


def _number(name: str, number: int | float | Program, scope: RecordScope) -> int | float:
    if not isinstance(number, Program):
        return number
    value = number.quick(scope.message, scope.now())
    try:
        if value is None:
            value = number.evaluate(scope)
    except (Unusable, EvaluationError) as error:
        raise Reject("expression", f"then.{name}: {error}") from None
    if not is_number(value):
        raise Reject("expression", f"then.{name}: {number.expression.text} is no number")
    assert isinstance(value, int | float)  # noqa: S101  (is_number says so)
    return value
