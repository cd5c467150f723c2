"""The check of an expression against the names that its place offers. Finds all, raises nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from flowrunner.errors import did_you_mean
from flowrunner.expression.errors import ExpressionError
from flowrunner.expression.kinds import PLAIN, Kinds
from flowrunner.expression.parse import FUNCTIONS
from flowrunner.expression.tree import Expression, Kind, Scalar, names_in

SHOWN_NAMES = 12


class Names(msgspec.Struct, frozen=True):
    """What may be named: ``fields`` (name → ``number``, ``text``, ``bool`` or None for unknown) and ``vars``.

    ``open``: other fields may come too, so an unknown name is no error.
    """

    fields: Mapping[str, str | None] = {}
    open: bool = False
    vars: Mapping[str, Scalar] = {}

    def known(self) -> list[str]:
        return sorted({*self.fields, *self.vars})


def check(expression: Expression, names: Names, want: Kind | None = None) -> list[ExpressionError]:
    """Every finding, in the order of the text. ``want`` is the kind that the place needs (``bool`` for ``when``)."""
    kinds = Kinds(expression, names.vars, _declared(names), want)
    seen: set[str] = set()
    errors = list(kinds.errors)
    for node in names_in(expression.ast):
        if node.name in seen:
            continue
        seen.add(node.name)
        if node.name in names.fields and node.name in names.vars:
            message = f"{node.name!r} is a field and a var"
            errors.append(ExpressionError(node.start, message, "rename the var", "ambiguous"))
        elif node.name not in names.fields and node.name not in names.vars and not names.open:
            hint = _hint(expression, node.name, names)
            errors.append(ExpressionError(node.start, f"unknown name {node.name!r}", hint, "unknown-name"))
    return sorted(errors, key=lambda error: error.offset)


def result_kind(expression: Expression, names: Names) -> Kind | None:
    """The kind of the result; None when it is a field of unknown kind."""
    return Kinds(expression, names.vars, _declared(names)).result


def _declared(names: Names) -> Mapping[str, Kind | None]:
    """Kinds that this language does not know (a record, a list) are unknown here: the run refuses them."""
    return {name: cast(Kind, kind) if kind in PLAIN else None for name, kind in names.fields.items()}


def _hint(expression: Expression, name: str, names: Names) -> str:
    known = names.known()
    for joined in known:  # power-limit is a node; its verdict is the field power_limit
        if joined.startswith(f"{name}_") and joined.replace("_", "-") in expression.text:
            return f"did you mean {joined!r}? - is minus here"
    if near := did_you_mean(name, known):
        return near
    if name in FUNCTIONS:
        return f"write {FUNCTIONS[name][2]}"
    if name.lower() in ("true", "false"):
        return f"write {name.lower()}"
    quotes = f'write "{name}" if it is text; ' if name.isupper() else ""
    if not known:
        return f"{quotes}no names are known here"
    more = ", …" if len(known) > SHOWN_NAMES else ""
    return f"{quotes}known names are {', '.join(known[:SHOWN_NAMES])}{more}"
