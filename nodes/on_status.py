"""on-status: how other nodes are, whenever that changes."""

from typing import Annotated

from msgspec import Meta

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions, NodeState, Queue
from flowrunner.schema import WatchedName


class OnStatus(Node):
    """Listen to the states of other nodes: a record for each change.

    Its fields are node, state (starting, running, disconnected, restarting, finished, stopped), connected (whether its
    peer is there; left out where it has none), reason (of an outage or a restart) and since. Without ``nodes`` these
    are all nodes of the flow, but those that stand behind an on-error or an on-status. Each change is told as it is,
    also of a connection that comes and goes; a listener that is too slow makes nobody wait, it misses the oldest, and
    counts them. One node's states are read by ``from: mqtt.status`` as well.
    """

    example = """
        telemetry: {type: http-in, route: POST /values}
        lines: {type: log, from: telemetry}
        states: {type: on-status, states: [disconnected, restarting, running]}
        told: {type: log, from: states, text: "{node} is {state} {reason}"}
    """

    class Options(NodeOptions):
        nodes: Annotated[
            Annotated[list[WatchedName], Meta(min_length=1)] | None,
            Meta(description="Only these nodes; without it, all of the flow.", examples=[["mqtt"]]),
        ] = None
        states: Annotated[
            Annotated[list[NodeState], Meta(min_length=1)] | None,
            Meta(description="Only changes to these states.", examples=[["disconnected", "running"]]),
        ] = None

    options: Options
    inputs = "none"
    listens = "status"
    self_contained = True
    default_queue = Queue(when_full="drop_oldest")

    def process(self, message: Message, ctx: Context) -> Message | None:
        record = message.payload if isinstance(message.payload, dict) else {}
        return message if self.options.states is None or record.get("state") in self.options.states else None
