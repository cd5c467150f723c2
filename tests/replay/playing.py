"""Replays for tests: a flow of this folder, and prices read by a reader of our own."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from flowrunner.files import check_files
from flowrunner.registry import Registry
from flowrunner.replay import Result, Setup, replay
from flowrunner.units import Duration

HERE = Path(__file__).parent
FLOWS = HERE / "flows"
DATA = HERE.parent.parent / "flowrunner" / "market" / "data"


def play(flow: Path | str, environment: dict[str, str] | None = None, **chosen: Any) -> Result:
    """``flow``: a file, or the name of one in ``flows``. ``first`` and ``last`` and ``step`` as texts."""
    file = flow if isinstance(flow, Path) else FLOWS / f"{flow}.yaml"
    for name in ("first", "last"):
        if name in chosen:
            chosen[name] = date.fromisoformat(chosen[name])
    if "step" in chosen:
        chosen["step"] = Duration.parse(chosen["step"])
    return replay(check_files([file], environment or {}, Registry()), Setup(**chosen))


@cache
def prices(name: str) -> dict[str, float]:
    """Begin of the interval (``2024-01-01T00:00:00Z``) → EUR/MWh, straight from the file."""
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return {row["timestamp"]: float(row["price_eur_mwh"]) for row in csv.DictReader(file)}


def begin(order: dict[str, Any], minutes: int) -> str:
    """The interval of ``minutes`` in which an order is delivered, as price files write it."""
    start = datetime.fromisoformat(order["delivery_start"]).astimezone(UTC)
    start -= timedelta(minutes=start.minute % minutes)
    return f"{start:%Y-%m-%dT%H:%M:%SZ}"


def cents(order: dict[str, Any]) -> float:
    """What an order earned, by hand."""
    if order["status"] != "filled":
        return 0.0
    sign = 1 if order["side"] == "SELL" else -1
    return float(sign * order["quantity_mwh"] * order["price_eur_mwh"])
