"""Tokens into a tree: operator precedence by rank, as in Python (or, and, not, comparisons, + -, * / %, minus)."""

from __future__ import annotations

from collections.abc import Mapping

from flowrunner.errors import did_you_mean
from flowrunner.expression.errors import ExpressionError
from flowrunner.expression.tokens import WORDS, Token, tokenize
from flowrunner.expression.tree import (
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Expression,
    Logic,
    Membership,
    Name,
    Negative,
    Node,
    Not,
)

MAX_DEPTH = 50
MAX_NODES = 500

_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _MINUS = range(1, 8)
_RANK: Mapping[str, int] = (
    {"or": _OR, "and": _AND, "in": _COMPARE, "not": _COMPARE}
    | dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), _COMPARE)
    | {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}
)

FUNCTIONS: Mapping[str, tuple[int, int, str]] = {  # name: fewest arguments, most, how it is written
    "min": (2, MAX_NODES, "min(a, b, …)"),
    "max": (2, MAX_NODES, "max(a, b, …)"),
    "abs": (1, 1, "abs(x)"),
    "round": (1, 2, "round(x) or round(x, 2)"),
    "age": (1, 1, "age(field)"),
    "hour": (0, 0, "hour()"),
    "weekday": (0, 0, "weekday()"),
    "between": (2, 3, 'between(x, low, high) or between("22:00", "06:00")'),
}


def parse(text: str) -> Expression:
    """ExpressionError for the first thing in ``text`` that is not the language."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.at = 0
        self.depth = 0
        self.nodes = 0
        self.names: dict[str, None] = {}

    # ---- the stream ---------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    @property
    def last_end(self) -> int:
        return self.tokens[self.at - 1].end

    def next_is(self, *texts: str) -> bool:
        """Constants never count: the text literal "and" is no operator."""
        return self.token.kind in ("symbol", "word") and self.token.text in texts

    def take(self) -> Token:
        token = self.token
        self.at += 1
        return token

    def count(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            message = f"the expression has more than {MAX_NODES} parts"
            raise ExpressionError(self.token.start, message, "split it over several compute fields", "too-big")

    def unexpected(self, hint: str = "") -> ExpressionError:
        token = self.token
        after = f" after {self.tokens[self.at - 1].text!r}" if self.at else ""
        if token.kind == "end":
            message = f"the expression ends{after}, something is missing" if self.at else "the expression is empty"
            return ExpressionError(token.start, message, hint)
        return ExpressionError(token.start, f"did not expect {token.text!r}{after}", hint)

    # ---- grammar --------------------------------------------------------------------------------------

    def whole(self) -> Expression:
        tree = self.expression(_OR)
        if self.token.kind != "end":
            raise self.unexpected(self.left_over_hint())
        return Expression(self.text, tuple(self.names), tree)

    def left_over_hint(self) -> str:
        token, before = self.token, self.tokens[self.at - 1]
        if token.text == "[":
            return "there is no indexing"
        if token.text == "," and before.text.isdigit() and self.tokens[self.at + 1].text.isdigit():
            return "decimals are written with a point"
        if token.text.lower() in WORDS and token.kind == "name":
            return f"write {token.text.lower()}"
        if token.kind == "name" and before.kind == "constant":
            return "a unit of time stands directly at its number: 30s"
        if token.kind == "constant" and token.text[0] in "\"'" and before.end == token.start:
            return "text has no prefix"
        return "join conditions with and, or" if token.kind in ("name", "constant") else ""

    def expression(self, rank: int) -> Node:
        """One operand and all operators that bind at least as tight as ``rank``."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            message = f"the expression is nested deeper than {MAX_DEPTH}"
            raise ExpressionError(self.token.start, message, "split it over several compute fields", "too-deep")
        start = self.token.start
        left = self.operand(rank)
        while (found := self.operator_rank()) >= rank:
            left = self.run(left, start, found)
        self.depth -= 1
        return left

    def operator_rank(self) -> int:
        token = self.token
        if token.kind not in ("symbol", "word"):
            return 0
        if token.text == "not" and self.tokens[self.at + 1].text != "in":
            return 0
        return _RANK.get(token.text, 0)

    def run(self, left: Node, start: int, rank: int) -> Node:
        """``left`` and every operator of the same rank that follows."""
        if rank == _COMPARE and self.next_is("in", "not"):
            return self.membership(left, start)
        self.count()
        operands, ops = [left], []
        while self.operator_rank() == rank:
            if self.next_is("in", "not"):
                raise self.unexpected("put one of the comparisons in parentheses")
            ops.append(self.take().text)
            operands.append(self.expression(rank + 1))
        if rank == _COMPARE:
            return Comparison(start, self.last_end, tuple(ops), tuple(operands))
        if rank == _OR:
            return Logic(start, self.last_end, "or", tuple(operands))
        if rank == _AND:
            return Logic(start, self.last_end, "and", tuple(operands))
        return Arithmetic(start, self.last_end, tuple(ops), tuple(operands))

    def membership(self, left: Node, start: int) -> Membership:
        self.count()
        negated = self.take().text == "not"
        if negated:
            self.take()
        if not self.next_is("[", "("):
            raise self.unexpected('a list follows in: side in ["BUY", "SELL"]')
        closing = {"[": "]", "(": ")"}[self.take().text]
        items: list[Constant] = []
        while not self.next_is(closing):
            items.append(self.item())
            if not self.next_is(closing):
                self.expect(",", f"the items of a list are separated by commas; it ends with {closing}")
        if not items:
            raise self.unexpected("the list is empty")
        self.take()
        if self.operator_rank() == _COMPARE:
            raise self.unexpected("put one of the comparisons in parentheses")
        return Membership(start, self.last_end, left, tuple(items), negated)

    def item(self) -> Constant:
        self.count()
        start = self.token.start
        negative = self.next_is("-")
        if negative:
            self.take()
        value = self.token.value
        if self.token.kind != "constant" or (negative and isinstance(value, bool | str)):
            raise self.unexpected("a list holds numbers, text, true or false")
        self.take()
        return Constant(start, self.last_end, -value if negative and not isinstance(value, str) else value)

    def operand(self, rank: int) -> Node:
        token = self.token
        self.count()
        if token.kind == "constant":
            self.take()
            return Constant(token.start, token.end, token.value)
        if token.kind == "name":
            self.take()
            if self.next_is("("):
                return self.call(token)
            self.names[token.text] = None
            return Name(token.start, token.end, token.text)
        if self.next_is("("):
            self.take()
            inner = self.expression(_OR)
            self.expect(")", f"the parenthesis of character {token.start + 1} is not closed")
            return inner
        if self.next_is("-"):
            self.take()
            return Negative(token.start, *self.ended(self.expression(_MINUS)))
        if self.next_is("not"):
            if rank > _NOT:
                raise self.unexpected("put the not and what follows it in parentheses")
            self.take()
            return Not(token.start, *self.ended(self.expression(_NOT)))
        raise self.unexpected("leave the + out" if token.text == "+" else "")

    def ended(self, operand: Node) -> tuple[int, Node]:
        return self.last_end, operand

    def expect(self, text: str, hint: str) -> None:
        if not self.next_is(text):
            raise self.unexpected(self.left_over_hint() if self.token.kind in ("name", "constant") else hint)
        self.take()

    # ---- calls ----------------------------------------------------------------------------------------

    def call(self, name: Token) -> Call:
        function = name.text
        if function not in FUNCTIONS:
            hint = did_you_mean(function, FUNCTIONS) or f"functions are {', '.join(FUNCTIONS)}"
            raise ExpressionError(name.start, f"unknown function {function!r}", hint, "unknown-function")
        self.take()
        arguments: list[Node] = []
        while not self.next_is(")"):
            arguments.append(self.expression(_OR))
            if not self.next_is(")"):
                self.expect(",", f"{function}( is not closed")
        self.take()
        fewest, most, usage = FUNCTIONS[function]
        fault = f"{function}() takes other arguments" if not fewest <= len(arguments) <= most else ""
        if not fault and function == "age" and not isinstance(arguments[0], Name):
            fault = "age() takes the name of a field"
        if not fault and function == "round" and len(arguments) == 2:
            digits = _whole(arguments[1])
            if digits is None or not -10 <= digits <= 10:
                fault = "the digits of round() are a whole number from -10 to 10"
            else:
                arguments[1] = Constant(arguments[1].start, arguments[1].end, digits)
        if not fault and function == "between" and len(arguments) == 2:
            times = all(isinstance(a, Name) or isinstance(_value(a), str) for a in arguments)
            fault = "" if times else "between() with two arguments takes times of day"
        if fault:
            raise ExpressionError(name.start, fault, f"write {usage}", "arguments")
        return Call(name.start, self.last_end, function, tuple(arguments))


def _value(node: Node) -> object:
    return node.value if isinstance(node, Constant) else None


def _whole(node: Node) -> int | None:
    value = _value(node.operand if isinstance(node, Negative) else node)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return -value if isinstance(node, Negative) else value
