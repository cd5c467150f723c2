"""What the tests of expressions share: one evaluation in one call, over a real message."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from flowrunner.expression import Program, RecordScope, Scalar, compile_expression, parse
from flowrunner.message import JSON, FieldInfo, Message
from flowrunner.units import SECOND, parse_instant

NOW = parse_instant("2025-01-25T02:00:00+01:00")  # a Saturday
VIENNA = ZoneInfo("Europe/Vienna")


def message(payload: JSON, fields: dict[str, FieldInfo] | None = None) -> Message:
    return Message(payload=payload, at=NOW, received_at=NOW, source="telemetry", fields=fields)


def info(age_s: float = 0, **changes: object) -> FieldInfo:
    at = NOW - int(age_s * SECOND)
    given = {"at": at, "received_at": max(at, NOW) if age_s < 0 else at, "source": "modbus"} | changes
    return FieldInfo(**given)  # type: ignore[arg-type]


def scope(payload: JSON, fields: dict[str, FieldInfo] | None = None, now: int = NOW) -> RecordScope:
    return RecordScope(message(payload, fields), now, VIENNA)


def program(text: str, variables: Mapping[str, Scalar] | None = None) -> Program:
    return compile_expression(parse(text), variables or {})


def value_of(text: str, now: int = NOW, **fields: JSON) -> Scalar:
    return program(text).evaluate(scope(fields, now=now))
