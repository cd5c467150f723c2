"""manual-in: values that a person enters."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from flowrunner.errors import Reject, did_you_mean
from flowrunner.fields import Limits, contradiction, is_number, outside
from flowrunner.message import JSON, FieldInfo, Message
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.shape import Shape, known_units
from flowrunner.units import Duration


class ManualIn(Node):
    """Take values from a person, by the page or the API. They are marked as manual and expire."""

    example = """
        control-room:
          type: manual-in
          fields:
            soc_percent: {min: 0, max: 100, unit: "%"}
            active_power_mw: {min: -20, max: 20, unit: MW}
          expires_after: 2h
    """

    class Options(NodeOptions):
        fields: Annotated[
            dict[NewField, Limits], Meta(min_length=1, description="The fields of the form, with their limits.")
        ]
        expires_after: Annotated[Duration | None, Meta(description="After this time the value no longer counts.")] = (
            None
        )

    options: Options
    inputs = "none"
    self_contained = True
    manual = True

    def check(self) -> list[Fault]:
        if self.options.expires_after is not None and self.options.expires_after <= 0:
            return [Fault("expires_after", "a value would be gone at once", "leave it out if values never expire")]
        return [
            Fault(f"fields.{name}", wrong)
            for name, limits in self.options.fields.items()
            if (wrong := contradiction(limits))
        ]

    def emits(self, incoming: Shape) -> Shape:
        units = known_units({name: one.unit for name, one in self.options.fields.items()})
        return Shape(dict.fromkeys(self.options.fields, "number"), units=units)

    def entry(self, values: Mapping[str, JSON], ctx: Context) -> Message:
        """The record of one entry: all its values, or Reject with every reason. ``null`` takes a value back."""
        wrong = [text for name, value in values.items() if (text := self._wrong(name, value))]
        if wrong or not values:
            raise Reject("value", "; ".join(wrong) or "there is no value")
        now = ctx.now()
        until = now + self.options.expires_after if self.options.expires_after else None
        infos = {
            name: FieldInfo(
                at=now,
                received_at=now,
                source=self.id,
                origin="manual",
                quality="bad" if value is None else "good",
                valid_until=None if value is None else until,
                unit=self.options.fields[name].unit,
            )
            for name, value in values.items()
        }
        payload = {name: value for name, value in values.items() if value is not None}
        return ctx.message(payload, position=f"entry:{now}", origin="manual", fields=infos)

    def say(self, value: JSON, ctx: Context) -> Message:
        return self.entry(value if isinstance(value, dict) else {"value": value}, ctx)

    def _wrong(self, name: str, value: JSON) -> str:
        limits = self.options.fields.get(name)
        if limits is None:
            known = did_you_mean(name, self.options.fields)
            return f"{name[:64]}: there is no such field" + (f", {known}" if known else "")
        if value is None:
            return ""
        if not is_number(value):
            return f"{name}: it must be a finite number"
        text = outside(value, limits)
        return f"{name}: {text}" if text else ""
