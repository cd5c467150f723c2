"""The tree of an expression: what the parser makes and all other rooms read. Plain data, no behaviour."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Scalar: TypeAlias = int | float | str | bool
Kind = Literal["number", "text", "bool"]


class Node(msgspec.Struct, frozen=True):
    """``start`` and ``end`` cut the node's own text out of the expression."""

    start: int
    end: int


class Constant(Node, frozen=True):
    """A number, a text, true or false; a duration is its seconds."""

    value: Scalar


class Name(Node, frozen=True):
    """A field or a var; which of them is known only when the vars are."""

    name: str


class Negative(Node, frozen=True):
    operand: Node


class Not(Node, frozen=True):
    operand: Node


class Logic(Node, frozen=True):
    """``a and b and c``: one operator, two or more operands."""

    op: Literal["and", "or"]
    operands: tuple[Node, ...]


class Arithmetic(Node, frozen=True):
    """``a - b + c``: operators of one rank from left to right; ``ops[i]`` stands before ``operands[i + 1]``."""

    ops: tuple[str, ...]
    operands: tuple[Node, ...]


class Comparison(Node, frozen=True):
    """``a < b <= c``: chained as in mathematics."""

    ops: tuple[str, ...]
    operands: tuple[Node, ...]


class Membership(Node, frozen=True):
    """``a in [1, 2]``."""

    operand: Node
    items: tuple[Constant, ...]
    negated: bool


class Call(Node, frozen=True):
    function: str
    arguments: tuple[Node, ...]


class Expression(msgspec.Struct, frozen=True):
    """A parsed expression. ``names`` are the fields and vars in the order of their first use; ``ast`` is private."""

    text: str
    names: tuple[str, ...]
    ast: Node

    def part(self, node: Node) -> str:
        """The text of one node as it was written, on one line."""
        return " ".join(self.text[node.start : node.end].split())


def kind_of(value: Scalar) -> Kind:
    """The kind of a value. true and false are no numbers here."""
    if isinstance(value, bool):
        return "bool"
    return "text" if isinstance(value, str) else "number"


def children(node: Node) -> list[Node]:
    """The nodes right below, in the order of the text."""
    found: list[Node] = []
    for part in msgspec.structs.astuple(node):
        found += [child for child in (part if isinstance(part, tuple) else (part,)) if isinstance(child, Node)]
    return found


def names_in(node: Node) -> list[Name]:
    """Every name in a tree, in the order of the text."""
    if isinstance(node, Name):
        return [node]
    return [name for child in children(node) for name in names_in(child)]
