"""What a register map says: one entry of the option `registers`, and which entries contradict themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.errors import did_you_mean

Table = Literal["holding", "input", "coil", "discrete"]
Type = Literal[
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
    "string",
    "bits",
    "enum",
    "bool",
]
Order = Literal["big", "little"]

BIT_TABLES = ("coil", "discrete")
SIZES: Mapping[str, int] = {"int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}
"""Registers that a value of a type takes; one for the types that are not here, ``count`` for text and bits."""
NUMBERS = frozenset({"int16", "uint16", *SIZES})
MASKABLE = frozenset({"uint16", "uint32", "uint64", "enum"})
MAX_REGISTERS = 125
"""The most registers that one read may ask for (Modbus application protocol 1.1b3, 6.3)."""


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value of a device: where it is, how its bits are to be read, and what must hold of it."""

    table: Annotated[
        Table, Meta(description="Holding registers (function 3), input registers (4), coils (1), discrete inputs (2).")
    ] = "holding"
    address: Annotated[
        int,
        Meta(
            ge=0,
            le=65536,
            description="Address of the first register, as address_base counts; 65536 only with address_base: 1.",
        ),
    ]
    address_base: Annotated[
        Literal[0, 1], Meta(description="What the manual calls the first register: 0 (as on the wire) or 1.")
    ] = 0
    type: Annotated[
        Type, Meta(description="How the registers are read. Coils and discrete inputs are always bool.")
    ] = "uint16"
    count: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_REGISTERS)] | None,
        Meta(description="Number of registers of a string (two characters each) or of bits (1 unless told)."),
    ] = None
    word_order: Annotated[
        Order, Meta(description="Which register of a number comes first: the big end (usual) or the little end.")
    ] = "big"
    byte_order: Annotated[
        Order, Meta(description="Which byte of each register comes first: the big end (the standard) or the little.")
    ] = "big"
    scale: Annotated[float | int, Meta(description="The raw number is multiplied by this.")] = 1
    offset: Annotated[float | int, Meta(description="Added after scale, in the unit of the result.")] = 0
    scale_from: Annotated[
        str | None,
        Meta(description="Name of the int16 register here that holds the power of ten, -10 to 10 (SunSpec sunssf)."),
    ] = None
    na: Annotated[
        list[int],
        Meta(
            description="Raw values that mean 'no value', like 0x8000 or 0xFFFF: the bit pattern of the whole value "
            "or the signed number. NaN is always no value."
        ),
    ] = []
    min: Annotated[float | int | None, Meta(description="A value below this, after scaling, is refused as bad.")] = None
    max: Annotated[float | int | None, Meta(description="A value above this, after scaling, is refused as bad.")] = None
    unit: Annotated[str | None, Meta(description="Unit of the value after scaling: %, MW, °C.")] = None
    deadband: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="A value nearer than this to the last reported one repeats the last one; its time moves."),
    ] = None
    bit: Annotated[
        Annotated[int, Meta(ge=0, le=15)] | None,
        Meta(description="Read one bit of a uint16 as true or false; 0 is the lowest."),
    ] = None
    mask: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Keep only these bits of an unsigned number, moved down to bit 0."),
    ] = None
    enum: Annotated[
        dict[str | int, str] | None,
        Meta(description="Raw number to name, for type: enum. A number that is not here is bad."),
    ] = None

    @property
    def start(self) -> int:
        """Address on the wire, counted from 0."""
        return self.address - self.address_base

    @property
    def size(self) -> int:
        """Registers (or bits, in the bit tables) that the value takes."""
        return SIZES.get(self.type, self.count or 1)

    @property
    def is_number(self) -> bool:
        """Whether a number comes out, so that scaling and limits mean something."""
        return self.type in NUMBERS and self.bit is None and self.table not in BIT_TABLES

    def names(self) -> dict[int, str]:
        """The map of an enum with its raw numbers as numbers. ValueError when a key is not one."""
        return {key if isinstance(key, int) else int(key, 0): name for key, name in (self.enum or {}).items()}


Contradiction = tuple[str, str, str]
"""(name of the register, option of it, what is wrong and what to write)"""


def contradictions(registers: Mapping[str, Register], max_registers: int = MAX_REGISTERS) -> list[Contradiction]:
    """Everything in a register map that cannot be meant, in the order of the map. Empty: the map is sound."""
    return [
        (name, option, message)
        for name, register in registers.items()
        for option, message in (
            *_place(register, max_registers),
            *_bits(register),
            *_enum(register),
            *_number(register),
            *_na(register),
            *_scale_from(name, register, registers),
        )
    ]


_Finding = tuple[str, str]


def _place(register: Register, max_registers: int) -> Iterator[_Finding]:
    end = register.start + register.size - 1
    if register.start < 0:
        yield "address", "0 does not exist with address_base: 1; the first register is 1"
    elif end > 0xFFFF:
        yield "address", f"{register.type} at {register.address} reaches beyond the last register, 65535 on the wire"
    if register.table in BIT_TABLES:
        if register.type != "bool":
            yield "type", f"a value of table {register.table} is one bit; write type: bool, not {register.type}"
    elif register.type == "string" and register.count is None:
        yield "count", "a string needs its number of registers (two characters each), like count: 8"
    elif register.size > max_registers:
        yield "count", f"{register.size} registers do not fit in one read of at most {max_registers}"
    if register.count is not None and register.type not in ("string", "bits"):
        yield "count", f"only string and bits have a count; {register.type} takes {register.size}"


def _bits(register: Register) -> Iterator[_Finding]:
    if register.bit is not None and (register.type not in ("uint16", "bool") or register.table in BIT_TABLES):
        what = f"a {register.table}" if register.table in BIT_TABLES else register.type
        yield "bit", f"picks one of the 16 bits of a uint16, not of {what}"
    if register.mask is None:
        return
    if register.bit is not None:
        yield "mask", "and bit exclude each other; bit picks one bit, mask several"
    elif register.type not in MASKABLE or register.table in BIT_TABLES:
        yield "mask", f"needs uint16, uint32, uint64 or enum, not {register.type}"
    elif register.mask.bit_length() > 16 * register.size:
        yield "mask", f"{register.mask:#x} has more bits than {register.type}"


def _enum(register: Register) -> Iterator[_Finding]:
    if register.type == "enum" and not register.enum:
        yield "enum", "type enum needs its map, like enum: {0: off, 1: charging}"
    elif register.enum is not None and register.type != "enum":
        yield "enum", f"a map of names needs type: enum, not {register.type}"
    elif register.enum:
        try:
            numbers = register.names()
        except ValueError:
            yield "enum", "every key must be a whole number, like 0 or 0x1F"
            return
        if len(numbers) < len(register.enum):
            yield "enum", "two keys are the same number"
        outside = [number for number in numbers if not 0 <= number <= 0xFFFF]
        if outside:
            yield "enum", f"{outside[0]} does not fit in a register (0 to 65535)"


def _number(register: Register) -> Iterator[_Finding]:
    given: dict[str, float | None] = {
        "scale": None if register.scale == 1 else register.scale,
        "offset": register.offset or None,
        "min": register.min,
        "max": register.max,
        "deadband": register.deadband,
    }
    what = "one bit" if register.bit is not None else register.type
    for option, value in given.items():
        if value is None:
            continue
        if not register.is_number:
            yield option, f"needs a number, but {what} is none"
        elif isinstance(value, float) and not math.isfinite(value):
            yield option, f"{value} is not a finite number"
    if register.scale_from is not None and not register.is_number:
        yield "scale_from", f"needs a number, but {what} is none"
    if register.scale == 0:
        yield "scale", "0 would make every value the same"
    if register.min is not None and register.max is not None and register.min > register.max:
        yield "min", f"{register.min} is above max {register.max}: every value would be refused"


def _na(register: Register) -> Iterator[_Finding]:
    if not register.na:
        return
    if register.type == "string" or register.table in BIT_TABLES:
        yield "na", f"compares whole raw numbers; {register.type} of table {register.table} has none"
        return
    bits = 16 * register.size
    for value in register.na:
        if not -(1 << bits - 1) <= value < 1 << bits:
            yield "na", f"{value:#x} does not fit in the {bits} bits of {register.type}: it would never match"


def _scale_from(name: str, register: Register, registers: Mapping[str, Register]) -> Iterator[_Finding]:
    wanted = register.scale_from
    if wanted is None:
        return
    if wanted == name:
        yield "scale_from", "names the register itself"
    elif wanted not in registers:
        near = did_you_mean(wanted, (other for other in registers if other != name))
        yield "scale_from", f"there is no register {wanted!r} here" + (f", {near}" if near else "")
    else:
        power = registers[wanted]
        plain = power.scale == 1 and power.offset == 0 and power.scale_from is None and power.deadband is None
        if power.type != "int16" or not power.is_number or not plain:
            yield "scale_from", f"{wanted!r} must be a plain int16 without scaling: it holds a power of ten"
