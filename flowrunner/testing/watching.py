"""What a test sees of a run: every message that left a node, and every condition that was judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flowrunner.expression import Program, Scope, Trace, clause_texts
from flowrunner.message import Instant, Message
from flowrunner.testing.rig import Sent


@dataclass(slots=True)
class Judged:
    """What was seen of one expression of a node."""

    text: str
    times: int = 0
    last: Trace | None = None
    at: Instant = 0
    clauses: dict[str, set[bool]] = field(default_factory=dict)
    """Clause → how it came out."""


class Watching:
    """``sent`` and ``judged`` fill while the flow runs; ``look_on`` is for `Runtime.on_condition`."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        self.sent: list[Sent] = []
        self.emitted: list[Message] = []
        """Those that the test itself let a node send."""
        self.judged: dict[str, dict[str, Judged]] = {}
        """Address → text of the expression → what was seen of it."""
        self._now = now

    def look_on(self, address: str, program: Program) -> Program:
        text = program.expression.text
        judged = self.judged.setdefault(address, {}).setdefault(text, Judged(text))
        if program.kind == "bool":  # also one that no message ever comes to
            for clause in clause_texts(program.expression):
                judged.clauses.setdefault(clause, set())

        def see(trace: Trace, scope: Scope) -> None:
            if program.kind not in ("bool", None) or not isinstance(trace.outcome, bool | None):
                return  # an amount: nothing in it is true or false
            judged.last, judged.at = trace, self._now()
            judged.times += 1
            for clause in trace.clauses:
                seen = judged.clauses.setdefault(clause.text, set())
                if clause.outcome is not None:
                    seen.add(clause.outcome)

        return program.watched(see)
