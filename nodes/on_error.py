"""on-error: what goes wrong in other nodes, in one place."""

from typing import Annotated

from msgspec import Meta

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions, Queue
from flowrunner.schema import WatchedName


class OnError(Node):
    """Listen to the errors of other nodes: what leaves by their ``error`` ports leaves here.

    Without ``nodes`` these are all nodes of the flow, but those that stand behind an on-error or an on-status: what is
    done about errors is not listened to. It hears rejected messages, lost connections and all else that a node reports,
    as records with the fields node, code, reason and message (the offending payload, or nothing). It only listens: a
    rejected message that nobody reads from the node's own error port still becomes a dead letter, and a listener that
    is too slow makes nobody wait; it misses the oldest, and counts them.
    """

    example = """
        telemetry: {type: http-in, route: POST /values}
        units: {type: scale, from: telemetry, fields: {power_mw: {factor: 0.001, min: -20, max: 20}}}
        errors: {type: on-error}
        alarms: {type: alarm-out, from: errors, text: "{node}: {reason}"}
    """

    class Options(NodeOptions):
        nodes: Annotated[
            Annotated[list[WatchedName], Meta(min_length=1)] | None,
            Meta(description="Only these nodes; without it, all of the flow.", examples=[["mqtt"]]),
        ] = None
        codes: Annotated[
            Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)] | None,
            Meta(description="Only errors with these codes.", examples=[["not-connected"]]),
        ] = None

    options: Options
    inputs = "none"
    listens = "error"
    self_contained = True
    default_queue = Queue(when_full="drop_oldest")

    def process(self, message: Message, ctx: Context) -> Message | None:
        record = message.payload if isinstance(message.payload, dict) else {}
        return message if self.options.codes is None or record.get("code") in self.options.codes else None
