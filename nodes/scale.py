"""scale: numbers times a factor, plus an offset; refused outside of what is believable."""

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.fields import Limits, contradiction, is_number, outside
from flowrunner.message import JSON, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import FieldName
from flowrunner.shape import Shape
from flowrunner.units import scaling

Step: TypeAlias = Callable[[JSON], float]
SANE = 1e300
"""What is within this is a number for sure."""


class FieldScale(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    factor: Annotated[int | float, Meta(description="Multiplier.")] = 1
    offset: Annotated[int | float, Meta(description="Added after the factor.")] = 0
    round: Annotated[Annotated[int, Meta(ge=0, le=15)] | None, Meta(description="Decimals to round to.")] = None


class NotBelieved(Exception):
    """There is no value; the text says why."""


class Scale(Node):
    """Multiply numbers by a factor, then add an offset.

    With ``fields``, each named field of a record by its own; other fields pass unchanged. Outside of ``min`` and
    ``max`` (judged after the rounding) the value is bad: its field leaves as absent, and an error says so.
    """

    example = """
        inverter: {type: modbus-in, host: 192.168.1.100, registers: {soc_percent: {address: 0}, power_mw: {address: 1}}}
        in-units:
          type: scale
          from: inverter
          fields:
            soc_percent: {factor: 0.01, unit: "%", min: 0, max: 100}
            power_mw: {factor: 0.001, unit: MW, min: -20, max: 20, round: 3}
    """

    class Options(NodeOptions):
        factor: Annotated[int | float | None, Meta(description="Multiplier, for payloads that are a number.")] = None
        offset: Annotated[int | float | None, Meta(description="Added after the factor.")] = None
        fields: Annotated[dict[FieldName, FieldScale] | None, Meta(description="For records: field → its scale.")] = (
            None
        )

    options: Options

    def check(self) -> list[Fault]:
        options = self.options
        if options.fields is not None and (options.factor is not None or options.offset is not None):
            return [Fault("fields", "'fields' and a factor for the whole payload exclude each other")]
        if not options.fields and options.factor is None and options.offset is None:
            return [Fault("", "there is nothing to scale", "write 'fields: …' for records, 'factor: …' for numbers")]
        faults = []
        for name, one in (options.fields or {}).items():
            if wrong := contradiction(one):
                faults.append(Fault(f"fields.{name}", wrong))
            if one.factor == 0:
                faults.append(Fault(f"fields.{name}.factor", "times 0 every value would be the same"))
        if options.factor == 0:
            faults.append(Fault("factor", "times 0 every value would be the same"))
        return faults

    def emits(self, incoming: Shape) -> Shape:
        if self.options.fields is None:
            return Shape({"value": "number"})
        same = {name for name, one in self.options.fields.items() if one.factor == 1 and one.offset == 0}
        units = {
            name: one.unit or (incoming.units.get(name) if name in same else None)
            for name, one in self.options.fields.items()
        }
        return incoming.plus(dict.fromkeys(self.options.fields, "number"), units)

    async def open(self, ctx: Context) -> None:
        options = self.options
        factor = 1 if options.factor is None else options.factor
        self.whole = _step(FieldScale(factor=factor), options.offset or 0)
        self.steps = {name: _step(one, one.offset) for name, one in (options.fields or {}).items()}
        self.of_fields = [(name, self.steps[name], one.unit) for name, one in (options.fields or {}).items()]

    def process(self, message: Message, ctx: Context) -> Message:
        record = message.payload
        if self.options.fields is None:
            try:
                return message.derive(self.whole(record))
            except NotBelieved as wrong:
                raise Reject("not-a-number", f"the payload: {wrong}") from None
        if not isinstance(record, dict):
            raise Reject("not-a-record", f"'fields' needs a record, the payload is {type(record).__name__}")
        payload, known, infos = record.copy(), message.fields, None
        for name, step, unit in self.of_fields:
            if name not in payload:
                continue
            own = known.get(name) if known else None
            try:
                if (own or message).quality == "bad":
                    del payload[name]  # what is bad already is no value, whatever it says
                    continue
                payload[name] = step(payload[name])
                if not unit or (own is not None and own.unit == unit):
                    continue
                changed = message.as_info(unit=unit) if own is None else msgspec.structs.replace(own, unit=unit)
            except NotBelieved as wrong:
                del payload[name]
                changed = msgspec.structs.replace(own or message.as_info(), quality="bad")
                ctx.error("not-believed", f"{name}: {wrong}", message)
            if infos is None:
                infos = dict(known or {})
            infos[name] = changed
        out = message.derive(payload, fields=(infos if infos is not None else known) or None)
        return _with_overridden(out, self.steps) if message.meta and message.meta.get("overridden") else out


def _step(one: FieldScale, offset: float) -> Step:
    """From a value to the scaled one; it raises NotBelieved where there is none."""
    scale = scaling(one.factor, offset)
    bounded = one.min is not None or one.max is not None
    places = None if one.round is None else Decimal(1).scaleb(-one.round)

    def step(value: JSON) -> float:
        kind = type(value)
        sane = (kind is float or kind is int) and -SANE <= value <= SANE  # by far the most common: no need to ask
        if not sane and not is_number(value):
            raise NotBelieved("null is no value" if value is None else f"{_short(value)} is not a finite number")
        result = scale(value)
        if places is not None and isinstance(result, float) and abs(result) < 1e12:
            # half up in decimals, as a person does it: 2.675 → 2.68
            result = float(Decimal(repr(result)).quantize(places, ROUND_HALF_UP))
        if not -SANE <= result <= SANE and not is_number(result):
            raise NotBelieved(f"{_short(value)} becomes too large")
        if bounded and (wrong := outside(result, one)):
            raise NotBelieved(wrong)
        return result

    return step


def _with_overridden(out: Message, steps: Mapping[str, Step]) -> Message:
    """The automatic values that manual ones took the place of are judged beside them: they are scaled like them."""
    overridden: dict[str, list[JSON]] = dict((out.meta or {})["overridden"])
    for name in overridden.keys() & steps.keys():
        kept: list[JSON] = []
        for value in overridden[name]:
            try:
                kept.append(steps[name](value))
            except NotBelieved:
                continue  # no more a value than the field itself would be; nothing of it is used
        overridden[name] = kept
    return out.derive(out.payload, meta={**(out.meta or {}), "overridden": overridden})


def _short(value: JSON) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
