"""Registers to values: DOMAIN's table of real devices, and every type forth and back."""

import math
import struct
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.modbus import Reading, Register, contradictions, decode, encode
from flowrunner.modbus.codec import decode_power


def reg(type: Any = "uint16", **options: Any) -> Register:  # noqa: A002
    return Register(address=0, type=type, **options)


REAL = [
    (reg("uint16", scale=0.01), [7500], 75.0),
    (reg("int16", scale=0.001), [2500], 2.5),
    (reg("int16", scale=0.1), [283], 28.3),
    (reg("int16", scale=0.001), [0xF63C], -2.5),
    (reg("int16", scale=0.1), [0xFFCE], -5.0),
    (reg("float32"), [0x449A, 0x51EC], 1234.56),
    (reg("float32", word_order="little"), [0x51EC, 0x449A], 1234.56),
    (reg("float32", byte_order="little"), [0x9A44, 0xEC51], 1234.56),
    (reg("float32", word_order="little", byte_order="little"), [0xEC51, 0x9A44], 1234.56),
    (reg("int32"), [0x89AB, 0xCDEF], -1985229329),
    (reg("uint32"), [0x89AB, 0xCDEF], 2309737967),
    (reg("uint64"), [0x89AB, 0xCDEF, 0x0123, 0x4567], 9920249030613615975),
    (
        reg("string", count=8),
        [0x3037, 0x2D30, 0x352D, 0x3230, 0x3230, 0x2031, 0x343A, 0x3335],
        "07-05-2020 14:35",
    ),
    (reg("string", count=3, byte_order="little"), [0x6241, 0x0063, 0x2000], "Abc"),
    (reg("bits"), [0x8005], [True, False, True, *[False] * 12, True]),
    (reg("bits", count=2), [1, 2], [True, *[False] * 15, False, True, *[False] * 14]),
    (reg("bool"), [1], True),
    (reg("bool"), [0], False),
    (reg(bit=15), [0x8000], True),
    (reg("bool", bit=0), [0x8000], False),
    (reg(mask=0x0FF0), [0x1234], 0x23),
    (reg(mask=0x0F00, scale=10), [0x1234], 20),
    (reg("enum", enum={0: "off", "0x2": "charging"}), [2], "charging"),
    (reg("enum", enum={3: "fault"}, mask=0x30), [0x3F], "fault"),
    (reg("float32"), [0x4220, 0x6666], 40.1),  # as a double it would be 40.099998474…
    (reg("float32"), [0x8000, 0], 0.0),
    (reg("int16", offset=-273), [300], 27),
    (reg("uint64", scale=2, offset=1), [0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF], 2**64 - 1),
    (reg("int64", scale=0.001), [0, 0, 0, 1], 0.001),
]


@pytest.mark.parametrize(("register", "words", "value"), REAL)
def test_registers_of_real_devices(register: Register, words: list[int], value: object) -> None:
    reading = decode(register, words)
    assert reading == Reading(value)
    assert type(reading.value) is type(value)
    assert contradictions({"x": register}) == []


def test_a_float_to_five_places() -> None:
    assert decode(reg("float32"), [0x3F9E, 0x0651]).value == pytest.approx(1.23457, abs=5e-6)


@pytest.mark.parametrize("type_", ["bool"])
def test_coils_are_bits(type_: str) -> None:
    coil = reg(type_, table="coil")
    assert decode(coil, [True]) == Reading(True)
    assert decode(coil, [False]) == Reading(False)
    assert encode(coil, True) == [1]


@pytest.mark.parametrize(
    ("register", "words", "reason"),
    [
        (reg("uint16", na=[0xFFFF]), [0xFFFF], "no value (0xffff)"),
        (reg("uint32", na=[0xFFFFFFFF]), [0xFFFF, 0xFFFF], "no value (0xffffffff)"),
        (reg("int32", na=[0x80000000]), [0x8000, 0], "no value (0x80000000)"),
        (reg("int16", na=[0x8000]), [0x8000], "no value (0x8000)"),
        (reg("int16", na=[-32768]), [0x8000], "no value (0x8000)"),
        (reg("int16", na=[-1]), [0xFFFF], "no value (0xffff)"),
        (reg("uint64", na=[2**64 - 1]), [0xFFFF] * 4, "no value (0xffffffffffffffff)"),
        (reg("int16", na=[0x8000], word_order="little", byte_order="little"), [0x0080], "no value (0x8000)"),
        (reg("enum", enum={0: "off"}, na=[0xFFFF]), [0xFFFF], "no value (0xffff)"),
        (reg("bits", count=2, na=[0xFFFFFFFF]), [0xFFFF, 0xFFFF], "no value (0xffffffff)"),
        (reg(bit=3, na=[0xFFFF]), [0xFFFF], "no value (0xffff)"),
        (reg("float32", na=[-9999]), [0xC61C, 0x3C00], "no value (-9999)"),
        (reg("float32", na=[0x7F7FFFFF]), [0x7F7F, 0xFFFF], "no value (0x7f7fffff)"),
        (reg("float32"), [0x7FC0, 0], "no value (NaN)"),
        (reg("float32"), [0xFFFF, 0xFFFF], "no value (NaN)"),
        (reg("float64"), [0x7FF8, 0, 0, 0], "no value (NaN)"),
        (reg("float32"), [0x7F80, 0], "inf is not a finite number"),
        (reg("float64", scale=1e300), [0x7FE0, 0, 0, 0], "8.98846567431158e+307 is out of every range after scaling"),
        (reg("int16", scale=1e301, scale_from="sf"), [0], "0 is out of every range after scaling"),
        (reg("float32", scale=10**400), [0x4220, 0x6666], "40.1 is out of every range after scaling"),
        (reg("uint64", scale=2), [0xFFFF] * 4, "18446744073709551615 is out of every range after scaling"),
        (reg(max=100, scale=0.01), [10001], "100.01 is above max 100"),
        (reg("int16", min=-20), [0xFFEB], "-21 is below min -20"),
        (reg("enum", enum={0: "off"}), [7], "7 is not in the enum"),
        (reg("bool"), [2], "2 is neither 0 nor 1; to read one bit, say which by bit"),
        (reg("string", count=1), [0x4107], "not printable text: 'A\\x07'"),
        (reg("string", count=1), [0xFFFF], "not text: ff ff"),
        (reg("string", count=2), [0x4100, 0x4200], "not printable text: 'A\\x00B'"),
        (reg("int32"), [1], "1 registers came where 2 were asked for"),
        (reg("int32"), [1, 2, 3], "3 registers came where 2 were asked for"),
        (reg("uint16"), [], "0 registers came where 1 were asked for"),
        (reg(scale_from="sf"), [7550], "no value: its scale sf has none"),
    ],
)
def test_what_is_no_value_is_bad_with_a_reason_and_never_a_number(
    register: Register, words: list[int], reason: str
) -> None:
    power = 8 if register.scale == 1e301 else None
    assert decode(register, words, power) == Reading(None, "bad", reason)


@pytest.mark.parametrize("words", [[0x7FFF], [0x8001], [0], [0xFFFE]])
def test_a_neighbour_of_the_sentinel_is_a_value(words: list[int]) -> None:
    assert decode(reg("int16", na=[0x8000, -1]), words).quality == "good"


def test_limits_belong_to_the_range() -> None:
    both = reg(scale=0.01, min=0, max=100)
    assert decode(both, [10000]) == Reading(100.0)
    assert decode(both, [0]) == Reading(0.0)


# ---- SunSpec


def test_scale_from_another_register() -> None:
    soc, power = reg("uint16", scale_from="sf"), reg("int16", scale_from="sf")
    factor = reg("int16")
    assert decode(soc, [7550], decode_power(factor, [0xFFFE]).value) == Reading(75.5)
    watts = decode(power, [0xF63C], decode_power(factor, [3]).value)
    assert watts == Reading(-2500000)
    assert isinstance(watts.value, int)
    assert decode_power(factor, [0x8000]) == Reading(None, "bad", "no value (0x8000: not implemented)")
    assert decode_power(factor, [11]) == Reading(None, "bad", "11 is not a power of ten from -10 to 10")


@given(st.integers(-32768, 32767), st.integers(-10, 10))
def test_powers_of_ten_are_exact_decimals(raw: int, power: int) -> None:
    reading = decode(reg("int16", scale_from="sf"), [raw & 0xFFFF], power)
    assert reading.value == (raw * 10**power if power >= 0 else float(f"{raw}e{power}"))


# ---- forth and back

FORMATS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"} | {
    "float32": "f",
    "float64": "d",
}
orders = st.sampled_from(["big", "little"])


@st.composite
def numbers(draw: st.DrawFn) -> tuple[Register, float]:
    register = reg(draw(st.sampled_from(list(FORMATS))), word_order=draw(orders), byte_order=draw(orders))
    bits = 16 * register.size
    if register.type.startswith("float"):
        return register, draw(st.floats(allow_nan=False, allow_infinity=False, width=32 if bits == 32 else 64))
    if register.type.startswith("uint"):
        return register, draw(st.integers(0, 2**bits - 1))
    return register, draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


def packed(register: Register, number: float) -> list[int]:
    """The registers by the book: struct's bytes, words and bytes turned as the orders say."""
    octets = struct.pack(">" + FORMATS[register.type], number)
    words = list(struct.unpack((">" if register.byte_order == "big" else "<") + f"{register.size}H", octets))
    return words[::-1] if register.word_order == "little" else words


def digits(number: float) -> int:
    """How many it takes to write the number, without its exponent."""
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


@given(numbers())
def test_every_number_type_in_every_order(drawn: tuple[Register, float]) -> None:
    register, number = drawn
    words = packed(register, number)
    assert encode(register, number) == words
    reading = decode(register, words)
    assert reading.quality == "good"
    if register.type == "float32":
        assert struct.pack(">f", reading.value) == struct.pack(">f", number or 0.0)
        assert digits(reading.value) <= digits(number or 0.0), "the shortest decimal"
    else:
        assert reading.value == number
        assert type(reading.value) is type(number)


@pytest.mark.parametrize("number", [3.4028234663852886e38, 1e-45, 1.1754943508222875e-38, 16777216.0, 0.1])
def test_the_edges_of_float32(number: float) -> None:
    value = decode(reg("float32"), list(struct.unpack(">2H", struct.pack(">f", number)))).value
    assert struct.pack(">f", value) == struct.pack(">f", number)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1, -(2**53) - 1])
def test_64_bit_integers_stay_exact(number: int) -> None:
    register = reg("int64", word_order="little")
    assert decode(register, encode(register, number)).value == number
    assert decode(register, encode(register, number)).value != float(number) or float(number) == number


printable = st.text(st.characters(min_codepoint=32, codec="utf-8").filter(str.isprintable), max_size=16)


@given(printable, orders)
def test_text(text: str, byte_order: Any) -> None:
    register = reg("string", count=32, byte_order=byte_order, word_order=byte_order)
    words = encode(register, text)
    if byte_order == "big":
        assert b"".join(word.to_bytes(2) for word in words).startswith(text.encode())
    assert decode(register, words) == Reading(text.rstrip(" "))


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.booleans(), min_size=16 * n, max_size=16 * n)), orders)
def test_bits(bits: list[bool], byte_order: Any) -> None:
    register = reg("bits", count=len(bits) // 16, byte_order=byte_order)
    assert decode(register, encode(register, bits)) == Reading(bits)


@given(st.booleans())
def test_bool_and_enum(value: bool) -> None:
    assert decode(reg("bool"), encode(reg("bool"), value)) == Reading(value)
    register = reg("enum", enum={0: "False", 513: "True"}, byte_order="little")
    assert decode(register, encode(register, str(value))) == Reading(str(value))


@pytest.mark.parametrize(
    ("register", "raw"),
    [
        (reg("uint16"), -1),
        (reg("int16"), 32768),
        (reg("int16"), 1.5),
        (reg("float32"), 1e39),
        (reg("float32"), "1"),
        (reg("string", count=1), "abc"),
        (reg("string", count=1), 5),
        (reg("bits"), [True]),
        (reg("bits"), [1] * 16),
        (reg("bool"), 1),
        (reg("bool", table="coil"), "on"),
        (reg("enum", enum={0: "off"}), "on"),
    ],
)
def test_what_does_not_fit_is_refused_not_cut(register: Register, raw: object) -> None:
    with pytest.raises(ValueError, match=r"fit|longer|needed|not a name"):
        encode(register, raw)


# ---- no words can hurt


@st.composite
def sound_registers(draw: st.DrawFn) -> Register:
    finite = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False))
    type_ = draw(st.sampled_from([*FORMATS, "string", "bits", "enum", "bool"]))
    options: dict[str, Any] = {"word_order": draw(orders), "byte_order": draw(orders)}
    if type_ in ("string", "bits"):
        options["count"] = draw(st.integers(1, 5))
    if type_ == "enum":
        options["enum"] = draw(st.dictionaries(st.integers(0, 0xFFFF), st.text(max_size=3), min_size=1, max_size=3))
    if type_ in FORMATS:
        options |= {"scale": draw(finite.filter(bool)), "offset": draw(finite)}
        options |= {"scale_from": draw(st.sampled_from([None, "sf"])), "min": draw(st.one_of(st.none(), finite))}
    if type_.startswith("uint"):
        options["mask"] = draw(st.one_of(st.none(), st.integers(1, 0xFFFF)))
    if type_ != "string":
        options["na"] = draw(st.lists(st.integers(-0x8000, 0xFFFF), max_size=2))
    return reg(type_, **options)


@given(sound_registers(), st.data())
def test_any_words_give_a_usable_value_or_a_reason(register: Register, data: st.DataObject) -> None:
    assert contradictions({"x": register, "sf": reg("int16")}) == []
    word = st.one_of(st.integers(0, 0xFFFF), st.sampled_from([0, 0x7F80, 0x7FF0, 0x7FFF, 0x8000, 0xFFFF]))
    words = data.draw(st.lists(word, min_size=register.size, max_size=register.size))
    reading = decode(register, words, data.draw(st.one_of(st.none(), st.integers(-10, 10))))
    assert (reading.value is None) == (reading.quality == "bad") == bool(reading.reason)
    if isinstance(reading.value, float):
        assert math.isfinite(reading.value)
    if isinstance(reading.value, int):
        assert -(2**63) <= reading.value < 2**64
    if register.min is not None and reading.value is not None:
        assert reading.value >= register.min


def test_decoding_needs_no_pymodbus() -> None:
    import subprocess

    code = "import sys, flowrunner.modbus; sys.exit('pymodbus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
