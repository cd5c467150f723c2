"""select: some fields of a record, under their own or new names."""

from typing import Annotated

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.message import JSON, Message
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.schema import FieldName
from flowrunner.shape import Shape


class Select(Node):
    """Pass on only the named fields of a record; a map renames them (``new: old``).

    Times, source and quality go with a field, also with one that has no value. A field that did not come at all is
    not there afterwards.
    """

    example = """
        telemetry: {type: manual-in, fields: {soc_percent: {}, active_power_mw: {}, temperature_c: {}}}
        for-the-trader:
          type: select
          from: telemetry
          fields: {soc: soc_percent, power: active_power_mw}
    """

    class Options(NodeOptions):
        fields: Annotated[
            list[FieldName] | dict[NewField, FieldName],
            Meta(description="The fields to keep: a list, or a map of new name to old name."),
        ]

    options: Options

    def check(self) -> list[Fault]:
        if not self.options.fields:
            return [Fault("fields", "no field is selected", "name the fields to keep")]
        return []

    @property
    def names(self) -> dict[str, str]:
        """New name → old name."""
        fields = self.options.fields
        return fields if isinstance(fields, dict) else {name: name for name in fields}

    def emits(self, incoming: Shape) -> Shape:
        units = {new: incoming.units[old] for new, old in self.names.items() if old in incoming.units}
        return Shape({new: incoming.fields.get(old) for new, old in self.names.items()}, units=units)

    async def open(self, ctx: Context) -> None:
        self.pairs = list(self.names.items())

    def process(self, message: Message, ctx: Context) -> Message:
        record = message.payload
        if not isinstance(record, dict):
            raise Reject("not-a-record", f"select needs records, the payload is {type(record).__name__}")
        known = message.fields or {}
        payload = {new: record[old] for new, old in self.pairs if old in record}
        infos = {new: known[old] for new, old in self.pairs if old in known}
        out = message.derive(payload, fields=infos or None)
        hidden: dict[str, JSON] | None = (message.meta or {}).get("overridden")
        if not hidden:
            return out
        kept = {new: hidden[old] for new, old in self.pairs if old in hidden}
        return out.derive(payload, meta={**(message.meta or {}), "overridden": kept})
