"""log: a line for every message."""

import logging
from typing import Annotated, Literal

from msgspec import Meta

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions, Queue
from flowrunner.schema import Template
from flowrunner.template import Text

logger = logging.getLogger("flowrunner.log")


class Log(Node):
    """Write one line to the program's log for every message."""

    class Options(NodeOptions):
        level: Annotated[
            Literal["debug", "info", "warning", "error"], Meta(description="How important the line is.")
        ] = "info"
        text: Annotated[Template, Meta(description="The line, with {field} places.", examples=["{soc_percent} %"])] = (
            "{payload}"
        )

    options: Options
    ports = ()
    default_queue = Queue(when_full="drop_oldest")

    async def open(self, ctx: Context) -> None:
        self.text = Text(self.options.text)
        self.level = logging.getLevelNamesMapping()[self.options.level.upper()]

    def process(self, message: Message, ctx: Context) -> None:
        if logger.isEnabledFor(self.level):
            node = f"{ctx.flow}/{ctx.id}"
            logger.log(self.level, "%s: %s", node, self.text.fill(message), extra={"node": node})
