"""alarm-out: what a person must know of."""

import logging
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from flowrunner.errors import NotConnected
from flowrunner.message import JSON, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions, Queue
from flowrunner.schema import Template
from flowrunner.store import Lane, Raised, StoreFailed
from flowrunner.store.alarms import SAME_OCCURRENCE, Severity
from flowrunner.template import Text, as_text

logger = logging.getLogger("flowrunner.alarm")
LEVELS: dict[Severity, int] = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}
LONGEST, LONGEST_IDENTITY = 500, 200
"""Characters of an alarm's text, and of what tells it from others."""
REMEMBERED = 10_000
"""Occurrences whose next one is no news; the oldest are forgotten."""
SHOWN_FIELDS = 8
"""Of a record, in a text that the flow does not give."""


class AlarmOut(Node):
    """Make an alarm of every message: kept until somebody acknowledges it, and a line in the log.

    One alarm is what comes by the same wire, for the same key, with the same template (without ``text``: of errors the
    node and the code, of what a guard blocked the rule and the reason). When it comes again it counts up, and the log
    says so ever more rarely; after ten minutes of silence it is news again, and wants a new acknowledgement. Alarms are
    read at ``/api/v1/alarms``.
    """

    example = """
        telemetry: {type: manual-in, fields: {temperature_c: {unit: °C}}}
        overheated: {type: threshold, from: telemetry, field: temperature_c, above: 40}
        alarms:
          type: alarm-out
          from: [overheated.above, telemetry.error]
          severity: critical
    """

    class Options(NodeOptions):
        severity: Annotated[Severity, Meta(description="How much it matters; also the level of the log line.")] = (
            "warning"
        )
        text: Annotated[
            Template | None,
            Meta(description="What to say, with {field} places; made from the message unless told."),
        ] = None

    options: Options
    ports = ()
    self_contained = True
    default_queue = Queue(when_full="drop_oldest")
    lane: Lane[Raised] | None = None
    """Outlives a restart of the node: what could not be written is still in it."""

    def check(self) -> list[Fault]:
        if self.options.text is not None and not self.options.text.strip():
            return [Fault("text", "an alarm without a text tells nobody anything", "write one, or leave 'text' out")]
        return []

    async def open(self, ctx: Context) -> None:
        self.text = None if self.options.text is None else Text(self.options.text)
        self.lane = self.lane or Lane(ctx.alarms.add)
        self.last: dict[tuple[str, str, str], Instant] = ctx.alarms.last_of(ctx.flow, self.id)
        try:
            await self.lane.empty()
        except StoreFailed as error:
            raise NotConnected(str(error)) from error

    async def close(self) -> None:
        if self.lane is not None:
            await self.lane.empty()

    async def process(self, message: Message, ctx: Context) -> None:
        assert self.lane is not None  # noqa: S101  (open was there before)
        try:
            await self.lane.room()
        except StoreFailed as error:
            raise NotConnected(str(error)) from error
        identity, text = self._say(message, ctx.input)
        identity, text = identity[:LONGEST_IDENTITY], text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        now, slot = ctx.now(), (ctx.input, message.key, identity)
        before = self.last.pop(slot, None)
        self.last[slot] = now  # the newest at the end
        if len(self.last) > REMEMBERED:
            del self.last[next(iter(self.last))]
        about = f"{ctx.input}{f' ({message.key})' if message.key else ''}"
        level = LEVELS[self.options.severity]
        if before is None or abs(now - before) > SAME_OCCURRENCE:  # ahead: of a clock that was set back
            node = f"{ctx.flow}/{self.id}"
            logger.log(level, "%s: %s: %s", node, about, text, extra={"node": node})
        else:  # limited by what comes before the text
            known = " ".join(filter(None, (about, identity))).replace("%", "%%")
            ctx.log.log(level, f"again {known}: %s", text)
        self.lane.add(
            Raised(
                flow=ctx.flow,
                node=self.id,
                wire=ctx.input,
                key=message.key,
                identity=identity,
                severity=self.options.severity,
                text=text,
                at=now,
            ),
            ctx.hold(),
        )

    def _say(self, message: Message, wire: str) -> tuple[str, str]:
        """What tells the alarm from others, and its text."""
        if self.text is not None:
            return self.text.text, self.text.fill(message, missing="?")
        record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        if _texts(record, "node", "code", "reason"):
            return f"{record['node']}: {record['code']}", f"{record['node']}: {record['reason']} ({record['code']})"
        if _texts(record, "rule", "reason", "text"):
            return f"{record['rule']}: {record['reason']}", f"{record['text']} ({record['reason']})"
        return "", _fields(record, message) or wire


def _texts(record: Mapping[str, JSON], *names: str) -> bool:
    return all(isinstance(record.get(name), str) for name in names)


def _fields(record: Mapping[str, JSON], message: Message) -> str:
    shown = []
    for name, value in list(record.items())[:SHOWN_FIELDS]:
        unit = message.info(name).unit
        shown.append(f"{name} {as_text(value)}{f' {unit}' if unit else ''}")
    return ", ".join(shown)
