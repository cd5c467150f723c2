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
    Program,
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
        self.programs = {name: ctx.condition(text) for name, text in self.options.fields.items()}
        self.inputs_of = {
            name: tuple(one for one in measured_names(program.expression) if one not in ctx.vars)
            for name, program in self.programs.items()
        }

    def process(self, message: Message, ctx: Context) -> Message:
        record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        taken = [name for name in self.programs if name in record or name in (message.fields or {})]
        if taken:
            raise Reject("field-exists", f"the record has a field {taken[0]!r} already; it is not overwritten")
        payload, infos = dict(record), dict(message.fields or {})
        now, scope = ctx.now(), ctx.scope(message)
        hidden = (message.meta or {}).get("overridden") or {}
        kept: dict[str, list[JSON]] = {}
        for name, program in self.programs.items():
            used = self.inputs_of[name]
            try:
                payload[name] = program.evaluate(scope)
            except (Unusable, EvaluationError) as error:
                infos[name] = FieldInfo(at=now, received_at=now, source=self.id, quality="bad")
                ctx.error("expression", f"{name}: {error}", message)
                continue
            known = {one: message.info(one) for one in used}
            infos[name] = self._info(program, known, now)
            if others := [*islice(_overridden(message, program, used, hidden, ctx), MOST_OVERRIDDEN)]:
                kept[name] = others
        meta = {**(message.meta or {}), "overridden": {**hidden, **kept}} if kept else message.meta
        return message.derive(payload, fields=infos, meta=meta)

    def _info(self, program: Program, known: Mapping[str, FieldInfo], now: Instant) -> FieldInfo:
        infos = known.values()
        return FieldInfo(
            at=min((one.at for one in infos), default=now),
            received_at=min((one.received_at for one in infos), default=now),
            source=self.id,
            origin=max((one.origin for one in infos), key=ORIGINS.index, default="automatic"),
            quality=worst(one.quality for one in infos),
            valid_from=max((one.valid_from for one in infos if one.valid_from is not None), default=None),
            valid_until=min((one.valid_until for one in infos if one.valid_until is not None), default=None),
            unit=unit_of(program.expression, {name: one.unit for name, one in known.items() if one.unit}),
        )


def _overridden(
    message: Message, program: Program, used: tuple[str, ...], hidden: Mapping[str, list[JSON]], ctx: Context
) -> Iterator[JSON]:
    """The results for the automatic values that manual ones took the place of: a threshold judges these too."""
    names = [name for name in used if hidden.get(name)]
    if not names:
        return
    ways = product(*([message.payload[name], *hidden[name]] for name in names))
    for values in islice(ways, 1, None):  # the first is what the record says
        try:
            changed = message.derive(message.payload | dict(zip(names, values, strict=True)))
            yield program.evaluate(ctx.scope(changed))
        except (Unusable, EvaluationError):
            continue  # no more a value than the field itself would be; nothing of it is used
