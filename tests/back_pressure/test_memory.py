"""The real program under a source that is far faster than its sink: its memory, as the system counts it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import httpx2
import pytest

from tests.peers.program import Program
from tests.peers.until import until_elsewhere

NODES = Path(__file__).parent / "nodes"
FLOW = """
flow: pressed
nodes:
  source: {{type: burst, keys: 100, weight: 2000}}
  slow: {{type: slow, from: source, takes: 5ms, queue: {{size: 100, when_full: {policy}}}}}
"""
FIRST, LAST = 20_000, 120_000
"""Messages of 2 kB: what lies between the two would be 200 MB."""
ALLOWED_KB = 30_000


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.slow  # a hundred thousand messages
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "latest", "block"])
def test_memory_is_bounded(tmp_path: Path, policy: str) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW.format(policy=policy))
    first, last = (FIRST, LAST) if policy != "block" else (500, 2000)  # there the source is as slow as the sink
    with (
        Program(tmp_path / "flow.yaml", "--nodes", NODES, data=tmp_path / "data") as program,
        httpx2.Client(base_url=program.url, trust_env=False, timeout=20) as http,
    ):

        def sent() -> int:
            with contextlib.suppress(httpx2.TransportError):
                return int(http.get("/api/v1/flows/pressed/nodes/source").json()["sent"])
            return 0

        until_elsewhere(lambda: sent() >= first, f"{first} messages", 60)
        before = resident_kb(program.pid)
        until_elsewhere(lambda: sent() >= last, f"{last} messages", 120)
        assert resident_kb(program.pid) - before < ALLOWED_KB
        shown = http.get("/api/v1/flows/pressed/nodes/slow").json()
        assert shown["inbox"] <= 100
        assert set(shown["dropped"]) == (set() if policy == "block" else {policy})
