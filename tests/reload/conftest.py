"""What the tests of reloads share."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def quiet_log() -> Iterator[None]:
    """Thousands of rejected messages are meant: kept for each example, their log lines take longer than the flows."""
    log = logging.getLogger("flowrunner")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(before)
