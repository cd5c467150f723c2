"""scale: numbers times a factor, plus an offset; refused outside of what is believable."""

from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.fields import Limits, contradiction, is_number, outside
from flowrunner.message import FieldInfo, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import FieldName
from flowrunner.shape import Shape
from flowrunner.units import scaled


class FieldScale(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    factor: Annotated[int | float, Meta(description="Multiplier.")] = 1
    offset: Annotated[int | float, Meta(description="Added after the factor.")] = 0
    round: Annotated[Annotated[int, Meta(ge=0, le=15)] | None, Meta(description="Decimals to round to.")] = None


class Scale(Node):
    """Multiply numbers by a factor, then add an offset.

    With ``fields``, each named field of a record by its own; other fields pass unchanged. Outside of ``min`` and
    ``max`` the value is bad: its field leaves as absent, and an error says so.
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
        if options.fields is None and options.factor is None and options.offset is None:
            return [Fault("", "there is nothing to scale by", "write 'factor: …' or 'fields: …'")]
        if options.fields is not None and (options.factor is not None or options.offset is not None):
            return [Fault("fields", "'fields' and a factor for the whole payload exclude each other")]
        return [
            Fault(f"fields.{name}", wrong)
            for name, one in (options.fields or {}).items()
            if (wrong := contradiction(one))
        ]

    def emits(self, incoming: Shape) -> Shape:
        if self.options.fields is None:
            return Shape({"value": "number"})
        return incoming.plus(dict.fromkeys(self.options.fields, "number"))

    def process(self, message: Message, ctx: Context) -> Message:
        fields = self.options.fields
        if fields is None:
            if not is_number(message.payload):
                raise Reject("not-a-number", f"the payload is {type(message.payload).__name__}, not a number")
            factor = 1 if self.options.factor is None else self.options.factor
            return message.derive(scaled(message.payload, factor, self.options.offset or 0))
        if not isinstance(message.payload, dict):
            raise Reject("not-a-record", f"'fields' needs a record, the payload is {type(message.payload).__name__}")
        payload, infos = dict(message.payload), dict(message.fields or {})
        for name, one in fields.items():
            if name not in payload:
                continue
            value, wrong = _apply(payload[name], one)
            info = message.info(name)
            if wrong:
                del payload[name]
                infos[name] = msgspec.structs.replace(info, quality="bad")
                ctx.error("not-believed", f"{name}: {wrong}", message)
            else:
                payload[name] = value
                if one.unit:
                    infos[name] = _in_unit(info, one.unit)
        return message.derive(payload, fields=infos or None)


def _apply(value: object, one: FieldScale) -> tuple[float, str]:
    """The scaled value, or why there is none."""
    if not isinstance(value, int | float) or not is_number(value):
        return 0, f"{value!r} is not a number"
    result = scaled(value, one.factor, one.offset)
    if one.round is not None:
        result = round(result, one.round)
    if not is_number(result):
        return 0, f"{value!r} becomes too large"
    return result, outside(result, one)


def _in_unit(info: FieldInfo, unit: str) -> FieldInfo:
    return info if info.unit == unit else msgspec.structs.replace(info, unit=unit)
