"""What every test shares."""

import hypothesis
import pytest

# Examples are not timed: a machine that is busy with other work is no finding.
hypothesis.settings.register_profile("flowrunner", deadline=None)
hypothesis.settings.load_profile("flowrunner")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
