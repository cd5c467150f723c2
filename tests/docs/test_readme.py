"""What the README shows is what happens."""

from __future__ import annotations

from pathlib import Path

from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.testing import Rig, run_flow

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BESS = (ROOT / "flows" / "bess.yaml").read_text("utf-8")


def test_the_mistake_gives_the_line_that_it_shows() -> None:
    wrong = BESS.replace("    above: 40", "    abve: 30", 1)
    errors = [
        str(one) for one in check_flows({"flows/bess.yaml": wrong}, {}, Registry()).problems if one.severity == "error"
    ]
    assert len(errors) == 1
    assert errors[0] in README


def test_the_first_change_does_what_it_says() -> None:
    changed = BESS.replace("    above: 40", "    above: 30", 1).replace("    clear_below: 38", "    clear_below: 28", 1)
    assert "    above: 30            # was 40" in README

    async def story(rig: Rig) -> tuple[str, str]:
        await rig.emit("rest", {"temperature_c": 31})
        before = rig.payloads("overheated")[-1]["overheated"]
        for _ in range(11):
            await rig.emit("rest", {"temperature_c": 27})
            await rig.advance("30s")
        return before, rig.payloads("overheated")[-1]["overheated"]

    assert run_flow(changed, story) == ("above", "clear")
    assert run_flow(BESS, story) == ("clear", "clear")


def test_every_node_type_is_named() -> None:
    listed = README.partition("## Node types so far")[2]
    assert [name for name in Registry().names if f"`{name}`" not in listed] == []
