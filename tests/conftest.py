"""What every test shares."""

from collections.abc import Generator

import hypothesis
import pytest

# Examples are not timed: a machine that is busy with other work is no finding.
hypothesis.settings.register_profile("new examples", deadline=None)
hypothesis.settings.register_profile("same examples", deadline=None, derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    """The quick run draws the same examples each time, so that what is red is of the change that is looked at; the long
    one, and whoever calls pytest by hand, draws new ones."""
    quick = config.option.markexpr == "not slow"
    hypothesis.settings.load_profile("same examples" if quick else "new examples")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Logs of tests with odd payloads hold what is no Unicode; between the processes of a parallel run it cannot go."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report
