"""docs/queues.md says what the code does: its flows are right, and its tables complete."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from flowrunner.graph import check_flows
from flowrunner.node import Queue
from flowrunner.registry import Registry
from flowrunner.runtime.delivery import BATCH
from flowrunner.schema import describe, schema_of
from flowrunner.stderr import MOST_BYTES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "queues.md").read_text("utf-8")
FLOWS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def row(first: str) -> list[str]:
    """The other cells of the first row that begins so."""
    found = re.search(rf"^\| {re.escape(first)} \|(.*)\|$", PAGE, re.MULTILINE)
    assert found, f"no table has a row {first}"
    return [cell.strip() for cell in found[1].split("|")]


@pytest.mark.parametrize("number", range(len(FLOWS)))
def test_each_flow_is_right(number: int) -> None:
    checked = check_flows({"flow.yaml": FLOWS[number]}, {}, Registry())
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    assert not checked.problems


@pytest.mark.parametrize("field", msgspec.structs.fields(Queue), ids=lambda field: field.encode_name)
def test_each_option_is_there_with_its_default(field: msgspec.structs.FieldInfo) -> None:
    told = row(f"`{field.encode_name}`")[-1].strip("`")
    assert told == {None: "none", True: "true", False: "false"}.get(field.default, str(field.default))


@pytest.mark.parametrize(
    "policy", describe(schema_of(Queue)["properties"]["when_full"]).partition("of ")[2].split(", ")
)
def test_each_policy_is_there(policy: str) -> None:
    assert len(row(f"`{policy}`")) == 3


def test_each_type_that_has_another_default_is_there() -> None:
    registry = Registry()
    queues = {name: registry.get(name).cls.default_queue for name in registry.names}
    told = {Queue(when_full="drop_oldest"): "`drop_oldest`", Queue(durable=True): "`block`, `durable: true`"}
    assert set(queues.values()) == {Queue(), *told}
    for other, text in told.items():
        assert row(", ".join(f"`{name}`" for name in sorted(queues) if queues[name] == other)) == [text]
    checked = check_flows({"flow.yaml": re.sub(r"\n +queue: .*", "", FLOWS[1])}, {}, Registry())
    assert checked.graph is not None
    queue = checked.graph.nodes["forward/mirror"].queue
    assert row("`exchange-out` with `send: telemetry`") == [f"`{queue.when_full}`, {queue.size}"]


def test_the_figures() -> None:
    assert f"one batch ({BATCH} messages)" in PAGE
    assert f"{MOST_BYTES >> 20} MiB of lines" in PAGE
