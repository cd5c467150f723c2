"""select: some fields of a record, under their own or new names."""

from typing import Annotated

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.message import Message
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.schema import FieldName
from flowrunner.shape import Shape


class Select(Node):
    """Pass on only the named fields of a record; a map renames them (``new: old``)."""

    class Options(NodeOptions):
        fields: Annotated[
            list[FieldName] | dict[NewField, FieldName],
            Meta(description="The fields to keep: a list, or a map of new name to old name."),
        ]

    options: Options

    def check(self) -> list[Fault]:
        if not self.options.fields:
            return [Fault("fields", "no field is selected")]
        return []

    @property
    def _names(self) -> dict[str, str]:
        fields = self.options.fields
        return fields if isinstance(fields, dict) else {name: name for name in fields}

    def emits(self, incoming: Shape) -> Shape:
        return Shape({new: incoming.fields.get(old) for new, old in self._names.items()})

    def process(self, message: Message, ctx: Context) -> Message:
        if not isinstance(message.payload, dict):
            raise Reject("not-a-record", f"the payload is {type(message.payload).__name__}, not a record")
        names, known = self._names, message.fields or {}
        payload = {new: message.payload[old] for new, old in names.items() if old in message.payload}
        infos = {new: known[old] for new, old in names.items() if old in known}
        return message.derive(payload, fields=infos or None)
