"""What a register map may say, and every way in which it can contradict itself."""

import msgspec
import pytest

from flowrunner.modbus import Register, contradictions


def register(**options: object) -> Register:
    return msgspec.convert({"address": 0, **options}, Register)


SOUND: dict[str, dict[str, object]] = {
    "soc_percent": {"address": 0, "type": "uint16", "scale": 0.01, "na": [0xFFFF], "min": 0, "max": 100, "unit": "%"},
    "power_w": {"address": 1, "type": "int16", "scale_from": "power_sf", "na": [-32768, 0x8000], "deadband": 5},
    "power_sf": {"address": 2, "type": "int16"},
    "serial": {"address": 100, "type": "string", "count": 8, "byte_order": "little"},
    "alarms": {"address": 65534, "type": "bits", "count": 2, "na": [0xFFFFFFFF]},
    "last": {"address": 65536, "address_base": 1},
    "running": {"address": 10, "bit": 15},
    "mode": {"address": 10, "type": "enum", "mask": 0x0F, "enum": {0: "off", "0x1": "on"}},
    "level": {"address": 10, "mask": 0x00F0, "scale": 10},
    "door": {"table": "discrete", "address": 65535, "type": "bool"},
    "energy": {"table": "input", "address": 4, "type": "uint64", "word_order": "little", "na": [2**64 - 1]},
}


def test_a_sound_map_has_no_contradictions() -> None:
    assert contradictions({name: register(**options) for name, options in SOUND.items()}) == []


@pytest.mark.parametrize(
    ("options", "option", "words"),
    [
        ({"address": 0, "address_base": 1}, "address", "the first register is 1"),
        ({"address": 65536}, "address", "beyond the last register"),
        ({"address": 65535, "type": "int32"}, "address", "int32 at 65535 reaches beyond"),
        ({"table": "coil"}, "type", "write type: bool, not uint16"),
        ({"table": "discrete", "type": "int32"}, "type", "one bit"),
        ({"type": "string"}, "count", "needs its number of registers"),
        ({"type": "string", "count": 20}, "count", "do not fit in one read of at most 10"),
        ({"type": "int32", "count": 2}, "count", "only string and bits have a count; int32 takes 2"),
        ({"type": "float32", "bit": 3}, "bit", "not of float32"),
        ({"table": "coil", "type": "bool", "bit": 3}, "bit", "not of a coil"),
        ({"bit": 3, "mask": 3}, "mask", "exclude each other"),
        ({"type": "int16", "mask": 3}, "mask", "not int16"),
        ({"mask": 0x10000}, "mask", "more bits than uint16"),
        ({"type": "enum"}, "enum", "needs its map"),
        ({"type": "enum", "enum": {}}, "enum", "needs its map"),
        ({"enum": {0: "off"}}, "enum", "needs type: enum"),
        ({"type": "enum", "enum": {"off": "off"}}, "enum", "whole number"),
        ({"type": "enum", "enum": {1: "on", "0x1": "off"}}, "enum", "the same number"),
        ({"type": "enum", "enum": {70000: "on"}}, "enum", "does not fit in a register"),
        ({"type": "string", "count": 2, "scale": 2}, "scale", "needs a number, but string is none"),
        ({"type": "bool", "offset": 1}, "offset", "needs a number"),
        ({"bit": 1, "min": 0}, "min", "one bit is none"),
        ({"type": "bits", "max": 0}, "max", "bits is none"),
        ({"type": "enum", "enum": {0: "off"}, "deadband": 1}, "deadband", "enum is none"),
        ({"type": "bool", "scale_from": "sf"}, "scale_from", "needs a number"),
        ({"scale": 0}, "scale", "every value the same"),
        ({"scale": float("nan")}, "scale", "not a finite number"),
        ({"max": float("inf")}, "max", "not a finite number"),
        ({"min": 10**400, "max": 1}, "min", "above max 1"),
        ({"min": 2, "max": 1}, "min", "above max 1"),
        ({"na": [0x10000]}, "na", "0x10000 does not fit in the 16 bits"),
        ({"type": "int16", "na": [-32769]}, "na", "does not fit"),
        ({"type": "string", "count": 1, "na": [0]}, "na", "whole raw numbers"),
        ({"table": "coil", "type": "bool", "na": [1]}, "na", "of table coil"),
        ({"scale_from": "x"}, "scale_from", "itself"),
        ({"scale_from": "sff"}, "scale_from", "there is no register 'sff' here, did you mean 'sf'?"),
        ({"scale_from": "scaled"}, "scale_from", "plain int16"),
        ({"scale_from": "unsigned"}, "scale_from", "plain int16"),
    ],
)
def test_contradictions(options: dict[str, object], option: str, words: str) -> None:
    registers = {
        "x": register(**options),
        "sf": register(type="int16"),
        "scaled": register(type="int16", scale=2),
        "unsigned": register(type="uint16"),
    }
    found = contradictions(registers, max_registers=10)
    assert [(name, where) for name, where, _ in found] == [("x", option)]
    assert words in found[0][2]


def test_all_contradictions_come_at_once_in_the_order_of_the_map() -> None:
    found = contradictions({"b": register(type="string", scale=2), "a": register(min=2, max=1)})
    assert [(name, option) for name, option, _ in found] == [("b", "count"), ("b", "scale"), ("a", "min")]


@pytest.mark.parametrize(
    "options",
    [
        {"address": -1},
        {"address": 65537},
        {"bit": 16},
        {"mask": 0},
        {"count": 0},
        {"type": "int8"},
        {"address_base": 2},
    ],
)
def test_what_the_schema_itself_refuses(options: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        register(**options)


def test_every_option_is_described_for_the_reference() -> None:
    properties = msgspec.json.schema(Register)["$defs"]["Register"]["properties"]
    assert set(properties) == {
        *("table", "address", "address_base", "type", "count", "word_order", "byte_order", "scale", "offset"),
        *("scale_from", "na", "min", "max", "unit", "deadband", "bit", "mask", "enum"),
    }
    undescribed = {name for name, schema in properties.items() if not schema.get("description")}
    assert undescribed <= {"unit"}
