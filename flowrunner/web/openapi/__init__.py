"""``/api/v1/openapi.json``: the API and the flows' own routes, described from the code that serves them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.engine import Engine
from flowrunner.message import JSON
from flowrunner.web.endpoint import Endpoint
from flowrunner.web.people.register import People

PATH = "/api/v1/openapi.json"


def description(engine: Engine, rows: Sequence[Endpoint], people: People) -> Endpoint:
    """The route that gives the description of ``rows``, of itself, and of the routes that the flows have now.

    It is for viewers like the rest: it names the flows' routes and fields. Where everybody may do everything it speaks
    of no keys.
    """
    made: tuple[object, object, object, bytes] | None = None

    async def openapi(request: Request) -> Bytes:
        """An OpenAPI 3.1 document. It changes when a flow does."""
        nonlocal made
        locked = not people.open
        now = (engine.generation, locked, engine.routes)
        if made is None or made[:2] != now[:2] or made[2] is not now[2]:
            from flowrunner.web.openapi import document  # late: few ask for it, and start-up is dear

            made = (*now, document.encoded(engine, [*rows, this], locked=locked))
        return Bytes(made[3], media_type="application/json")

    this = Endpoint("GET", PATH, openapi, "This description", gives=dict[str, JSON], tag="operation")
    return this
