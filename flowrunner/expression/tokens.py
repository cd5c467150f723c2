"""Text into tokens, each with its offset. What looks like code of another language is refused here, with a hint."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, NamedTuple

from flowrunner.expression.errors import ExpressionError
from flowrunner.expression.tree import Scalar
from flowrunner.units import DURATION_UNITS, SECOND

MAX_LENGTH = 2000
MAX_DIGITS = 18
"""An integer literal of 18 digits fits 64 bits."""


class Token(NamedTuple):
    kind: Literal["constant", "name", "word", "symbol", "end"]
    text: str
    start: int
    end: int
    value: Scalar = False
    """Of constants only."""


WORDS = frozenset({"and", "or", "not", "in"})
_CONSTANTS: Mapping[str, bool] = {"true": True, "false": False}

_token = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<text>"[^"]*"|'[^']*')
  | (?P<foreign>\*\*|//|<<|>>|<>|:=|&&|\|\||\$\{|=(?!=)|!(?!=))
  | (?P<symbol>==|!=|<=|>=|[-<>+*/%()\[\],])
    """,
    re.ASCII | re.VERBOSE,
)
_letters = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_FOREIGN: Mapping[str, str] = {  # what people bring along from other languages → what to write
    "**": "multiply instead: x * x",
    "//": "there is only /; round(x / y) makes a whole number",
    "<<": "",
    ">>": "",
    "<>": "write !=",
    ":=": "",
    "&&": "write and",
    "||": "write or",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "=": "compare with == or <= or >=",
    "${": "vars are names here: write cheap, not ${cheap}",
    ".": "there are no attributes; decimals need a digit on both sides of the point: 0.5",
    "#": "there are no comments inside an expression",
    ";": "join conditions with and",
    "{": "",
    "}": "",
}
_FOREIGN_WORDS: Mapping[str, str] = {
    "True": "write true",
    "False": "write false",
    "None": "a missing input is an error by itself",
    "null": "a missing input is an error by itself",
    "is": "compare with ==",
    "if": "a condition stands alone, joined with and, or, not",
    "else": "a condition stands alone, joined with and, or, not",
    "lambda": "",
    "for": "there are no loops",
}
_LOOK_ALIKES: Mapping[str, str] = {
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "−": "write -",
    "–": "write -",
    "×": "write *",
    "·": "write *",
    "÷": "write /",
    "°": "units stand in the option unit of a field",
} | dict.fromkeys("„“”«»‚‘’", "write \" or '")


def tokenize(text: str) -> list[Token]:
    """All tokens and an end token. ExpressionError at the first thing that is no token."""
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text)} characters; the limit is {MAX_LENGTH}"
        raise ExpressionError(MAX_LENGTH, message, "split it over several compute fields", "too-long")
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _token.match(text, at)
        if match is None or match.lastgroup == "foreign":
            raise _refused(text, at, match[0] if match else text[at])
        if match.lastgroup == "number":
            tokens.append(_number(text, at, match[0]))
        elif match.lastgroup == "name":
            tokens.append(_name(at, match[0]))
        elif match.lastgroup == "text":
            tokens.append(_text(at, match[0]))
        elif match.lastgroup == "symbol":
            tokens.append(Token("symbol", match[0], at, match.end()))
        at = tokens[-1].end if match.lastgroup == "number" else match.end()
    tokens.append(Token("end", "", len(text.rstrip()), len(text)))
    return tokens


def _number(text: str, at: int, digits: str) -> Token:
    end = at + len(digits)
    letters = _letters.match(text, end)
    if letters is not None:
        end = letters.end()
    written = text[at:end]
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        raise ExpressionError(at, f"{written} starts with a 0", "leave the 0 out", "number")
    if digits.isdigit() and len(digits) > MAX_DIGITS:
        message = f"a number of {len(digits)} digits; the limit is {MAX_DIGITS}"
        raise ExpressionError(at, message, "write it as a decimal, like 1e20", "number")
    value: int | float = int(digits) if digits.isdigit() else float(digits)
    if letters is not None:
        unit = letters[0]
        if unit not in DURATION_UNITS or "e" in digits.lower():
            hint = f"durations have the units {', '.join(DURATION_UNITS)}; other numbers have no unit"
            raise ExpressionError(at, f"{written} is not a number", hint, "number")
        seconds = Decimal(digits) * DURATION_UNITS[unit] / SECOND
        value = int(seconds) if seconds == seconds.to_integral_value() else float(seconds)
    if not math.isfinite(value):
        raise ExpressionError(at, f"{written[:40]} is too large", "numbers reach to 1.7e308", "number")
    return Token("constant", written, at, end, value)


def _name(at: int, word: str) -> Token:
    end = at + len(word)
    if word in WORDS:
        return Token("word", word, at, end)
    if word in _CONSTANTS:
        return Token("constant", word, at, end, _CONSTANTS[word])
    if word in _FOREIGN_WORDS:
        message = f"{word!r} is not part of the expression language"
        raise ExpressionError(at, message, _FOREIGN_WORDS[word])
    if word.startswith("__"):
        raise ExpressionError(at, f"the name {word!r} starts with __", "fields and vars have ordinary names", "name")
    return Token("name", word, at, end)


def _text(at: int, quoted: str) -> Token:
    for place, character in enumerate(quoted):
        if not character.isprintable():
            message = f"text must not hold {describe(character)}"
            raise ExpressionError(at + place, message, "retype it", "character")
        if character == "\\":
            hint = "use the other kind of quotes around it"
            raise ExpressionError(at + place, "text knows no backslash", hint, "character")
    return Token("constant", quoted, at, at + len(quoted), quoted[1:-1])


def _refused(text: str, at: int, what: str) -> ExpressionError:
    if what in "\"'":
        return ExpressionError(at, f"the text that starts here has no closing {what}", "", "character")
    if what in _FOREIGN:
        return ExpressionError(at, f"{what!r} is not part of the expression language", _FOREIGN[what])
    if what.isascii() and what.isprintable():
        return ExpressionError(at, f"{what!r} is not part of the expression language")
    hint = _LOOK_ALIKES.get(what, "")
    if not hint and what.isspace():
        hint = "use an ordinary space"
    elif not hint and what.isalnum():
        hint = "it may look like another letter: names have A-Z, a-z, 0-9 and _ only; retype it"
    return ExpressionError(at, f"{describe(what)} has no place here", hint or "remove it", "character")


def describe(character: str) -> str:
    """``'а' (U+0430 CYRILLIC SMALL LETTER A)``: two characters that look the same are told apart by this."""
    name = unicodedata.name(character, "control character")
    shown = f"{character!r} " if character.isprintable() else ""
    return f"{shown}(U+{ord(character):04X} {name})" if shown else f"U+{ord(character):04X} {name}"
