"""What can go wrong with an expression.

::

    FlowrunnerError
    ├── ExpressionError    the text is wrong: found before a run, with its place
    ├── Unusable           an input is missing, stale, bad, uncertain or not finite at this moment
    └── EvaluationError    the inputs are usable, the calculation is not (division by zero, text for a number)
"""

from __future__ import annotations

from flowrunner.errors import FlowrunnerError


class ExpressionError(FlowrunnerError):
    """A finding in the text of an expression. ``offset`` counts characters from 0."""

    def __init__(self, offset: int, message: str, hint: str = "", code: str = "syntax") -> None:
        self.offset = offset
        self.message = message
        self.hint = hint
        self.code = code
        super().__init__(offset, message, hint, code)

    def __str__(self) -> str:
        tail = f", {self.hint}" if self.hint else ""
        return f"character {self.offset + 1}: {self.message}{tail}"


class Unusable(FlowrunnerError):
    """The input ``name`` must not be used now; ``reason`` completes "``name`` is …": ``stale``, ``missing``."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)

    def __str__(self) -> str:
        return f"{self.name} is {self.reason}"


class EvaluationError(FlowrunnerError):
    """The calculation has no lawful result. It is an error of the rule, never "false"."""
