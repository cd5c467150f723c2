"""What a person chooses for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec

from flowrunner.battery import Settings
from flowrunner.errors import UsageError
from flowrunner.market.price_file import SHIPPED
from flowrunner.market.year import HOURLY
from flowrunner.orders import Energy
from flowrunner.units import SECOND, Duration

CAPACITY_MWH, POWER_MW, EFFICIENCY = 10.0, 5.0, 0.95
SHORTEST_STEP, LONGEST_STEP = Duration(SECOND), Duration.parse("1h")


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """``data``: (node, file) of recorded inputs. What is None is taken from the flow, or as usual."""

    prices: str = f"{SHIPPED}{HOURLY}"
    data: Sequence[tuple[str, Path]] = ()
    first: date | None = None
    last: date | None = None
    """Days of the flow's zone, both included; None: all that the prices cover."""
    step: Duration = Duration.parse("1min")
    soc_percent: float | None = None
    capacity_mwh: float | None = None
    power_mw: float = POWER_MW
    efficiency: float = EFFICIENCY
    """Of one way."""
    site: bool = False
    """Whether the battery also feeds its own site."""

    def check(self) -> None:
        """UsageError for what makes no replay."""
        if not SHORTEST_STEP <= self.step <= LONGEST_STEP:
            raise UsageError(f"--step {self.step}: a step is from {SHORTEST_STEP} to {LONGEST_STEP}")
        if Duration.parse("1d") % self.step:
            raise UsageError(f"--step {self.step}: a day must be a whole number of steps")
        doubles = [name for place, (name, _) in enumerate(self.data) if name in [one for one, _ in self.data[:place]]]
        if doubles:
            raise UsageError(f"--data {doubles[0]} is there twice; put its records into one file")
        for option, value, most, unit in (
            ("--soc", self.soc_percent, 100.0, " %"),
            ("--capacity", self.capacity_mwh, 1e6, " MWh"),
            ("--power", self.power_mw, 1e6, " MW"),
            ("--efficiency", self.efficiency, 1.0, ""),
        ):
            if value is None or 0 < value <= most or (option == "--soc" and value == 0):  # NaN is none of them
                continue
            least = "from 0 to" if option == "--soc" else "above 0, and at most"
            raise UsageError(f"{option} {value:g}: it is {least} {most:g}{unit}")
        if self.first is not None and self.last is not None and self.last < self.first:
            raise UsageError(f"--to {self.last} is before --from {self.first}")

    def settings(self, guard: Energy | None) -> Settings:
        """The battery. ``guard``: what the flow's risk-guard says of it."""
        capacity = self.capacity_mwh
        if capacity is None:
            capacity = CAPACITY_MWH if guard is None else guard.capacity_mwh
        return Settings(
            capacity_mwh=capacity, power_mw=self.power_mw,
            charge_efficiency=self.efficiency, discharge_efficiency=self.efficiency,
        )  # fmt: skip

    def begin_soc(self, guard: Energy | None) -> float:
        """It begins as empty as it may be: a replay must not earn money with energy that it never bought."""
        if self.soc_percent is not None:
            return self.soc_percent
        return 0.0 if guard is None else guard.min_soc
