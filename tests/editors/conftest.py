"""One server for all tests here: it takes a moment to start, and keeps nothing between files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.editors.desk import Desk, cases, desk, examples, shipped_flows


@pytest.fixture(scope="session")
def editor() -> Iterator[Desk]:
    with desk() as one:
        one.open_all(shipped_flows() | cases() | examples())
        yield one
