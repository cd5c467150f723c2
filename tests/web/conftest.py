"""One server for the tests of a file that leave no traces; who needs a fresh one makes it with ``site()``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.web.site import Site, site


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def web() -> AsyncIterator[Site]:
    async with site() as running:
        yield running
