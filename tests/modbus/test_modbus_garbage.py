"""A device that speaks nonsense: never a value, never an exception of another kind, never an endless wait."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowrunner.errors import NotConnected
from flowrunner.modbus import ModbusException, Request
from flowrunner.modbus.line import answer_fault
from flowrunner.modbus.plan import Span
from tests.modbus.raw_device import raw_device

TIMEOUT = 0.03
BOUND = 5.0
"""Seconds that a busy machine may take for what takes a few milliseconds and one timeout."""

TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


def question(function: int, count: int, transaction: int = 1, unit: int = 1) -> bytes:
    return b"".join(part.to_bytes(2) for part in (transaction, 0, 6)) + bytes([unit, function, 0, 0, 0, count])


def answer(asked: bytes) -> bytes:
    """The right answer, all ones."""
    count = int.from_bytes(asked[10:12])
    size = (count + 7) // 8 if asked[7] < 3 else 2 * count
    return asked[:4] + (size + 3).to_bytes(2) + asked[6:8] + bytes([size]) + b"\xff" * size


def refusal(asked: bytes, code: int) -> bytes:
    return asked[:4] + b"\0\3" + asked[6:7] + bytes([asked[7] | 0x80, code])


questions = st.builds(question, st.integers(1, 4), st.integers(1, 125), st.integers(1, 65000), st.integers(0, 255))


@given(questions, st.integers(1, 255))
def test_the_answer_and_every_beginning_of_it_may_pass(asked: bytes, code: int) -> None:
    for whole in answer(asked), refusal(asked, code):
        for length in range(1, len(whole) + 1):
            assert answer_fault(asked, whole[:length]) == ""
        assert answer_fault(asked, whole + b"\0")
        assert answer_fault(b"", whole)


@given(questions, st.data())
def test_one_wrong_byte_before_the_values_is_enough(asked: bytes, data: st.DataObject) -> None:
    whole = bytearray(answer(asked))
    place = data.draw(st.integers(0, 8))
    whole[place] ^= data.draw(st.integers(1, 255))
    if whole[7] == asked[7] | 0x80:
        return  # as an exception it is too long, and below it is tried against a device
    assert answer_fault(asked, bytes(whole))


@st.composite
def nonsense(draw: st.DrawFn) -> tuple[int, int, Any]:
    """(function, count, what the device makes of the question)"""
    function, count = draw(st.integers(1, 4)), draw(st.integers(1, 20))
    right = answer(question(function, count))
    kind = draw(st.sampled_from(["bytes", "cut", "more", "changed", "other count", "other function", "exception"]))
    edits: dict[str, Any] = {
        "bytes": st.binary(min_size=1, max_size=300).map(lambda noise: lambda _: noise),
        "cut": st.integers(0, len(right) - 1).map(lambda n: lambda asked: answer(asked)[:n]),
        "more": st.binary(min_size=1, max_size=30).map(lambda noise: lambda asked: answer(asked) + noise),
        "changed": st.tuples(st.integers(0, 8), st.integers(1, 255)).map(
            lambda edit: (
                lambda asked: (
                    answer(asked)[: edit[0]] + bytes([answer(asked)[edit[0]] ^ edit[1]]) + answer(asked)[edit[0] + 1 :]
                )
            )
        ),
        "other count": st.integers(40, 120).map(lambda n: lambda asked: answer(asked[:11] + bytes([n]))),
        "other function": st.sampled_from([5, 6, 7, 15, 16, 22, 23, 24, 43, 100]).map(
            lambda other: lambda asked: answer(asked[:7] + bytes([other]) + asked[8:])
        ),
        "exception": st.integers(0, 255).map(lambda code: lambda asked: refusal(asked, code)),
    }
    return function, count, draw(edits[kind])


async def ask_nonsense(function: int, count: int, reply: Any) -> tuple[object, object, list[object]]:
    """What a read of the nonsense gives, what the one after it gives, and what the event loop complained about."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    replies = [reply]  # for the first question of the first connection, even when its reader has already given up

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = [replies.pop()] if replies else []
        while asked := await reader.read(12):
            writer.write(mine.pop()(asked) if mine else answer(asked))

    request = Request(TABLES[function], (Span(0, count, "x"),))  # type: ignore[arg-type]
    results: list[object] = []
    async with raw_device(serve) as device:
        for timeout in (TIMEOUT, BOUND):
            try:
                results.append(await device.read(1, request, timeout))
            except (NotConnected, ModbusException) as error:
                results.append(error)
    return results[0], results[1], complaints


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nonsense())
def test_nonsense_is_never_a_value(drawn: tuple[int, int, Any]) -> None:
    function, count, reply = drawn
    started = time.monotonic()
    first, second, complaints = asyncio.run(ask_nonsense(function, count, reply))
    assert time.monotonic() - started < BOUND
    asked = question(function, count)
    if isinstance(first, ModbusException):
        assert reply(asked) == refusal(asked, first.code), "only a whole, exact refusal is one"
    else:
        assert isinstance(first, NotConnected), first
    expected = [True] * count if function < 3 else [0xFFFF] * count
    assert second == expected, "the next read is right again"
    assert complaints == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (lambda asked: b"HTTP/1.1 400 Bad Request\r\n\r\n", "not the answer to what was asked (48 54 54 50 2f 31"),
        (lambda asked: b"\0\0" + answer(asked)[2:], "not the answer to what was asked (00 00 00 00 00 05 01 03 02"),
        (lambda asked: answer(asked)[:5], "no answer within 0.03 s"),
    ],
)
def test_what_came_is_said(reply: Any, words: str) -> None:
    first, _, _ = asyncio.run(ask_nonsense(3, 1, reply))
    assert words in str(first)
