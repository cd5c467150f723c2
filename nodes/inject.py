"""inject: a message at set times."""

from collections.abc import AsyncIterator
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from msgspec import Meta

from flowrunner.message import JSON, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.shape import ANYTHING, Kind, Shape
from flowrunner.units import Duration, from_datetime, to_datetime


class Inject(Node):
    """Make a message at every multiple of a time, at cron times in the flow's zone, or once at the start.

    When the clocks go forward, a cron time in the hour that is left out comes at the end of it; when they go back, one
    in the hour that is there twice comes once, and a ``*`` in minute or hour goes on counting.
    """

    example = """
        day-ahead-gate:
          type: inject
          at: 45 11 * * *
          payload: {market: day-ahead, reserve_mw: 1.5}
        reminder: {type: log, from: day-ahead-gate, text: "bids for {market} close soon"}
    """

    class Options(NodeOptions):
        every: Annotated[Duration | None, Meta(description="Time between messages, counted from full multiples.")] = (
            None
        )
        at: Annotated[
            str | None, Meta(description="Cron: minute hour day month weekday.", examples=["0 7 * * MON-FRI"])
        ] = None
        once: Annotated[bool, Meta(description="A message at the start (also beside every or at).")] = False
        payload: Annotated[JSON, Meta(description="What the message holds.")] = None

    options: Options
    inputs = "none"
    self_contained = True

    def check(self) -> list[Fault]:
        options = self.options
        if options.every is None and options.at is None and not options.once:
            return [Fault("", "it would never send anything", "write 'every: …', 'at: …' or 'once: true'")]
        if options.every is not None and options.at is not None:
            return [Fault("at", "'every' and 'at' exclude each other")]
        if options.every is not None and options.every < Duration.parse("1ms"):
            return [Fault("every", f"{options.every} is too short", "1ms is the shortest")]
        if options.at is not None:
            hint = "minute hour day month weekday, like 0 7 * * MON-FRI"
            if len(options.at.split()) != 5:
                return [Fault("at", f"{options.at!r} is no cron time: it has not five parts", hint)]
            try:
                CronSim(options.at, to_datetime(0))
            except CronSimError as error:
                return [Fault("at", f"{options.at!r} is no cron time: {error}", hint)]
        return []

    def emits(self, incoming: Shape) -> Shape:
        payload = self.options.payload
        if not isinstance(payload, dict):
            return Shape({"value": _kind(payload)}) if payload is not None else ANYTHING
        return Shape({name: _kind(value) for name, value in payload.items()})

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        if self.options.once:
            yield ctx.message(self.options.payload, position="once")
        due: Instant = 0

        def plan(now: Instant) -> Instant:  # what was missed (a machine that slept) is not made up for
            upcoming = self._next(now, ctx.zone)
            # a clock that was set back a little does not strike twice; by more, it strikes on as if it were new
            return self._next(due, ctx.zone) if upcoming == due else upcoming

        while self.options.every or self.options.at:
            due = await ctx.sleep_until_next(plan)
            yield ctx.message(self.options.payload, position=ctx.position(due), at=due)

    def _next(self, after: Instant, zone: ZoneInfo) -> Instant:
        """The first time later than ``after``."""
        if self.options.every:
            return after + self.options.every - after % self.options.every
        times = map(from_datetime, CronSim(self.options.at or "", to_datetime(after, zone)))
        return next(time for time in times if time > after)  # in the hour that comes twice it looks at the first one


def _kind(value: JSON) -> Kind:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else None
