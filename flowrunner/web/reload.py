"""``POST /api/v1/reload``: read the files again now, and tell what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner import shown, views
from flowrunner.changeover import Reloaded
from flowrunner.clock import Clock
from flowrunner.http import TokenBuckets, refusal, retry_after
from flowrunner.web import body
from flowrunner.web.answer import answer, ok
from flowrunner.web.endpoint import Endpoint
from flowrunner.web.people.person import client, said_by

RELOADS_PER_SECOND = 2.0
"""Of one client: each reads and checks all files."""
STATUS = {"applied": 200, "unchanged": 200, "refused": 422, "failed": 409}
Reload = Callable[[str, str], Awaitable[Reloaded]]
"""By whom, and from which address."""


def endpoints(reload: Reload, clock: Clock) -> list[Endpoint]:
    """The route, where there are files that can be read again."""
    return [
        Endpoint(
            "POST", "/api/v1/reload", _Reload(reload, clock).reload, "Read the files again",
            tag="operation", role="editor", gives=shown.ReloadedShown,
            also={
                422: ("The files have problems, or need a restart: what ran runs on.", shown.NotReloaded),
                409: ("A node does not open: all was put back, and what ran runs on.", shown.NotReloaded),
            },
            refuses={
                400: {"body": "There is a body; the files are read from where they are."},
                429: {"too-fast": f"One client asks more than {RELOADS_PER_SECOND:g} times a second."},
                503: {"stopping": "The server stops, and the reload had not come to its end before."},
            },
        ),
    ]  # fmt: skip


class _Reload:
    def __init__(self, reload: Reload, clock: Clock) -> None:
        self._reload, self._clock = reload, clock
        self._buckets = TokenBuckets(RELOADS_PER_SECOND)

    async def reload(self, request: Request) -> Bytes:
        """Flow files, node files and the ``--env-file`` are read and checked; only what changed notices. Takes no body.
        Answers when it is done, which takes seconds where there are thousands of nodes or a device is slow."""
        wait = self._buckets.take(client(request), self._clock.now())
        if wait > 0:
            return answer(refusal(429, "too-fast", "too fast; try again in a second", headers=retry_after(wait)))
        if await body.read(request, 0) is None:
            return answer(refusal(400, "body", "send no body: the files are read from where they are"))
        try:
            done = await self._reload(said_by(request, "", most=100), client(request))
        except asyncio.CancelledError:  # by the server's stop, this task or the reload: the task ends with the answer
            text = "this server stops; the reload had not come to its end before"
            return answer(refusal(503, "stopping", text, headers=retry_after(5)))
        told = views.reloaded(done)
        if STATUS[done.result] == 200:
            return ok(told)
        return ok({"error": done.result, "detail": done.reason, **told}, STATUS[done.result])
