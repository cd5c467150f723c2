"""Whatever happens, in whatever order: what a live order must never be, by a small model of the law."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.registry import NodeType, Registry, load
from tests.orders.live_steps import Step, stories
from tests.orders.live_story import play

NODES = Path(__file__).resolve().parents[2] / "nodes"
Told = list[tuple[Step, ...]]


@settings(max_examples=15)
@given(stories, st.booleans())
def test_whatever_happens(told: Told, good: bool) -> None:
    play(told, good=good)


def test_less_than_would_be_ordered_now_does_no_harm() -> None:
    """It was reduced while the power was at its limit; that is over when the exchange can be reached again."""
    story = play([[("mended",), ("wait", 900), ("away", True), ("wish", "BUY", 5.2), BUY, ("clear",), ("wait", 30)]])
    assert next(one.quantity_mwh for one in story.world.law.taken if one.id) == 0.5


@pytest.mark.slow  # three minutes: longer stories, hundreds of them
@settings(max_examples=300)
@given(st.lists(stories, min_size=1, max_size=3), st.booleans())
def test_whatever_happens_for_longer(told: list[Told], good: bool) -> None:
    play([chapter for one in told for chapter in one], good=good)


# ---- the law catches who breaks it ----------------------------------------------------------------------------------


class Breach(NamedTuple):
    """A program that is wrong in one way, a story in which that shows, and what the law says of it."""

    edits: dict[str, dict[str, str]]
    """Node file → its text → what is there instead."""
    told: list[Step]
    said: str


BUY: Step = ("wish", "BUY")
SENDER = "self.sender = Sender("
PHOENYRA = "        return Phoenyra("
OWN = "class ExchangeOut(Node):"
DEAF = {
    OWN: """class Deaf(Sender):
    def _obstacle(self, order):
        return "" if self._line.around.now() < order.good_until else super()._obstacle(order)


class ExchangeOut(Node):""",
    SENDER: "self.sender = Deaf(",
}
BREACHES = {
    "it sends again what got no answer": Breach(
        {"exchange_out": {
            OWN: '''class Hasty(Phoenyra):
    async def place(self, ticket, still):
        outcome = await super().place(ticket, still)
        return type(outcome)(meaning="not-sent") if outcome.meaning == "unknown" else outcome


class ExchangeOut(Node):''',
            PHOENYRA: "        return Hasty(",
        }},
        [("fault", "answer-lost", "orders", 1), BUY],
        "the journal says of one there: intent",
    ),
    "it sends again what it does not find": Breach(
        {"exchange_out": {
            OWN: '''class Hasty(Phoenyra):
    async def find(self, ticket, *about):
        found = await super().find(ticket, *about)
        if found.meaning == "absent":
            await self.place(ticket, lambda: "")
        return found


class ExchangeOut(Node):''',
            PHOENYRA: "        return Hasty(",
        }},
        [("late", 45), BUY, ("wait", 60)],
        "it is sent a second time; the first time: lost",
    ),
    "it takes an error for a refusal": Breach(
        {"exchange_out": {
            OWN: '''class Hasty(Phoenyra):
    async def place(self, ticket, still):
        outcome = await super().place(ticket, still)
        return type(outcome)(meaning="rejected", reason="an error") if outcome.meaning == "unknown" else outcome


class ExchangeOut(Node):''',
            PHOENYRA: "        return Hasty(",
        }},
        [("fault", "error-after", "orders", 1), BUY],
        "the journal says rejected, and it is there",
    ),
    "it does not look at the switch again": Breach(
        {"exchange_out": DEAF},
        [("away", True), BUY, ("stop", "file"), ("clear",), ("wait", 30)],
        "it is sent while trading is stopped",
    ),
    "it finds what is not there": Breach(
        {
            "exchange_out": {
                OWN: '''from flowrunner.exchange import Found, Told


class Hasty(Phoenyra):
    async def find(self, ticket, *about):
        return Found(meaning="there", reason="one like it", told=Told(exchange_id="of somebody else"))


class ExchangeOut(Node):''',
                PHOENYRA: "        return Hasty(",
            }
        },
        [("fault", "reset", "orders", 1), BUY, ("wait", 60)],
        "the journal says accepted, and it is not there",
    ),
    "it takes any value": Breach(
        {"risk_guard": {"stop = next(reading.refusals": "stop = None and next(reading.refusals"}},
        [("price", 50, 0, 0), ("typed", {"soc_percent": 20, "active_power_mw": 0, "temperature_c": 25})],
        "soc_percent was typed",
    ),
    "it does not know that it is hot": Breach(
        {"risk_guard": {"reading.refusals(intent.slot, o.stop_while,": "reading.refusals(intent.slot, [],"}},
        [("price", 50, 0, 0), ("modbus", {"soc_percent": 20, "active_power_mw": 0, "temperature_c": 45}, None), BUY],
        "it is hot",
    ),
    "it sends the whole at the limit": Breach(
        {"risk_guard": {"quantity, limited_by = reading.reduced(intent.quantity_mwh, o.limit_while)":
             'quantity, limited_by = intent.quantity_mwh, ""'}},
        [("wish", "SELL", 5.2)],
        "its quantity",
    ),
    "it moves the price": Breach(
        {"risk_guard": {"=intent.limit_price_eur_mwh, order_type": "=49.0, order_type"}},
        [BUY],
        "its price is not the slot's",
    ),
    "it believes a clock that was set back": Breach(
        {"risk_guard": {"limits.clock(book.latest(), now)": "None"}, "exchange_out": DEAF},
        [("away", True), ("clock", 3600), BUY, ("clock", 0), ("clear",), BUY],
        "it is sent at a time that was before",
    ),
    "it forgets what it has ordered": Breach(
        {"risk_guard": {"limits.position(": "None and limits.position(", "limits.energy(": "None and limits.energy("}},
        [BUY, ("wait", 900)] * 4,
        "the day's position becomes 4",
    ),
}  # fmt: skip


class Wrong(Registry):
    """Some types are others than the ones that ship."""

    def __init__(self, files: Iterable[Path]) -> None:
        super().__init__()
        self._wrong = {one.name: one for one in (load(file.stem.replace("_", "-"), file) for file in files)}

    def get(self, name: str) -> NodeType:
        return self._wrong.get(name) or super().get(name)


@pytest.mark.parametrize("breach", BREACHES.values(), ids=list(BREACHES))
def test_the_law_catches(breach: Breach, tmp_path: Path) -> None:
    files = [tmp_path / f"{node}.py" for node in breach.edits]
    for file in files:
        source = (NODES / file.name).read_text(encoding="utf-8")
        for right, wrong in breach.edits[file.stem].items():
            assert source.count(right) == 1, f"the node has changed: {right}"
            source = source.replace(right, wrong)
        file.write_text(source, encoding="utf-8")
    play([breach.told])  # the nodes as they are do nothing wrong here
    with pytest.raises(AssertionError, match=breach.said):
        play([breach.told], registry=Wrong(files))
