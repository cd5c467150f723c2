"""A journal with one of each: what the command and the API show in tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from flowrunner.store import Store
from flowrunner.testing import Rig
from tests.orders.guarded import FLOW, journal, orders, play, wish

OPTIONS = (
    "stop_while: [hot], max_quantity_mwh: 2, limit_while: {loaded: {max_quantity_mwh: 0.5}}, "
    "price: {min: -500, max: 4000}"
)
ALONE = FLOW.partition("  exchange:")[0].replace(
    "  buy:\n", "  loaded: {type: threshold, from: hot, field: mwh, above: 1.5}\n  buy:\n"
).replace("from: hot\n    when", "from: loaded\n    when")  # fmt: skip
BUY = "epex_at-20250125T0115Z-BUY"


def filled(folder: Path) -> Path:
    """The data folder of an engine that is gone: four orders (paper, reduced and accepted, rejected, unknown), and
    three refusals."""

    async def story(rig: Rig) -> None:
        async def order(soc: float, mwh: float, *ways: tuple[str, str]) -> None:
            await wish(rig, soc=soc, mwh=mwh, price=-45.5 if soc < 50 else 180)
            one = orders(rig)[-1]
            for state, reason in ways:
                detail = {"status": 400} if state == "rejected" else None
                await rig.advance("1s")
                await journal(rig).advance(one.id, state, rig.now, reason=reason, detail=detail)  # type: ignore[arg-type]  # a State
            await rig.advance("15min")

        for _ in range(3):
            await wish(rig, hot=41)
        await order(20, 1, ("paper", ""))
        await order(20, 1.75, ("sending", ""), ("accepted", ""))
        await order(80, 1, ("sending", ""), ("rejected", "400: SELL disabled at SoC 80.0%"))
        await wish(rig, soc=80, price=4000.5)
        await order(80, 1, ("sending", ""), ("unknown", "exchange.example: no answer within 10 s"))
        await wish(rig)

    store = Store.open(folder, inline=True)
    play(OPTIONS, story, flow=ALONE, store=store)
    asyncio.run(store.close())
    return folder
