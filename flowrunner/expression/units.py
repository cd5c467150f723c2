"""What of an expression's result is certain before it is calculated: the values it rests on, and its unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flowrunner.expression.tree import Arithmetic, Call, Constant, Expression, Name, Negative, Node, children

_DIFFERENCES_ARE_OTHER = ("°C", "°F")
"""25 °C - 20 °C is 5 K, and 25 °C + 20 °C is nothing."""


def measured_names(expression: Expression) -> tuple[str, ...]:
    """The names whose values are used, in the order of the text; not those that are only asked for their age."""
    return tuple(dict.fromkeys(_values(expression.ast)))


def _values(node: Node) -> Iterator[str]:
    if isinstance(node, Name):
        yield node.name
    elif not (isinstance(node, Call) and node.function == "age"):
        for child in children(node):
            yield from _values(child)


def unit_of(expression: Expression, units: Mapping[str, str]) -> str | None:
    """The unit of the result where it is certain from those of the fields; a product or a quotient has none that is.

    ``age()`` is in seconds. A bare number goes with any unit; a name that has none makes the result uncertain.
    """
    return _unit(expression.ast, units) or None


def _unit(node: Node, units: Mapping[str, str]) -> str | None:
    """ "": a bare number, which goes with any unit. None: not certain."""
    match node:
        case Constant():
            return ""
        case Name(name=name):
            return units.get(name)
        case Negative(operand=operand):
            return _unit(operand, units)
        case Call(function="age"):
            return "s"
        case Call(function="round", arguments=(value, *_)):
            return _unit(value, units)
        case Call(function="abs" | "min" | "max", arguments=arguments):
            return _common(arguments, units)
        case Arithmetic(ops=ops, operands=operands) if set(ops) <= {"+", "-"}:
            common = _common(operands, units)
            return None if common in _DIFFERENCES_ARE_OTHER else common
    return None


def _common(nodes: tuple[Node, ...], units: Mapping[str, str]) -> str | None:
    found = {_unit(node, units) for node in nodes} - {""}
    return found.pop() if len(found) == 1 else None if found else ""
