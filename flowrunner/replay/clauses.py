"""How often each condition of a rule held: who sees no order wants to know which one never did."""

from __future__ import annotations

from flowrunner.expression import EvaluationError, Program, Scope, Unusable


class Tally:
    """Of one condition: on how many records it held, did not, and could not be judged."""

    __slots__ = ("failed", "held", "text", "unjudged")

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.held = self.failed = self.unjudged = 0


class Counted(Program):
    """A program that counts what came of its tests, and costs little more."""

    __slots__ = ("_tally",)

    def __init__(self, own: Program, tally: Tally) -> None:
        for name in Program.__slots__:
            setattr(self, name, getattr(own, name))
        self._tally = tally

    def test(self, scope: Scope) -> bool:
        tally = self._tally
        try:
            held = self.evaluate(scope)
            if held is not True and held is not False:
                return super().test(scope)  # which says what is wrong with it
        except (Unusable, EvaluationError):
            tally.unjudged += 1
            raise
        if held:
            tally.held += 1
        else:
            tally.failed += 1
        return held
