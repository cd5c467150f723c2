"""The example of docs/writing-a-node.md is what it says: it loads, it is checked, and it runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowrunner.errors import BadFlow
from flowrunner.registry import Registry
from flowrunner.testing import run_flow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "writing-a-node.md"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    node, _ = blocks()
    (tmp_path / "moving_average.py").write_text(node, encoding="utf-8")
    return Registry([tmp_path])


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_example_runs(registry: Registry) -> None:
    place: dict[str, object] = {}
    exec(blocks()[1], place)  # noqa: S102  (our own page)
    assert run_flow(place["FLOW"], place["story"], registry=registry) == [30.0, 25.0]  # type: ignore[arg-type]


def test_a_misspelled_field_is_found(registry: Registry) -> None:
    place: dict[str, str] = {}
    exec(blocks()[1], place)  # noqa: S102  (our own page)
    with pytest.raises(BadFlow, match="did you mean 'temperature_c'"):
        run_flow(place["FLOW"].replace("field: temperature_c", "field: temprature_c"), print, registry=registry)  # type: ignore[arg-type]
