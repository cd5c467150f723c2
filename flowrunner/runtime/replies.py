"""Open requests: a message carries a handle, whoever reaches the answer gives it by the handle."""

from __future__ import annotations

import asyncio
import itertools

from flowrunner.http import Response


class Replies:
    """Handles are plain text, so they survive in a message; the waiting request stays with its node."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Future[Response]] = {}
        self._numbers = itertools.count(1)

    def expect(self, owner: str) -> tuple[str, asyncio.Future[Response]]:
        handle = f"{owner}#{next(self._numbers)}"
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._open[handle] = future
        return handle, future

    def answer(self, handle: str, response: Response) -> bool:
        future = self._open.pop(handle, None)
        if future is None or future.done():
            return False
        future.set_result(response)
        return True

    def forget(self, handle: str) -> None:
        self._open.pop(handle, None)
