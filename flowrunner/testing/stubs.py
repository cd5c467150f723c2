"""``stub:`` of a test: what stands in for a node or its peer says and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from flowrunner.errors import did_you_mean
from flowrunner.fields import is_number
from flowrunner.message import JSON
from flowrunner.node import Node
from flowrunner.units import Duration

OPTIONS = ("value", "values", "repeat", "rejects", "error", "reason", "delay", "stored")
Kind = Literal["says", "accepts", "rejects", "fails", "is-silent"]
PRICE = "price_eur_mwh"


class Stub(msgspec.Struct, frozen=True, kw_only=True):
    """What a stub does; see :func:`read_stub`."""

    kind: Kind
    values: tuple[JSON, ...] = ()
    status: int = 0
    reason: str = ""
    delay_s: float = 0.0
    stored: bool = False
    repeat: bool = False
    """Whether the values begin again behind the last one; else the last one goes on."""


def read_stub(given: JSON) -> Stub:
    """``accepts``, ``silence``, a map of `OPTIONS`, a list of values, or any other value. ValueError says what is wrong
    with it."""
    if given == "accepts":
        return Stub(kind="accepts")
    if given == "silence":
        return Stub(kind="is-silent")
    if isinstance(given, list):
        return _saying(given)
    own = [name for name in OPTIONS if isinstance(given, dict) and name in given]
    if not isinstance(given, dict) or not own:
        return _saying([given])
    if others := [name for name in given if name not in OPTIONS]:
        hint = did_you_mean(others[0], OPTIONS) or f"a record with a field {own[0]!r} is written {{value: {{…}}}}"
        raise ValueError(f"{', '.join(others)} beside {', '.join(own)}: a record, or what it answers? {hint}")
    given = dict(given)
    delay = given.pop("delay", "0s")
    if not isinstance(delay, str):
        raise ValueError(f"delay: {delay!r} is not a duration like 5s")
    delay_s, stored, reason = Duration.parse(delay).seconds, given.pop("stored", False), given.pop("reason", "")
    repeat = given.pop("repeat", False)
    if not isinstance(repeat, bool) or (repeat and "values" not in given):
        raise ValueError("repeat: it is true or false, beside values")
    if not isinstance(reason, str):
        raise ValueError("reason: it is a text")
    if not isinstance(stored, bool):
        raise ValueError("stored: it is true or false")
    if reason and "rejects" not in given:
        raise ValueError("reason: it belongs to rejects")
    if stored and not given.keys() & {"rejects", "error"}:
        raise ValueError("stored: it belongs to rejects and error; what is accepted is stored anyway")
    stub = _answering(given, reason, delay_s > 0)
    return msgspec.structs.replace(stub, delay_s=delay_s, stored=stored, repeat=repeat)


def _answering(given: Mapping[str, JSON], reason: str, delayed: bool) -> Stub:
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other")
    if "value" in given:
        return _saying([given["value"]])
    if "values" in given:
        if not isinstance(given["values"], list):
            raise ValueError("values: it is a list")
        return _saying(given["values"])
    if "rejects" in given:
        status = given["rejects"]
        if not isinstance(status, int) or isinstance(status, bool) or not 400 <= status <= 599:
            raise ValueError(f"rejects: {status!r} is not a status from 400 to 599")
        text = f"{status}: {reason}" if reason else f"{status}: refused by the test"
        return Stub(kind="rejects", status=status, reason=text)
    if "error" in given:
        if not isinstance(given["error"], str):
            raise ValueError("error: it is a text")
        return Stub(kind="fails", reason=given["error"])
    if not delayed:
        raise ValueError("it says nothing; write accepts, or what it answers")
    return Stub(kind="accepts")


def _saying(values: Sequence[JSON]) -> Stub:
    if not values:
        raise ValueError("a list of no values says nothing; write silence")
    return Stub(kind="says", values=tuple(values))


def fault(stub: Stub, node: Node, *, source: bool) -> str:
    """Why this node cannot be stubbed so, or ""."""
    if node.peer == "exchange" and stub.kind == "says":
        return "an exchange says nothing by itself; write accepts, silence, {rejects: 400}, {error: …} or {delay: 5s}"
    if stub.stored and node.peer != "exchange":
        return "'stored' is of an exchange: nobody else can be asked for it later"
    if node.peer == "prices":
        if stub.kind in ("accepts", "rejects") or stub.status:
            return "prices are a number, a list of numbers, {value: 50, delay: 5s}, {error: …} or silence"
        if stub.repeat:
            return "prices follow the clock, each for its slot: write them out"
        wrong = next((one for one in stub.values if not _is_price(one)), None)
        return "" if wrong is None else f"{wrong!r:.60} is no price: write a number, null, or {{{PRICE}: 50}}"
    if source and stub.kind in ("accepts", "rejects"):
        return "nothing comes into it: it has nothing to accept or to refuse"
    if source and stub.kind == "fails" and (stub.status or stub.delay_s):
        return "nothing comes into it: write {error: …}, alone"
    if source and stub.repeat and getattr(node.options, "every", None) is None:
        return "it says its values once: it has no 'every' that they could be repeated at"
    if stub.kind == "says" and node.peer != "exchange" and "out" not in node.ports:
        return "it sends nothing on; write accepts, silence, {rejects: 400}, {error: …} or {delay: 5s}"
    return ""


def _is_price(value: JSON) -> bool:
    own = value.get(PRICE) if isinstance(value, dict) and value.keys() == {PRICE} else value
    return own is None or is_number(own)


def price_of(value: JSON) -> float | None:
    """A value that :func:`fault` has let through, in EUR/MWh."""
    own = value[PRICE] if isinstance(value, dict) else value
    return None if own is None else float(own)
