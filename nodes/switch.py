"""switch: each message to the port whose condition holds."""

from typing import Annotated

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.expression import EvaluationError, Unusable
from flowrunner.message import Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import Condition
from flowrunner.shape import Shape

ELSE = "else"
PortName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64)]


class Switch(Node):
    """Pass a message on by the port of the first condition that is true, by ``else`` when none is.

    Conditions are judged in the order of the file; with ``first: false`` the message leaves by every port whose
    condition is true. A condition that cannot be judged (a field is missing, stale or no number) is neither true nor
    false: the message leaves by ``error`` and by no other port.
    """

    example = """
        telemetry: {type: manual-in, fields: {soc_percent: {}}}
        by-charge:
          type: switch
          from: telemetry
          cases:
            empty: soc_percent < 10
            full: soc_percent > 90
        warnings: {type: log, from: [by-charge.empty, by-charge.full], level: warning, text: "{soc_percent} %"}
    """

    class Options(NodeOptions, kw_only=True):
        cases: Annotated[
            dict[PortName, Condition], Meta(min_length=1, description="Port → the condition that leads to it.")
        ]
        first: Annotated[bool, Meta(description="Only the first that holds; false: all that hold.")] = True

    options: Options
    ports = (ELSE,)

    def check(self) -> list[Fault]:
        every = "every node has one of that name"
        taken = {ELSE: "the messages that no case is for leave by it", "error": every, "status": every}
        return [
            Fault(f"cases.{name}", f"{name!r} cannot be the port of a case: {why}", "choose another name")
            for name, why in taken.items()
            if name in self.options.cases
        ]

    def emits(self, incoming: Shape) -> dict[str, Shape]:
        return dict.fromkeys([*self.options.cases, ELSE], incoming)

    async def open(self, ctx: Context) -> None:
        conditions = [(port, ctx.condition(text)) for port, text in self.options.cases.items()]
        self.tests = [(port, condition.quick, condition) for port, condition in conditions]

    def process(self, message: Message, ctx: Context) -> dict[str, Message]:
        now, scope, found, port = ctx.now(), None, dict[str, Message](), ""
        try:
            for port, quick, condition in self.tests:
                held = quick(message, now)
                if held is not True and held is not False:
                    scope = scope or ctx.scope(message)
                    held = condition.test(scope)
                if held:
                    found[port] = message
                    if self.options.first:
                        break
        except (Unusable, EvaluationError) as error:
            raise Reject("expression", f"{port}: {error}") from None
        return found or {ELSE: message}
