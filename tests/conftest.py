"""What every test shares."""

from collections.abc import Generator

import hypothesis
import pytest

# Examples are not timed: a machine that is busy with other work is no finding.
hypothesis.settings.register_profile("flowrunner", deadline=None)
hypothesis.settings.load_profile("flowrunner")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Logs of tests with odd payloads hold what is no Unicode; between the processes of a parallel run it cannot go."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report
