"""filter: pass on what a condition holds for."""

from typing import Annotated

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.expression import EvaluationError, Unusable
from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions
from flowrunner.schema import Condition


class Filter(Node):
    """Pass a message on by ``out`` when the condition is true, by ``else`` when it is false.

    A condition that cannot be judged (a field is missing, stale or no number) is neither: the message leaves by
    ``error``.
    """

    example = """
        telemetry: {type: manual-in, fields: {soc_percent: {}, active_power_mw: {}}}
        low-and-not-discharging:
          type: filter
          from: telemetry
          when: soc_percent < 30 and active_power_mw <= 0
        reserve: {type: log, from: low-and-not-discharging, text: "only {soc_percent} % left"}
    """

    class Options(NodeOptions):
        when: Annotated[Condition, Meta(description="The condition, like: soc_percent < 30 and active_power_mw <= 0")]

    options: Options
    ports = ("out", "else")

    async def open(self, ctx: Context) -> None:
        self.condition = ctx.condition(self.options.when)
        self.quick = self.condition.quick

    def process(self, message: Message, ctx: Context) -> Message | dict[str, Message]:
        held = self.quick(message, ctx.now())
        if held is not True and held is not False:
            try:
                held = self.condition.test(ctx.scope(message))
            except (Unusable, EvaluationError) as error:
                raise Reject("expression", str(error)) from None
        return message if held else {"else": message}
