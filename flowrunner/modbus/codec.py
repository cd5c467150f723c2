"""Registers to values and back: every type, word order, byte order, sentinel and scale; pure, no I/O."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import msgspec

from flowrunner.message import JSON, Quality
from flowrunner.modbus.registers import BIT_TABLES, SIZES, Register
from flowrunner.units import scaled

SUNSSF_NOT_IMPLEMENTED = 0x8000
"""A SunSpec scale factor that says that its point is not implemented (SunSpec device information model, sunssf)."""


class Reading(msgspec.Struct, frozen=True):
    """What one read of one register gave. ``value`` is None exactly when ``quality`` is bad; ``reason`` says why."""

    value: JSON
    quality: Quality = "good"
    reason: str = ""


def bad(reason: str) -> Reading:
    """No value, and why."""
    return Reading(None, "bad", reason)


class _NoValueError(Exception):
    """Ends a decoding; the text becomes the reason. Never leaves this file."""


def decode(register: Register, words: Sequence[int] | Sequence[bool], scale_power: int | None = None) -> Reading:
    """The value that ``words`` hold: registers as 0 to 65535, or one bit for coils and discrete inputs.

    ``scale_power`` is the power of ten that ``register.scale_from`` names, None when it could not be read. Never
    raises; whatever cannot be used is bad with a reason. Integers are exact up to 64 bits; scaling is decimal.
    """
    if len(words) != register.size:
        return bad(f"{len(words)} registers came where {register.size} were asked for")
    try:
        if register.table in BIT_TABLES:
            return Reading(bool(words[0]))
        return Reading(_value(register, _octets(register, words), scale_power))
    except _NoValueError as reason:
        return bad(str(reason))


def decode_power(register: Register, words: Sequence[int] | Sequence[bool]) -> Reading:
    """As :func:`decode`, for a register that others name in ``scale_from``: good only as a power from -10 to 10."""
    reading = decode(register, words)
    if reading.quality == "good" and not -10 <= reading.value <= 10:
        if reading.value & 0xFFFF == SUNSSF_NOT_IMPLEMENTED:
            return bad("no value (0x8000: not implemented)")
        return bad(f"{reading.value} is not a power of ten from -10 to 10")
    return reading


def encode(register: Register, raw: JSON) -> list[int]:
    """The registers (or, for the bit tables, the one bit) that hold ``raw``: the inverse of :func:`decode`.

    ``raw`` is the value in the terms of the type: a number before scale, offset, bit and mask; text; a list
    of bools, lowest bit first; the name of an enum. ValueError when it does not fit: nothing is cut or clamped.
    """
    try:
        if register.table in BIT_TABLES:
            return [int(_flag(raw))]
        octets = _to_octets(register, raw)
    except (TypeError, OverflowError, struct.error) as error:
        raise ValueError(f"{raw!r} does not fit in {register.type}: {error}") from error
    words = [int.from_bytes(octets[i : i + 2], register.byte_order) for i in range(0, len(octets), 2)]
    return words[::-1] if _swapped(register) else words


def _swapped(register: Register) -> bool:
    """Word order is about numbers; text and bits are in the order of their addresses."""
    return register.word_order == "little" and register.type in SIZES


def _octets(register: Register, words: Sequence[int]) -> bytes:
    """The bytes of the value, big end first."""
    ordered = reversed(words) if _swapped(register) else words
    return b"".join(word.to_bytes(2, register.byte_order) for word in ordered)


def _value(register: Register, octets: bytes, scale_power: int | None) -> JSON:
    pattern = int.from_bytes(octets)
    if register.type == "string":
        return _text(octets)
    if any((na ^ pattern) & (1 << 8 * len(octets)) - 1 == 0 for na in register.na):
        raise _NoValueError(f"no value ({pattern:#0{2 + 2 * len(octets)}x})")
    if register.bit is not None:
        return bool(pattern >> register.bit & 1)
    match register.type:
        case "bits":
            return [
                bool(int.from_bytes(octets[i : i + 2]) >> bit & 1)
                for i in range(0, len(octets), 2)
                for bit in range(16)
            ]
        case "bool":
            if pattern > 1:
                raise _NoValueError(f"{pattern} is neither 0 nor 1; to read one bit, say which by bit")
            return pattern == 1
        case "enum":
            raw = _masked(register, pattern)
            names = register.names()
            if raw not in names:
                raise _NoValueError(f"{raw} is not in the enum")
            return names[raw]
        case "float32" | "float64":
            number = _float(octets)
            if number in register.na:
                raise _NoValueError(f"no value ({number:g})")
            return _number(register, number, scale_power)
        case "int16" | "int32" | "int64":
            return _number(register, int.from_bytes(octets, signed=True), scale_power)
        case _:
            return _number(register, _masked(register, pattern), scale_power)


def _masked(register: Register, pattern: int) -> int:
    if register.mask is None:
        return pattern
    lowest = register.mask & -register.mask
    return (pattern & register.mask) // lowest


def _number(register: Register, raw: float, scale_power: int | None) -> float:
    """``raw`` in the unit of the register, within its limits."""
    factor = register.scale
    if register.scale_from is not None:
        if scale_power is None:
            raise _NoValueError(f"no value: its scale {register.scale_from} has none")
        factor = scaled(factor, 10**scale_power if scale_power >= 0 else float(f"1e{scale_power}"))
    value = scaled(raw, factor, register.offset) if _usable(factor) else math.inf
    if not _usable(value) or (isinstance(value, int) and not -(1 << 63) <= value < 1 << 64):
        raise _NoValueError(f"{raw} is out of every range after scaling")
    if register.min is not None and value < register.min:
        raise _NoValueError(f"{value} is below min {register.min}")
    if register.max is not None and value > register.max:
        raise _NoValueError(f"{value} is above max {register.max}")
    return value


def _usable(number: float) -> bool:
    """Finite; whole numbers always are, also those too large for a float."""
    return isinstance(number, int) or math.isfinite(number)


def _float(octets: bytes) -> float:
    """A float32 comes as the shortest decimal that is the same float32: 40.1, not 40.099998474.

    That is what the device means, nothing is lost, and a strict comparison with a limit of 40.1 says what a
    person expects.
    """
    form = ">f" if len(octets) == 4 else ">d"
    number: float = struct.unpack(form, octets)[0]
    if math.isnan(number):
        raise _NoValueError("no value (NaN)")
    if math.isinf(number):
        raise _NoValueError(f"{number} is not a finite number")
    if number == 0:
        return 0.0  # -0.0 is a curiosity of the format, not of the battery
    if form == ">f":
        candidates = (float(f"{number:.{digits}g}") for digits in range(6, 10))  # 9 digits always suffice
        number = next(short for short in candidates if struct.pack(form, short) == octets)
    return number


def _text(octets: bytes) -> str:
    try:
        text = octets.rstrip(b"\0 ").decode()
    except UnicodeDecodeError:
        raise _NoValueError(f"not text: {octets[:16].hex(' ')}") from None
    if not text.isprintable():
        raise _NoValueError(f"not printable text: {text[:16]!r}")
    return text


# ---- the way back -------------------------------------------------------------------------------------


def _to_octets(register: Register, raw: JSON) -> bytes:
    width = 2 * register.size
    match register.type:
        case "string":
            octets = str.encode(raw)
            if len(octets) > width:
                raise ValueError(f"{raw!r} is longer than the {width} bytes of its {register.size} registers")
            return octets.ljust(width, b"\0")
        case "bits":
            bits = [_flag(bit) for bit in raw]
            if len(bits) != 8 * width:
                raise ValueError(f"{len(bits)} bits where {8 * width} are needed")
            return b"".join(
                sum(bit << place for place, bit in enumerate(bits[i : i + 16])).to_bytes(2)
                for i in range(0, len(bits), 16)
            )
        case "enum":
            numbers = [number for number, name in register.names().items() if name == raw]
            if not numbers:
                raise ValueError(f"{raw!r} is not a name of the enum")
            return numbers[0].to_bytes(width)
        case "bool":
            return _flag(raw).to_bytes(width)
        case "float32" | "float64":
            return struct.pack(">f" if width == 4 else ">d", raw)
        case _:
            return int.to_bytes(raw, width, signed=register.type in ("int16", "int32", "int64"))


def _flag(raw: JSON) -> bool:
    if raw is True or raw is False:
        return bool(raw)
    raise TypeError("true or false is needed")
