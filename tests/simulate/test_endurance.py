"""Ten minutes at speed 60, ten hours of flow time: nothing grows, and it ends cleanly."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import httpx2
import pytest

from tests.peers.program import BESS, Program

MINUTES, WARM_UP = 10.0, 4.0
"""SQLite's page caches and the allocator take most of their room in the first minutes, and the rest in steps."""
EVERY_S = 5.0
STEEPEST_MB = 0.2
"""Per minute, in which some 4,000 messages pass: 50 bytes lost with each of them would be as much. What Python itself
has allocated stays the same within 0.1 % over 17 hours of flow time; the steps of the process are 0.05 to 0.12."""


def resident_mb(pid: int) -> float:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def handles(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  (only their number)


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208  (only their number)


def slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line with the least squares, per unit of the first."""
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    rise: float = sum((x - x_mean) * (y - y_mean) for x, y in points)
    return rise / sum((x - x_mean) ** 2 for x, _ in points)


@pytest.mark.slow  # ten minutes by the wall clock: that is what it shows
def test_nothing_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pause = threading.Event()  # never set: a wait that is no busy loop
    memory: list[tuple[float, float]] = []
    counts: set[tuple[int, int]] = set()
    with Program(BESS, "--simulate", "--speed", "60", data=None, env={"TMPDIR": str(tmp_path)}) as program:
        for step in range(int(MINUTES * 60 / EVERY_S)):
            pause.wait(EVERY_S)
            minute = (step + 1) * EVERY_S / 60
            if minute >= WARM_UP:
                memory.append((minute, resident_mb(program.pid)))
                counts.add((handles(program.pid), threads(program.pid)))
        orders = httpx2.get(f"{program.url}/api/v1/orders?limit=1000", trust_env=False).json()
        assert program.end() == 0
    steepness = slope(memory)
    with capsys.disabled():
        print(
            f"\n{MINUTES:g} min at speed 60: {memory[-1][1]:.1f} MB, {steepness:+.3f} MB/min after {WARM_UP:g} min; "
            f"handles and threads {sorted(counts)}; {len(orders)} orders"
        )
    assert steepness < STEEPEST_MB
    assert max(one for one, _ in counts) - min(one for one, _ in counts) <= 2  # a request in the making
    assert len({number for _, number in counts}) == 1
    assert orders
    assert not any("Traceback" in line for line in program.lines)
    assert list(tmp_path.iterdir()) == []
