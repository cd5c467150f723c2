"""Shapes: what is known, before a run, of the messages on a wire.

From them come the checks of field names and expressions. A shape that is ``open`` may carry more than it says, and
then an unknown name cannot be called wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

Kind = Literal["number", "text", "bool"] | None
"""The type of a field; None: not known."""


class Shape(msgspec.Struct, frozen=True):
    """The fields of a record (a payload that is not a record has the one field ``value``)."""

    fields: Mapping[str, Kind]
    open: bool = False

    def plus(self, fields: Mapping[str, Kind]) -> Shape:
        """This shape with more fields."""
        return Shape({**self.fields, **fields}, self.open)


ANYTHING = Shape({}, open=True)


def union(shapes: Iterable[Shape]) -> Shape:
    """What may come when any of several shapes may come. No shape at all: nothing is known."""
    fields: dict[str, Kind] = {}
    is_open, empty = False, True
    for shape in shapes:
        empty = False
        is_open = is_open or shape.open
        for name, kind in shape.fields.items():
            fields[name] = kind if fields.get(name, kind) == kind else None
    return Shape(fields, open=is_open or empty)
