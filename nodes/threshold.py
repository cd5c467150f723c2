"""threshold: a verdict on one field, with hysteresis and hold times."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.fields import is_number
from flowrunner.message import FieldInfo, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import FieldName
from flowrunner.shape import Shape
from flowrunner.units import Duration

Verdict = Literal["above", "below", "clear", "unknown"]


class Latch(msgspec.Struct):
    """What is known of one key. Times are event times of the judged values."""

    verdict: Verdict = "unknown"
    """The last definite verdict; ``unknown`` until there was one. A gap does not change it."""
    leaning: Verdict | None = None
    since: Instant = 0
    """The verdict that fresh values speak for without a break, and since when."""
    fresh_until: Instant | None = None


class Threshold(Node):
    """Pass every record on with a verdict on one field: above, below, clear or unknown.

    The verdict is a field with the node's own name (``power-limit`` → ``power_limit``). The moments in which it
    changes leave by the ports ``above``, ``below`` and ``cleared`` as well. All comparisons are strict. No fresh
    value: unknown.
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

    def check(self) -> list[Fault]:
        o = self.options
        faults = []
        if o.above is None and o.below is None:
            faults.append(Fault("", "there is no limit", "write 'above: …' or 'below: …'"))
        if o.above is not None and o.below is not None and o.below >= o.above:
            faults.append(Fault("below", f"below {o.below} is not under above {o.above}: nothing would be clear"))
        if o.clear_below is not None and (o.above is None or o.clear_below > o.above):
            faults.append(Fault("clear_below", f"{o.clear_below} must be at most 'above'"))
        if o.clear_above is not None and (o.below is None or o.clear_above < o.below):
            faults.append(Fault("clear_above", f"{o.clear_above} must be at least 'below'"))
        return faults

    @property
    def verdict_field(self) -> str:
        return self.id.replace("-", "_")

    def emits(self, incoming: Shape) -> Shape:
        if self.verdict_field in incoming.fields:
            raise ValueError(f"its verdict would overwrite the field {self.verdict_field!r}; rename the node")
        return incoming.plus({self.verdict_field: "text"})

    def process(self, message: Message, ctx: Context) -> dict[str, Message]:
        latch = ctx.state.get(message.key, Latch) or Latch()
        before = latch.verdict
        verdict = self._judge(message, latch, ctx.now())
        ctx.state.set(message.key, latch)
        record = message.payload if isinstance(message.payload, dict) else {}
        infos = {**(message.fields or {}), self.verdict_field: self._info(message, verdict)}
        out = message.derive({**record, self.verdict_field: verdict}, fields=infos)
        edge = {"above": "above", "below": "below", "clear": "cleared"}.get(latch.verdict, "")
        crossed = latch.verdict != before and not (before == "unknown" and edge == "cleared")
        return {"out": out, edge: out} if crossed else {"out": out}

    def _info(self, message: Message, verdict: Verdict) -> FieldInfo:
        """A verdict is as old as the value it judged; that there is no value is known as of now."""
        if verdict == "unknown":
            return message.as_info(quality="good")
        return msgspec.structs.replace(message.info(self.options.field), unit=None)

    def _judge(self, message: Message, latch: Latch, now: Instant) -> Verdict:
        info = message.info(self.options.field)
        values = self._values(message)
        if info.trouble(now) or not values:
            latch.leaning = None  # a gap: hold times start again
            return "unknown"
        if latch.fresh_until is not None and info.at >= latch.fresh_until:
            latch.leaning = None  # the value before ran out before this one came
        latch.fresh_until = info.valid_until
        verdicts = [self._over(value, latch.verdict) for value in values]
        leaning: Verdict = next((one for one in verdicts if one != "clear"), "clear")
        if leaning != latch.leaning:
            latch.leaning, latch.since = leaning, info.at
        hold = self.options.clear_after if leaning == "clear" else self.options.for_
        if latch.verdict == "unknown" and leaning == "clear":
            hold = Duration(0)  # nothing to come back from
        if leaning != latch.verdict and info.at - latch.since >= hold:
            latch.verdict = leaning
        return "clear" if latch.verdict == "unknown" else latch.verdict

    def _values(self, message: Message) -> list[float]:
        """The value, and the automatic one that a manual value took the place of: the worse of both counts."""
        record = message.payload if isinstance(message.payload, dict) else {}
        hidden = (message.meta or {}).get("overridden", {})
        found = [one.get(self.options.field) for one in (record, hidden)]
        if not is_number(found[0]):
            return []
        return [abs(one) if self.options.magnitude else one for one in found if is_number(one)]

    def _over(self, value: float, latched: Verdict) -> Verdict:
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
