"""Shapes: what is known, before a run, of the messages on a wire.

From them come the checks of field names, expressions and units. A shape that is ``open`` may carry more than it says,
and then an unknown name cannot be called wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from flowrunner.units import canonical_unit

Kind = Literal["number", "text", "bool"] | None
"""The type of a field; None: not known."""
EITHER = " or "
"""Between the units of a field that may come in several."""


class Shape(msgspec.Struct, frozen=True):
    """The fields of a record (a payload that is not a record has the one field ``value``)."""

    fields: Mapping[str, Kind]
    open: bool = False
    units: Mapping[str, str] = {}
    """Field → its unit, as far as it is known; ``kW or MW`` where it differs from message to message."""

    def plus(self, fields: Mapping[str, Kind], units: Mapping[str, str | None] | None = None) -> Shape:
        """This shape with more fields. A field that is made anew has the unit that is given for it, or none."""
        kept = {name: unit for name, unit in self.units.items() if name not in fields}
        return Shape({**self.fields, **fields}, self.open, {**kept, **known_units(units or {})})


ANYTHING = Shape({}, open=True)


def known_units(units: Mapping[str, str | None]) -> dict[str, str]:
    """Those that are given, in their usual spelling."""
    return {name: canonical_unit(unit) for name, unit in units.items() if unit}


def union(shapes: Iterable[Shape]) -> Shape:
    """What may come when any of several shapes may come. No shape at all: nothing is known."""
    fields: dict[str, Kind] = {}
    units: dict[str, set[str]] = {}
    is_open, empty = False, True
    for shape in shapes:
        empty = False
        is_open = is_open or shape.open
        for name, kind in shape.fields.items():
            fields[name] = kind if fields.get(name, kind) == kind else None
        for name, unit in shape.units.items():
            units.setdefault(name, set()).update(unit.split(EITHER))
    return Shape(fields, is_open or empty, {name: EITHER.join(sorted(found)) for name, found in units.items()})
