"""threshold: a verdict on one field, with hysteresis and hold times."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.fields import is_number, room_for_key
from flowrunner.message import FUTURE_TOLERANCE_NS, JSON, FieldInfo, Instant, Message, Origin
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import FieldName
from flowrunner.shape import Shape
from flowrunner.units import Duration

Latched = Literal["above", "below", "clear"]
Verdict = Latched | Literal["unknown"]
EDGES: dict[Latched, str] = {"above": "above", "below": "below", "clear": "cleared"}
"""Verdict → the port by which its beginning leaves."""


class Latch(msgspec.Struct, gc=False):
    """What is known of one key. Times are event times of the judged values."""

    verdict: Latched = "clear"
    """The last verdict on a fresh value. A gap does not change it."""
    leaning: Latched | None = None
    since: Instant = 0
    """The verdict that fresh values speak for without a break, and since when."""
    origin: Origin = "automatic"
    newest: Instant = 0
    fresh_until: Instant | None = None
    """Of the values judged so far: the origin of the last one, the newest event time, when the last one runs out."""


class Threshold(Node):
    """Pass every record on with a verdict on one field: above, below, clear or unknown.

    The verdict is a field with the node's own name (``power-limit`` → ``power_limit``). The moments in which it
    changes leave by the ports ``above``, ``below`` and ``cleared`` as well. All comparisons are strict. No fresh
    value: unknown. ``for`` and ``clear_after`` count the event time of fresh values, from the first one that speaks
    for the change to the last; a gap starts them again, and ``clear_after`` also a change between measured and manual
    values.
    """

    example = """
        telemetry: {type: manual-in, fields: {temperature_c: {min: -40, max: 120, unit: °C}}}
        overheated:
          type: threshold
          from: telemetry
          field: temperature_c
          above: 40
          clear_below: 38
          clear_after: 5min
    """

    class Options(NodeOptions):
        field: Annotated[FieldName, Meta(description="The field to judge.")]
        above: Annotated[int | float | None, Meta(description="More than this is above.")] = None
        below: Annotated[int | float | None, Meta(description="Less than this is below.")] = None
        magnitude: Annotated[bool, Meta(description="Judge the value without its sign.")] = False
        clear_below: Annotated[int | float | None, Meta(description="Above ends only below this.")] = None
        clear_above: Annotated[int | float | None, Meta(description="Below ends only above this.")] = None
        for_: Annotated[Duration, Meta(description="How long fresh values must be over the limit.")] = msgspec.field(
            name="for", default=Duration(0)
        )
        clear_after: Annotated[Duration, Meta(description="How long fresh values must be back.")] = Duration(0)

    options: Options
    ports = ("out", "above", "below", "cleared")
    latest: tuple[Message, Instant] | None = None
    """What was judged last, and when."""

    def check(self) -> list[Fault]:
        o, faults = self.options, []
        if o.above is None and o.below is None:
            faults.append(Fault("", "there is no limit", "write 'above: …' or 'below: …'"))
        if o.above is not None and o.below is not None and o.below >= o.above:
            faults.append(Fault("below", f"below {o.below} is not under above {o.above}: nothing would be clear"))
        if o.magnitude and ((o.above is not None and o.above < 0) or (o.below is not None and o.below <= 0)):
            option = "above" if o.above is not None and o.above < 0 else "below"
            faults.append(Fault(option, "a magnitude is never below 0", "write the limit without its sign"))
        for option, value, limit, other, sign in (
            ("clear_below", o.clear_below, ("above", o.above), ("below", o.below), 1),
            ("clear_above", o.clear_above, ("below", o.below), ("above", o.above), -1),
        ):
            if value is None:
                continue
            if limit[1] is None:
                faults.append(Fault(option, f"there is no '{limit[0]}' that it could end", f"write '{limit[0]}: …'"))
            elif (value - limit[1]) * sign > 0:
                past = "more" if sign > 0 else "less"
                faults.append(Fault(option, f"{option} {value} must not be {past} than {limit[0]!r} ({limit[1]})"))
            elif other[1] is not None and (value - other[1]) * sign < 0:
                faults.append(Fault(option, f"{value} is beyond {other[0]} {other[1]}: it would never be clear"))
        return faults

    def silent_ports(self) -> list[str]:
        return [name for name in ("above", "below") if getattr(self.options, name) is None]

    @property
    def verdict_field(self) -> str:
        return self.id.replace("-", "_")

    def emits(self, incoming: Shape) -> Shape:
        if self.verdict_field in incoming.fields:
            raise ValueError(f"its verdict would overwrite the field {self.verdict_field!r}; rename the node")
        return incoming.plus({self.verdict_field: "text"})

    async def open(self, ctx: Context) -> None:
        self.latches = {key: ctx.state.get(key, Latch) or Latch() for key in ctx.state}
        self.name, self.field = self.verdict_field, self.options.field

    def process(self, message: Message, ctx: Context) -> Message | dict[str, Message]:
        latch = self.latches.get(message.key)
        if latch is None:
            room_for_key(self.latches)
            latch = self.latches[message.key] = Latch()
        record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        known, now, before = message.fields, ctx.now(), latch.verdict
        own = known.get(self.field) if known else None
        # a verdict is as old as the value that it judged
        info = FieldInfo(
            at=message.at, received_at=message.received_at, source=message.source, origin=message.origin,
            quality=message.quality, judge=ctx.address,
        ) if own is None else msgspec.structs.replace(own, unit=None, judge=ctx.address)  # fmt: skip
        self.latest = (message, now)
        values = [] if info.trouble(now, ctx.use(now)) else self._values(record, message)
        if values:
            verdict: Verdict = self._judge(values, info, latch, now)
        else:
            latch.leaning = None  # a gap: hold times start again
            verdict = "unknown"  # which is known as of now, however old the last value is
            info = FieldInfo(at=now, received_at=now, source=self.id, judge=ctx.address)
        ctx.state.set(message.key, latch)
        out = message.derive(
            {**record, self.name: verdict}, fields={**known, self.name: info} if known else {self.name: info}
        )
        if latch.verdict == before:
            return out
        ctx.state.hurry()  # a crash must not undo a latch
        return {"out": out, EDGES[latch.verdict]: out}

    def why(self, ctx: Context) -> dict[str, JSON] | None:
        """The newest verdict: on what value, against which limit, and since when fresh values speak for it."""
        if self.latest is None:
            return None
        message, now = self.latest
        record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        info, latch, o = message.info(self.field), self.latches[message.key], self.options
        trouble = "missing" if self.field not in record else info.trouble(now, ctx.use(now))
        judged = not trouble and bool(self._values(record, message))
        verdict = latch.verdict if judged else "unknown"
        ended = {"above": o.clear_below, "below": o.clear_above}.get(verdict)
        limit = {"above": o.above, "below": o.below}.get(verdict, o.above if o.above is not None else o.below)
        return {
            "outcome": verdict,
            "reason": "" if judged else f"{self.field}: {trouble or 'not a number'}",
            "at": now,
            "key": message.key,
            "field": self.field,
            "value": record.get(self.field),
            "unit": info.unit,
            "limit": limit,
            "clears_at": ended,
            "magnitude": o.magnitude,
            "since": latch.since if judged and latch.leaning == verdict else None,
        }

    def _values(self, record: dict[str, JSON], message: Message) -> list[float]:
        """The value, and the automatic ones that a manual value took the place of: the worst of all counts."""
        value = record.get(self.field)
        if not is_number(value):
            return []
        found = [value]
        if message.meta is not None and (hidden := message.meta.get("overridden")):
            found += [one for one in hidden.get(self.field, ()) if is_number(one)]
        return [abs(one) for one in found] if self.options.magnitude else found

    def _judge(self, values: list[float], info: FieldInfo, latch: Latch, now: Instant) -> Latched:
        if latch.newest - now > FUTURE_TOLERANCE_NS:  # the clock was set back: hold times start again
            latch.leaning, latch.newest = None, info.at
        if latch.fresh_until is not None and info.at >= latch.fresh_until:
            latch.leaning = None  # the value before ran out before this one came
        latch.fresh_until = info.valid_until
        latch.newest = max(latch.newest, info.at)  # another source may be behind: that is no time gone by
        leaning: Latched = "clear"
        for value in values:
            leaning = self._over(value, latch.verdict)
            if leaning != "clear":
                break
        over_to = leaning == "clear" and info.origin != latch.origin  # what a person typed fills no gap of a sensor
        if leaning != latch.leaning or over_to:
            latch.leaning, latch.since = leaning, latch.newest
        latch.origin = info.origin
        hold = self.options.clear_after if leaning == "clear" else self.options.for_
        if leaning != latch.verdict and latch.newest - latch.since >= hold:
            latch.verdict = leaning
        return latch.verdict

    def _over(self, value: float, latched: Latched) -> Latched:
        """Where one value stands. What is latched ends only beyond its clear limit."""
        o = self.options
        if o.above is not None:
            if value > o.above:
                return "above"
            if latched == "above" and o.clear_below is not None and not value < o.clear_below:
                return "above"
        if o.below is not None:
            if value < o.below:
                return "below"
            if latched == "below" and o.clear_above is not None and not value > o.clear_above:
                return "below"
        return "clear"
