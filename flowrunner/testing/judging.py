"""Expectations, judged by what was seen; and, where one is not met, what came instead and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.expression import EvaluationError, Program, RecordScope, Unusable, program_of
from flowrunner.expression.scope import SCALAR_PAYLOAD
from flowrunner.flowfile import Expectation
from flowrunner.graph.model import ERROR_SHAPE
from flowrunner.message import JSON, Message
from flowrunner.testing.checking import split
from flowrunner.testing.reasons import why
from flowrunner.testing.rig import Sent
from flowrunner.testing.view import View, as_json
from flowrunner.units import SECOND

SHOWN = 5
"""Messages that are shown of what came."""


def judge(one: Expectation, view: View) -> list[str]:
    """Nothing when it is met; else what was expected, what came instead, and why."""
    if one.order is not None:
        return _judge_order(one.order, view)
    came = list(_came(one, view))
    late = came if one.within is None else _came(one, view, view.before)
    met = [sent for sent in late if _meets(one, sent, view)]
    failure = _count(one, met) or _equals(one, met) or _never_there(one, came, view)
    if not failure:
        return []
    instead = "; instead:" if came and not met else ""
    lines = [f"expected {_wanted(one)}", f"but {failure}{instead}"]
    return [*lines, *_shown(one, came, met, view), *why(one, view)]


def _came(one: Expectation, view: View, start: int = 0) -> Iterator[Sent]:
    """What left by the port, or came into the node; without the first ``start`` messages of all."""
    if one.from_ is not None:
        name, port = split(one.from_)
        outputs = {(view.node(name).address, port)}
    else:
        outputs = {(wire.source, wire.port) for wire in view.node(one.into or "").wires}
    return (sent for sent in view.watching.sent[start:] if (sent.address, sent.port) in outputs)


def _never_there(one: Expectation, came: Sequence[Sent], view: View) -> str:
    """A name of ``where`` that nothing knows: not the flow, and none of the messages. It may be a slip of the pen, and
    then that nothing met it says nothing."""
    if one.where is None or not came:
        return ""
    names = dict.fromkeys(_program(one.where, view).expression.names)
    known = {name for sent in came for name in (sent.message.payload if isinstance(sent.message.payload, dict) else ())}
    known |= {*_variables(view), SCALAR_PAYLOAD}
    if one.from_ is not None:
        name, port = split(one.from_)
        known |= {*view.node(name).shapes.get(port, ERROR_SHAPE).fields}
    else:
        known |= {*view.node(one.into or "").incoming.fields}
    missing = [name for name in names if name not in known]
    return f"no message has a field {missing[0]!r}" if missing else ""


def _meets(one: Expectation, sent: Sent, view: View) -> bool:
    if one.within is not None and sent.at > view.since + one.within:
        return False
    if one.where is None:
        return True
    program = _program(one.where, view)
    try:
        return program.test(_AsItLeft(sent, view.zone))
    except (Unusable, EvaluationError):
        return False


class _AsItLeft(RecordScope):
    """Every value may be looked at, stale and bad ones too, and has its age."""

    def __init__(self, sent: Sent, zone: ZoneInfo) -> None:
        plain = msgspec.structs.replace(sent.message, fields=None, quality="good", at=sent.at, received_at=sent.at)
        super().__init__(plain, sent.at, zone)
        self._sent = sent

    def age(self, name: str) -> float:
        self.value(name)
        return self._sent.message.info(name).age_ns(self._sent.at) / SECOND


def _program(text: str, view: View) -> Program:
    return program_of(text, _variables(view))


def _variables(view: View) -> Mapping[str, JSON]:
    return next(one.vars for one in view.nodes.values() if one.flow == view.flow)


def _count(one: Expectation, met: Sequence[Sent]) -> str:
    found = len(met)
    if one.never or one.count == 0:
        return f"{_messages(found)} came" if found else ""
    if one.count is not None:
        return f"{_messages(found)} came" if found != one.count else ""
    if one.at_most is not None and found > one.at_most:
        return f"{_messages(found)} came"
    least = one.at_least if one.at_least is not None else 0 if one.at_most is not None else 1
    if found >= least or isinstance(one.equals, list):
        return ""
    return f"{_messages(found)} came" if found else "none came"


def _equals(one: Expectation, met: Sequence[Sent]) -> str:
    if one.equals is msgspec.UNSET:
        return ""
    wanted = one.equals if isinstance(one.equals, list) else [one.equals]
    if len(wanted) != len(met):
        return f"{_messages(len(met))} came"
    for number, (value, sent) in enumerate(zip(wanted, met, strict=True), 1):
        if wrong := _difference(value, sent.message.payload):
            return f"in number {number} {wrong}" if len(wanted) > 1 else wrong
    return ""


def _difference(wanted: JSON, payload: JSON) -> str:
    """Of a record only what is named counts."""
    if not isinstance(wanted, dict) or not isinstance(payload, dict):
        return "" if _same(wanted, payload) else f"it is {as_json(payload)}"
    wrong = [
        f"{name} is {as_json(payload[name])}, not {as_json(value)}" if name in payload else f"there is no {name}"
        for name, value in wanted.items()
        if name not in payload or not _same(payload[name], value)
    ]
    return "; ".join(wrong)


def _same(one: JSON, other: JSON) -> bool:
    """Numbers by their value: 1 is 1.0, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _judge_order(wires: Sequence[str], view: View) -> list[str]:
    first: dict[str, Sent] = {}
    place: dict[str, int] = {}
    for wire in dict.fromkeys(wires):
        address, port = view.node(split(wire)[0]).address, split(wire)[1]
        for number, sent in enumerate(view.watching.sent):
            if (sent.address, sent.port) == (address, port):
                first[wire], place[wire] = sent, number
                break
    missing = [wire for wire in wires if wire not in first]
    ordered = sorted(first, key=place.__getitem__)
    if not missing and ordered == list(wires):
        return []
    lines = [f"expected messages in the order {', '.join(wires)}"]
    lines.append(f"but nothing left {' and '.join(missing)}" if missing else f"but they came as {', '.join(ordered)}")
    return [
        *lines,
        *(f"    {view.clock(first[wire].at)}  {wire}: {as_json(first[wire].message.payload)}" for wire in ordered),
    ]


# ---- in words -----------------------------------------------------------------------------------------------------


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count or 'no'} messages"


def _wanted(one: Expectation) -> str:
    where = f"from {one.from_}" if one.from_ is not None else f"into {one.into}"
    if one.where is not None:
        where += f" where {one.where}"
    if one.within is not None:
        where += f" within {one.within}"
    if one.equals is not msgspec.UNSET:
        return f"{where}: {as_json(one.equals)}"
    if one.never or one.count == 0:
        return f"no message {where}"
    if one.count is not None:
        return f"{_messages(one.count)} {where}"
    bounds = [f"at least {one.at_least}"] if one.at_least is not None else []
    bounds += [f"at most {one.at_most}"] if one.at_most is not None else []
    return f"{' and '.join(bounds)} messages {where}" if bounds else f"a message {where}"


def _shown(one: Expectation, came: Sequence[Sent], met: Sequence[Sent], view: View) -> list[str]:
    """Those that meet it, where there are too many; else all that came."""
    shown = met if met and (one.never or len(met) > (one.count or 0)) else came
    if not shown:
        return []
    named = _names(one, view)
    lines = [f"    {view.clock(sent.at)}  {_payload(sent.message, named)}" for sent in shown[:SHOWN]]
    if one.within is not None:
        lines.append(f"    ({view.done} was at {view.clock(view.since)})")
    return lines if len(shown) <= SHOWN else [*lines, f"    … and {len(shown) - SHOWN} more"]


def _names(one: Expectation, view: View) -> list[str]:
    names = list(_program(one.where, view).expression.names) if one.where is not None else []
    values = one.equals if isinstance(one.equals, list) else [one.equals]
    return list(dict.fromkeys([*names, *(name for value in values if isinstance(value, dict) for name in value)]))


def _payload(message: Message, first: Sequence[str]) -> str:
    """What was asked for comes first: the end may be cut off."""
    payload = message.payload
    if isinstance(payload, dict):
        payload = {name: payload[name] for name in first if name in payload} | payload
    return as_json(payload)
