"""The last value of a node in a few words: ``soc 75.5 %, active power 2.5 MW, temperature 28.3 °C``. Pure.

What a value says of itself is told in words: stale, bad, uncertain, manual, simulated, planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

from flowrunner.message import JSON, NOT_YET, FieldInfo, Instant, Message
from flowrunner.units import DURATION_UNITS, iso

Tone = Literal["", "good", "quiet", "warning", "bad", "strong"]
"""What a piece of text means; the painter knows the colours."""
Piece: TypeAlias = tuple[str, Tone]
Mask = Callable[[str], str]

MOST_FIELDS = 8
"""More have no room on any screen."""
LONGEST = 60
"""Characters of one text."""
LOOKED_AT = 4096
"""Characters of a text that are looked at: secrets are sought in them before they are cut."""
UNIT_WORDS = {
    "%": {"percent", "pct"},
    "°C": {"c", "celsius"},
    "MW": {"mw"}, "kW": {"kw"}, "W": {"w"}, "MWh": {"mwh"}, "kWh": {"kwh"}, "Wh": {"wh"},
    "V": {"v"}, "A": {"a"}, "Hz": {"hz"}, "EUR/MWh": {"eur", "mwh"}, "s": {"s"},
}  # fmt: skip
"""Unit → how names of fields spell it: said once is enough."""


def plain(text: str, mask: Mask, most: int = LONGEST) -> str:
    """A text from outside on one line: secrets masked, no control characters, cut to ``most``."""
    text = mask(text[:LOOKED_AT])
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)


def name_text(name: str, unit: str | None, mask: Mask) -> str:
    """``active_power_mw`` in MW → ``active power``; without a unit the name stays as it is."""
    words = name.split("_")
    spelled = UNIT_WORDS.get(unit or "", set())
    kept = list(words)
    while len(kept) > 1 and kept[-1].lower() in spelled:
        kept.pop()
    return plain(" ".join(kept) if kept != words else name, mask, 32)


def value_text(value: JSON, mask: Mask) -> str:
    """A value in short; what has many parts is counted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{float(value):.6g}" if abs(value) < 10**300 else "huge"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e-4 or abs(value) >= 1e6 else f"{round(value, 4):.10g}"
    if isinstance(value, list):
        return f"[{len(value)} {'item' if len(value) == 1 else 'items'}]"
    if isinstance(value, dict):
        return f"{{{len(value)} {'field' if len(value) == 1 else 'fields'}}}"
    return plain(str(value), mask)


def mark(info: FieldInfo, now: Instant) -> Piece:
    """What must be known of a value before it is believed; ``""`` when there is nothing."""
    trouble = info.trouble(now)
    if trouble == NOT_YET and info.valid_from is not None:
        return f"from {iso(info.valid_from)[11:16]}Z", "quiet"  # the price of a delivery to come
    if trouble:
        return trouble, "bad" if trouble == "bad" else "warning"
    return ("", "") if info.origin == "automatic" else (info.origin, "strong")


def message_pieces(message: Message, first: Iterable[str], now: Instant, mask: Mask) -> list[Piece]:
    """A message in short, the fields ``first`` before the others. A mark that holds for all of them is said once."""
    payload = message.payload
    if not isinstance(payload, dict):
        info = message.as_info()
        unit = (message.fields or {}).get("value", info).unit
        value = value_text(payload, mask) + (f" {plain(unit, mask, 12)}" if unit else "")
        return [*_before(mark(info, now)), (value, "")]
    names = list(dict.fromkeys([*(one for one in first if one in payload), *message.field_names()]))[:MOST_FIELDS]
    infos = {name: message.info(name) for name in names}
    marks = {name: mark(info, now) for name, info in infos.items()}
    common = next(iter(marks.values()), ("", ""))
    shared = len(names) > 1 and all(one == common for one in marks.values())
    pieces: list[Piece] = _before(common) if shared else []
    for number, name in enumerate(names):
        if number:
            pieces.append((", ", "quiet"))
        pieces += _field(name, payload, infos[name], ("", "") if shared else marks[name], mask)
    return pieces or [("{}", "quiet")]


def _field(name: str, payload: dict[str, JSON], info: FieldInfo, said: Piece, mask: Mask) -> Iterable[Piece]:
    yield f"{name_text(name, info.unit, mask)} ", "quiet"
    if name not in payload:
        yield said if said[0] else ("missing", "bad")
        return
    unit = f" {plain(info.unit, mask, 12)}" if info.unit else ""
    yield f"{value_text(payload[name], mask)}{unit}", said[1] if said[1] in ("bad", "warning") else ""
    if said[0]:
        yield f" {said[0]}", said[1]


def _before(said: Piece) -> list[Piece]:
    return [(f"{said[0]}: ", said[1])] if said[0] else []


def age_text(ns: int) -> str:
    """``3 s``, ``12 min``, ``5 h``, ``2 d``: rounded down."""
    for unit in ("d", "h", "min"):
        if ns >= DURATION_UNITS[unit]:
            return f"{ns // DURATION_UNITS[unit]} {unit}"
    return f"{max(ns, 0) // DURATION_UNITS['s']} s"
