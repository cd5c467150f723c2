"""The register image: the first user's three registers, and SunSpec as its published models lay it out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.battery import Battery, Settings
from flowrunner.battery.registers import image
from flowrunner.battery.sunspec import MODELS, chain, number_words, scale_for
from flowrunner.modbus import Register, decode
from flowrunner.units import SECOND

START = 1_769_295_600 * SECOND
INVERTER, STORAGE, BANK, END = 40070, 40122, 40131, 40195
"""Where the models begin: model 1 with its padding takes 2 + 66 registers, 103 takes 2 + 50, 713 2 + 7, 802 2 + 62."""


def battery(soc: float = 50.0, power: float = 0.0, settings: Settings | None = None, **state: Any) -> Battery:
    one = Battery(settings, at=START, soc_percent=soc, **state)
    one.command(power)
    return one


def signed(word: int) -> int:
    return word - 0x10000 if word >= 0x8000 else word


def long(words: dict[int, int], address: int) -> int:
    return words[address] << 16 | words[address + 1]


# ---- the first user's registers


@pytest.mark.parametrize(
    ("soc", "power", "temperature", "words"),
    [
        (75.0, 2.5, 28.3, (7500, 2500, 283)),
        (50.0, -2.5, -5.0, (5000, 0xF63C, 0xFFCE)),
        (0.0, 0.0, 0.0, (0, 0, 0)),
        (100.0, 5.0, 25.0, (10000, 5000, 250)),
        (49.184, -0.0004, 25.04, (4918, 0, 250)),
    ],
)
def test_the_three_registers(soc: float, power: float, temperature: float, words: tuple[int, ...]) -> None:
    shown = image(battery(soc, power, temperature_c=temperature))
    assert tuple(shown[address] for address in (0, 1, 2)) == words


def test_what_does_not_fit_says_no_value_and_is_not_cut() -> None:
    one = battery(50, 40.0, Settings(power_mw=40.0, capacity_mwh=100.0))
    assert image(one)[1] == 0x8000
    one.command(32.0)
    assert image(one)[1] == 32000


@given(soc=st.floats(0, 100), power=st.floats(-8, 8), temperature=st.floats(-40, 80))
def test_every_word_is_a_word_and_the_registers_say_what_the_battery_is(
    soc: float, power: float, temperature: float
) -> None:
    one = battery(soc, power, temperature_c=temperature)
    words = image(one)
    assert all(0 <= word <= 0xFFFF for word in words.values())
    assert words[0] / 100 == pytest.approx(one.soc_percent, abs=0.00501)
    assert signed(words[1]) / 1000 == pytest.approx(one.active_power_mw, abs=0.000501)
    assert signed(words[2]) / 10 == pytest.approx(one.temperature_c, abs=0.0501)
    assert words.keys() == {0, 1, 2, *range(40000, END + 2)}


# ---- SunSpec


def test_the_chain_of_models() -> None:
    words = image(battery())
    assert (words[40000], words[40001]) == (0x5375, 0x6E53)
    headers = [(words[at], words[at + 1]) for at in (40002, INVERTER, STORAGE, BANK, END)]
    assert headers == [(1, 66), (103, 50), (713, 7), (802, 62), (0xFFFF, 0)]


def test_who_it_is() -> None:
    words = image(battery())
    text = b"".join(words[at].to_bytes(2, "big") for at in range(40004, 40068))
    places = ((0, 32), (32, 32), (64, 16), (80, 16), (96, 32))
    texts = [text[at : at + size].rstrip(b"\0").decode() for at, size in places]
    assert texts == ["flowrunner", "simulated battery", "", "1", "simulated-1"]
    assert words[40068] == 0xFFFF  # the device address is not implemented over TCP
    assert words[40069] == 0x8000  # padding


def test_the_inverter() -> None:
    """Offsets from the start of the model, header included, as vendors print them for model 103."""
    one = battery(75.5, 2.5, temperature_c=28.3)
    one.advance(START + 3600 * SECOND)
    words = image(one)

    def word(offset: int) -> int:
        return words[INVERTER + offset]

    assert word(2) == word(3) == word(4) == word(5) == 2092  # 2.5 MW at 690 V
    assert word(6) == 0
    assert [word(offset) for offset in (7, 8, 9)] == [6900] * 3
    assert [word(offset) for offset in (10, 11, 12)] == [3984] * 3
    assert signed(word(13)) == -1
    assert signed(word(14)) * 10 ** signed(word(15)) == 2_500_000
    assert (word(16), signed(word(17))) == (5000, -2)
    assert [word(offset) for offset in (18, 19, 20, 21, 22, 23)] == [0x8000] * 6  # VA, VAr, PF: not implemented
    assert long(words, INVERTER + 24) * 10 ** word(26) == pytest.approx(2_500_000, abs=1000)
    assert (word(27), word(28)) == (0xFFFF, 0x8000)
    assert (word(29), signed(word(30))) == (13000, -1)
    assert signed(word(31)) * 10 ** signed(word(32)) == pytest.approx(2_631_579, abs=500)
    assert signed(word(33)) == words[2]
    assert [word(offset) for offset in (34, 35, 36)] == [0x8000] * 3
    assert signed(word(37)) == -1
    assert (word(38), word(39)) == (4, 0xFFFF)
    assert [long(words, INVERTER + offset) for offset in (40, 42)] == [0, 0]
    assert [long(words, INVERTER + offset) for offset in (44, 46, 48, 50)] == [0xFFFFFFFF] * 4


def test_charging_is_negative() -> None:
    words = image(battery(50, -2.5))
    assert signed(words[INVERTER + 14]) == -2500
    assert signed(words[INVERTER + 31]) == -2375
    assert words[INVERTER + 2] == 2092  # amperes have no sign in model 103
    assert signed(words[BANK + 2 + 45]) == -2375
    assert signed(words[BANK + 2 + 42]) == -1827


def test_the_storage_capacity() -> None:
    words = image(battery(75.5))
    rating, available, soc, soh, status, energy_scale, percent_scale = (words[STORAGE + 2 + at] for at in range(7))
    assert rating * 10**energy_scale == 10_000_000
    assert available * 10**energy_scale == 7_550_000
    assert (soc, soh, signed(percent_scale)) == (7550, 10000, -2)
    assert status == 0


def test_the_battery_bank() -> None:
    """Offsets behind the header of model 802."""
    words = image(battery(75.5, 2.5))

    def word(offset: int) -> int:
        return words[BANK + 2 + offset]

    scales = [signed(word(offset)) for offset in range(50, 62)]
    assert scales == [0, 3, 3, -0x8000, -2, -2, 0, -1, -3, 0, 0, 3]
    assert word(0) == 7692
    assert (word(1), word(2), word(3)) == (10000, 4750, 5263)
    assert word(4) == 0xFFFF
    assert [word(offset) for offset in (5, 6, 7, 8, 9)] == [10000, 0, 0xFFFF, 0xFFFF, 7550]
    assert (word(10), word(11)) == (2450, 100)
    assert long(words, BANK + 2 + 12) == 0
    assert (word(14), word(15)) == (3, 0)
    assert (word(16), word(17)) == (START // SECOND % 0xFFFF, 0xFFFF)
    assert [word(offset) for offset in (18, 19, 20, 21)] == [0, 4, 3, 0xFFFF]
    assert long(words, BANK + 2 + 22) == 0xFFFFFFFF
    assert [long(words, BANK + 2 + offset) for offset in (24, 26, 28, 30)] == [0, 0, 0, 0]
    assert word(32) == 13000
    assert [word(offset) for offset in range(33, 42)] == [0xFFFF] * 9
    assert (word(42), word(43), word(44), word(45)) == (2024, 0xFFFF, 0xFFFF, 2632)
    assert (word(46), word(47)) == (0xFFFF, 0x8000)
    assert (word(48), word(49)) == (1, 3)


@pytest.mark.parametrize(
    ("soc", "power", "charge_state", "bank_state", "inverter_state"),
    [
        (50.0, 1.0, 3, 3, 4),
        (50.0, -1.0, 4, 3, 4),
        (50.0, 0.0, 6, 4, 8),
        (0.0, 1.0, 2, 4, 8),
        (0.0, 0.0, 2, 4, 8),
        (100.0, -1.0, 5, 4, 8),
        (2.0, 5.0, 3, 3, 5),
        (50.0, 7.0, 3, 3, 5),
    ],
)
def test_states(soc: float, power: float, charge_state: int, bank_state: int, inverter_state: int) -> None:
    words = image(battery(soc, power))
    assert words[BANK + 2 + 14] == charge_state
    assert words[BANK + 2 + 20] == bank_state
    assert words[INVERTER + 38] == inverter_state


@pytest.mark.parametrize(
    ("temperature", "hvac_failed", "bank", "inverter", "storage"),
    [
        (40.0, False, 0, 0, 0),
        (40.1, False, 1 << 2, 0, 1),
        (50.0, False, 1 << 1, 1 << 7, 2),
        (25.0, True, 1 << 21, 0, 1),
        (50.0, True, 1 << 1 | 1 << 21, 1 << 7, 2),
    ],
)
def test_alarms(temperature: float, hvac_failed: bool, bank: int, inverter: int, storage: int) -> None:
    one = battery(temperature_c=temperature)
    one.hvac_failed = hvac_failed
    words = image(one)
    assert long(words, BANK + 2 + 24) == bank
    assert long(words, INVERTER + 40) == inverter
    assert words[STORAGE + 2 + 4] == storage


@pytest.mark.parametrize(("model", "length"), [(1, 66), (103, 50), (713, 7), (802, 62)])
def test_every_scale_factor_is_a_point_of_its_model(model: int, length: int) -> None:
    points = {point.name: point for point in MODELS[model]}
    assert len(points) == len(MODELS[model])
    for point in points.values():
        assert point.scale is None or points[point.scale].type == "sunssf"
    assert len(chain([(model, {})])) == 2 + 2 + length + 2


def test_what_a_model_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="model 713 has no point Wh"):
        chain([(713, {"Wh": 1})])
    with pytest.raises(ValueError, match="model 713: SoC has a value, but Pct_SF has none"):
        chain([(713, {"SoC": 1})])
    with pytest.raises(ValueError, match="cannot hold the text 'x'"):
        chain([(713, {"Sta": "x"})])
    with pytest.raises(ValueError, match="cannot hold the number 1"):
        chain([(1, {"Mn": 1})])
    with pytest.raises(ValueError, match="does not fit in 16 characters"):
        chain([(1, {"Vr": "x" * 17})])


@pytest.mark.parametrize(
    ("kind", "value", "power", "words"),
    [
        ("int16", None, 0, [0x8000]),
        ("int16", -32767, 0, [0x8001]),
        ("int16", -32768, 0, [0x8000]),
        ("int16", 32768, 0, [0x8000]),
        ("uint16", 65534, 0, [0xFFFE]),
        ("uint16", 65535, 0, [0xFFFF]),
        ("uint16", -1, 0, [0xFFFF]),
        ("uint16", 75.5, -2, [7550]),
        ("uint32", 70000, 0, [1, 4464]),
        ("uint32", None, 0, [0xFFFF, 0xFFFF]),
        ("acc32", None, 0, [0, 0]),
        ("bitfield32", None, 0, [0xFFFF, 0xFFFF]),
        ("enum16", None, 0, [0xFFFF]),
        ("sunssf", -11, 0, [0x8000]),
    ],
)
def test_numbers_as_registers(kind: str, value: float | None, power: int, words: list[int]) -> None:
    assert number_words(kind, value, power) == words


@given(st.floats(0.001, 1e13))
def test_a_scale_is_the_smallest_that_fits(largest: float) -> None:
    power = scale_for(largest)
    assert largest / 10**power <= 0x7FFF
    assert power == 0 or largest / 10 ** (power - 1) > 0x7FFF


def test_our_own_decoder_reads_it() -> None:
    words = image(battery(75.5, 2.5))
    soc = Register(address=BANK + 2 + 9, scale_from="power", na=[0xFFFF])
    reserve = Register(address=BANK + 2 + 8, scale_from="power", na=[0xFFFF])
    assert decode(soc, [words[soc.address]], -2).value == 75.5
    assert decode(reserve, [words[reserve.address]], -2).quality == "bad"
