"""The expression language of flow files: ``soc_percent < 30 and price_eur_mwh <= cheap``.

parse → check → compile → evaluate, test, explain. Fields and vars by name, numbers, text, durations (as seconds),
``and or not in``, comparisons, ``+ - * / %``, and the functions in :data:`FUNCTIONS`; nothing else.

It fails closed. Every field that is named must be usable and of the kind that its uses need, also where ``and`` or
``or`` would not have looked at it; otherwise there is no result but an error.
"""

from flowrunner.expression.check import Names, check, result_kind
from flowrunner.expression.errors import EvaluationError, ExpressionError, Unusable
from flowrunner.expression.parse import FUNCTIONS, parse
from flowrunner.expression.program import Program, compile_expression, program_of
from flowrunner.expression.scope import RecordScope, Scope
from flowrunner.expression.trace import Clause, Trace, clause_texts
from flowrunner.expression.tree import Expression, Kind, Scalar
from flowrunner.expression.units import measured_names, unit_of

__all__ = [
    "FUNCTIONS",
    "Clause",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Kind",
    "Names",
    "Program",
    "RecordScope",
    "Scalar",
    "Scope",
    "Trace",
    "Unusable",
    "check",
    "clause_texts",
    "compile_expression",
    "measured_names",
    "parse",
    "program_of",
    "result_kind",
    "unit_of",
]
