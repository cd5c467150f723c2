"""store-out: messages into the history."""

from typing import Annotated

from msgspec import Meta

from flowrunner.errors import NotConnected, Reject
from flowrunner.message import Message
from flowrunner.node import Context, Fault, Node, NodeOptions, Queue
from flowrunner.store import Lane, Row, StoreFailed
from flowrunner.store.history import STEP, row_of
from flowrunner.units import Duration

SWEEP_EVERY, SWEEP_ON = Duration.parse("1min"), Duration.parse("1s")
"""How often rows whose time is over are looked for, and how soon again while there are more."""
MOST_STEPS = 10
"""Of one sweep: messages wait for it."""
SHORTEST = Duration.parse("1min")


class StoreOut(Node):
    """Keep every message in the history for some time.

    Times, source and quality are kept with it, of each field too; a number that is not finite is kept as null. The
    history is read at ``/api/v1/history``. Written in batches while the flow goes on; what was not written yet when
    the power fails is lost. When the disk cannot keep up, the queue drops the oldest and counts them.
    """

    example = """
        telemetry: {type: manual-in, fields: {soc_percent: {unit: "%"}, active_power_mw: {unit: MW}}}
        history: {type: store-out, from: telemetry, keep: 90d}
    """

    class Options(NodeOptions, kw_only=True):
        keep: Annotated[Duration, Meta(description="How long; a changed time counts for what is kept already.")] = (
            Duration.parse("90d")
        )

    options: Options
    ports = ()
    self_contained = True
    default_queue = Queue(when_full="drop_oldest")
    lane: Lane[Row] | None = None
    """Outlives a restart of the node: what could not be written is still in it."""

    def check(self) -> list[Fault]:
        if self.options.keep < SHORTEST:
            return [Fault("keep", f"{self.options.keep} is too short", f"{SHORTEST} is the shortest")]
        return []

    async def open(self, ctx: Context) -> None:
        self.lane = self.lane or Lane(ctx.history.add)
        try:
            await ctx.history.keep(ctx.flow, self.id, self.options.keep)
            await self.lane.empty()
        except StoreFailed as error:
            raise NotConnected(str(error)) from error
        self.sweeping, self.added = False, 0

    async def close(self) -> None:
        if self.lane is not None:
            await self.lane.empty()

    async def process(self, message: Message, ctx: Context) -> None:
        assert self.lane is not None  # noqa: S101  (open was there before)
        try:
            row = row_of(message, flow=ctx.flow, node=self.id, wire=ctx.input, now=ctx.now())
            await self.lane.room()
        except StoreFailed as error:
            raise NotConnected(str(error)) from error
        except ValueError as error:
            raise Reject("too-large", str(error)) from None
        self.lane.add(row, ctx.hold())
        self.added += 1
        if not self.sweeping:  # while nothing comes in, nothing grows
            self.sweeping = True
            ctx.timer("sweep", "", ctx.now() + SWEEP_ON)

    async def on_timer(self, name: str, key: str, ctx: Context) -> None:
        more, steps = True, min(1 + self.added // STEP, MOST_STEPS)  # as many go as came, or the disk fills up
        self.added = max(self.added - steps * STEP, 0)
        try:
            while more and steps:
                more, steps = await ctx.history.sweep(ctx.now()), steps - 1
        except StoreFailed as error:
            ctx.error("store", str(error))
        ctx.timer("sweep", "", ctx.now() + (SWEEP_ON if more else SWEEP_EVERY))
