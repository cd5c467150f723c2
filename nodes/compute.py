"""compute: new fields from expressions."""

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Annotated

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.expression import (
    EvaluationError,
    ExpressionError,
    Names,
    Unusable,
    measured_names,
    parse,
    result_kind,
    unit_of,
)
from flowrunner.message import JSON, FieldInfo, Instant, Message, Origin, worst
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.schema import Formula
from flowrunner.shape import EITHER, Kind, Shape

ORIGINS: tuple[Origin, ...] = ("automatic", "planned", "simulated", "manual")
"""From several, a value has the last of these that any has: what was typed or made up stays known as such."""
MOST_OVERRIDDEN = 16
"""Combinations of values that manual ones took the place of."""
MOST_UNITS = 64
"""Combinations of units whose result is kept."""


class Compute(Node):
    """Add fields that are calculated from the others: numbers, texts, or true and false.

    A result is as old as the oldest value in it and only as good and as long usable as all of them. Where one of them
    cannot be used, the field is absent and bad, an error says why, and the rest of the record passes. No field is
    overwritten. What is only asked for its age() counts as known now.
    """

    example = """
        telemetry: {type: manual-in, fields: {soc_percent: {unit: "%"}, active_power_mw: {unit: MW}}}
        reserve:
          type: compute
          from: telemetry
          fields:
            energy_mwh: soc_percent / 100 * 10
            discharging: active_power_mw > 0.05
    """

    class Options(NodeOptions, kw_only=True):
        fields: Annotated[dict[NewField, Formula], Meta(min_length=1, description="New field → its expression.")]

    options: Options

    def check(self) -> list[Fault]:
        own, faults = self.options.fields, []
        for name, text in own.items():
            try:
                used = [one for one in parse(text).names if one in own and one != name]
            except ExpressionError:
                continue  # it is told with its place in the text
            if used:
                faults.append(
                    Fault(
                        f"fields.{name}",
                        f"{used[0]!r} is made here too, and all fields are made at once",
                        "make it in a compute of its own, and read from that one",
                    )
                )
        return faults

    def emits(self, incoming: Shape) -> Shape:
        made: dict[str, Kind] = {}
        units: dict[str, str | None] = {}
        known = {name: unit for name, unit in incoming.units.items() if EITHER not in unit}
        for name, text in self.options.fields.items():
            if name in incoming.fields:
                raise ValueError(f"'fields.{name}' would overwrite the field {name!r} that comes in; rename it")
            try:
                formula = parse(text)
            except ExpressionError:
                made[name] = None
                continue
            made[name] = result_kind(formula, Names(incoming.fields, incoming.open))
            units[name] = unit_of(formula, known)
        return incoming.plus(made, units)

    async def open(self, ctx: Context) -> None:
        self.made = [Made(name, text, ctx) for name, text in self.options.fields.items()]

    def process(self, message: Message, ctx: Context) -> Message:
        record, known = message.payload, message.fields
        payload = record.copy() if isinstance(record, dict) else {"value": record}
        infos = known.copy() if known else {}
        now, scope = ctx.now(), None
        hidden = (message.meta.get("overridden") or {}) if message.meta else {}
        kept: dict[str, list[JSON]] = {}
        for one in self.made:
            name = one.name
            if name in payload or (known and name in known):
                raise Reject("field-exists", f"the record has a field {name!r} already; it is not overwritten")
        for one in self.made:
            name = one.name
            value = one.quick(message, now)
            if value is None:
                scope = scope or ctx.scope(message)
                try:
                    value = one.program.evaluate(scope)
                except (Unusable, EvaluationError) as error:
                    infos[name] = FieldInfo(at=now, received_at=now, source=self.id, quality="bad")
                    ctx.error("expression", f"{name}: {error}", message)
                    continue
            payload[name] = value
            infos[name] = one.info(message, self.id, now)
            if hidden and (others := [*islice(_overridden(message, one, hidden, ctx), MOST_OVERRIDDEN)]):
                kept[name] = others
        if not kept:
            return message.derive(payload, fields=infos)
        return message.derive(payload, fields=infos, meta={**(message.meta or {}), "overridden": {**hidden, **kept}})


class Made:
    """One of the new fields: what makes it, and from what."""

    def __init__(self, name: str, text: str, ctx: Context) -> None:
        self.name = name
        self.program = ctx.condition(text)
        self.quick = self.program.quick
        self.used = tuple(one for one in measured_names(self.program.expression) if one not in ctx.vars)
        self._units: dict[tuple[str | None, ...], str | None] = {}

    def info(self, message: Message, source: str, now: Instant) -> FieldInfo:
        """What is known of the result."""
        own = message.fields
        if self.used and (not own or not any(name in own for name in self.used)):  # all as the message: by far the most
            return FieldInfo(
                at=message.at, received_at=message.received_at, source=source, origin=message.origin,
                quality=message.quality, unit=self._unit((None,) * len(self.used)),
            )  # fmt: skip
        infos = [own.get(name) or message.as_info() for name in self.used] if own else []
        if not infos:
            return FieldInfo(at=now, received_at=now, source=source, unit=self._unit(()))
        first = infos[0]
        at, received_at, origin, quality = first.at, first.received_at, first.origin, first.quality
        since, until = first.valid_from, first.valid_until
        for one in infos[1:]:
            at, received_at = min(at, one.at), min(received_at, one.received_at)
            if one.origin != origin:
                origin = max(origin, one.origin, key=ORIGINS.index)
            if one.quality != quality:
                quality = worst((quality, one.quality))
            if since is None or (one.valid_from is not None and one.valid_from > since):
                since = one.valid_from
            if until is None or (one.valid_until is not None and one.valid_until < until):
                until = one.valid_until
        return FieldInfo(
            at=at, received_at=received_at, source=source, origin=origin, quality=quality, valid_from=since,
            valid_until=until, unit=self._unit(tuple([one.unit for one in infos])),
        )  # fmt: skip

    def _unit(self, units: tuple[str | None, ...]) -> str | None:
        """Of the result, by those of what it is made of; kept, as they hardly ever change."""
        if units not in self._units:
            if len(self._units) >= MOST_UNITS:  # they may come from the outside
                self._units.clear()
            known = {name: unit for name, unit in zip(self.used, units, strict=True) if unit}
            self._units[units] = unit_of(self.program.expression, known)
        return self._units[units]


def _overridden(message: Message, made: Made, hidden: Mapping[str, list[JSON]], ctx: Context) -> Iterator[JSON]:
    """The results for the automatic values that manual ones took the place of: a threshold judges these too."""
    names = [name for name in made.used if hidden.get(name)]
    if not names:
        return
    ways = product(*([message.payload[name], *hidden[name]] for name in names))
    for values in islice(ways, 1, None):  # the first is what the record says
        try:
            changed = message.derive(message.payload | dict(zip(names, values, strict=True)))
            yield made.program.evaluate(ctx.scope(changed))
        except (Unusable, EvaluationError):
            continue  # no more a value than the field itself would be; nothing of it is used
