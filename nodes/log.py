"""log: a line for every message."""

import logging
from typing import Annotated, Literal

from msgspec import Meta

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions, Queue
from flowrunner.schema import Template
from flowrunner.template import Text

logger = logging.getLogger("flowrunner.log")
LONGEST = 2000
"""Characters of a line."""


class Log(Node):
    """Write one line to the program's log for every message.

    A field that the message does not have is written as ``?``: the line that reports a broken sensor must not get
    lost because of it. Line breaks and control characters are escaped, and a very long line is cut.
    """

    example = """
        telemetry: {type: manual-in, fields: {temperature_c: {unit: °C}}}
        overheated: {type: threshold, from: telemetry, field: temperature_c, above: 40}
        warnings:
          type: log
          from: [overheated.above, overheated.cleared]
          level: warning
          text: "battery at {temperature_c} °C: {overheated}"
    """

    class Options(NodeOptions):
        level: Annotated[
            Literal["debug", "info", "warning", "error"], Meta(description="How important the line is.")
        ] = "info"
        text: Annotated[Template, Meta(description="The line, with {field} places.", examples=["{soc_percent} %"])] = (
            "{payload}"
        )

    options: Options
    ports = ()
    self_contained = True
    default_queue = Queue(when_full="drop_oldest")

    async def open(self, ctx: Context) -> None:
        self.text = Text(self.options.text)
        self.level = logging.getLevelNamesMapping()[self.options.level.upper()]

    def process(self, message: Message, ctx: Context) -> None:
        if logger.isEnabledFor(self.level):
            node = f"{ctx.flow}/{ctx.id}"
            line = _one_line(self.text.fill(message, missing="?"))
            logger.log(self.level, "%s: %s", node, line, extra={"node": node})


def _one_line(text: str) -> str:
    """Text from outside must not be able to write a line of its own."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
