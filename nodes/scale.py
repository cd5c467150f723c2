"""scale: numbers times a factor, plus an offset; refused outside of what is believable."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.fields import Limits, contradiction, is_number, outside
from flowrunner.message import JSON, FieldInfo, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import FieldName
from flowrunner.shape import Shape
from flowrunner.units import scaled


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

    def process(self, message: Message, ctx: Context) -> Message:
        fields = self.options.fields
        if fields is None:
            whole = FieldScale(factor=1 if (given := self.options.factor) is None else given)
            try:
                return message.derive(_apply(message.payload, whole, self.options.offset or 0))
            except NotBelieved as wrong:
                raise Reject("not-a-number", f"the payload: {wrong}") from None
        if not isinstance(message.payload, dict):
            raise Reject("not-a-record", f"'fields' needs a record, the payload is {type(message.payload).__name__}")
        payload, infos = dict(message.payload), dict(message.fields or {})
        for name, one in fields.items():
            if name not in payload:
                continue
            info = message.info(name)
            try:
                if info.quality == "bad":
                    del payload[name]  # what is bad already is no value, whatever it says
                else:
                    payload[name] = _apply(payload[name], one, one.offset)
                    if one.unit:
                        infos[name] = _in_unit(info, one.unit)
            except NotBelieved as wrong:
                del payload[name]
                infos[name] = msgspec.structs.replace(info, quality="bad")
                ctx.error("not-believed", f"{name}: {wrong}", message)
        out = message.derive(payload, fields=infos or None)
        return _with_overridden(out, fields) if (message.meta or {}).get("overridden") else out


def _apply(value: JSON, one: FieldScale, offset: float) -> float:
    """The scaled value. NotBelieved where there is none."""
    if not is_number(value):
        raise NotBelieved("null is no value" if value is None else f"{_short(value)} is not a finite number")
    result = scaled(value, one.factor, offset)
    if one.round is not None and isinstance(result, float) and is_number(result):
        places = Decimal(1).scaleb(-one.round)  # half up in decimals, as a person does it: 2.675 → 2.68
        result = float(Decimal(repr(result)).quantize(places, ROUND_HALF_UP)) if abs(result) < 1e12 else result
    if not is_number(result):
        raise NotBelieved(f"{_short(value)} becomes too large")
    if wrong := outside(result, one):
        raise NotBelieved(wrong)
    return result


def _with_overridden(out: Message, fields: dict[str, FieldScale]) -> Message:
    """The automatic values that manual ones took the place of are judged beside them: they are scaled like them."""
    overridden: dict[str, list[JSON]] = dict((out.meta or {})["overridden"])
    for name in overridden.keys() & fields.keys():
        kept: list[JSON] = []
        for value in overridden[name]:
            try:
                kept.append(_apply(value, fields[name], fields[name].offset))
            except NotBelieved:
                continue  # no more a value than the field itself would be; nothing of it is used
        overridden[name] = kept
    return out.derive(out.payload, meta={**(out.meta or {}), "overridden": overridden})


def _in_unit(info: FieldInfo, unit: str) -> FieldInfo:
    return info if info.unit == unit else msgspec.structs.replace(info, unit=unit)


def _short(value: JSON) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
