"""``/api/v1/orders``: what was ordered and why, and what was refused."""

from __future__ import annotations

from typing import Annotated, get_args

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner import shown, views
from flowrunner.engine import Engine, Unknown
from flowrunner.http import refusal
from flowrunner.orders import Journal, State
from flowrunner.web.answer import answer, ok
from flowrunner.web.endpoint import Endpoint, Query

MOST = 1000
"""Orders of one answer."""
LIMIT = Query("limit", "How many at most; 100 unless told.", kind=Annotated[int, Meta(ge=1, le=MOST)])
WRONG = {422: {"query": "A parameter is wrong; the detail names it."}}


def endpoints(engine: Engine) -> list[Endpoint]:
    """The routes of orders."""
    api = _Orders(engine)
    return [
        Endpoint(
            "GET", "/api/v1/orders", api.orders, "Orders, newest first",
            gives=list[shown.OrderShown],
            query=(LIMIT, Query("market", "Only those of it."), Query("state", "Only those in it.", kind=State)),
            refuses=WRONG, tag="orders",
        ),
        Endpoint(
            "GET", "/api/v1/orders/{order}", api.order, "One order with its whole story",
            gives=shown.StoryShown, tag="orders",
        ),
        Endpoint(
            "GET", "/api/v1/refusals", api.refusals, "What guards did not let through, latest first",
            gives=list[shown.RefusalShown], query=(LIMIT,), refuses=WRONG, tag="orders",
        ),
    ]  # fmt: skip


class _Orders:
    def __init__(self, engine: Engine) -> None:
        self.journal = Journal(engine.store)

    async def orders(self, request: Request) -> Bytes:
        """What was decided, in paper mode too, with what became of it."""
        limit, state = _limit(request), request.query_params.get("state")
        if limit is None:
            return _wrong("limit", f"a whole number from 1 to {MOST}")
        if state is not None and state not in get_args(State):
            return _wrong("state", f"one of {', '.join(get_args(State))}")
        found = self.journal.orders(limit=limit, market=request.query_params.get("market"), state=state)
        return ok([views.order(one) for one in found])

    async def order(self, request: Request) -> Bytes:
        """The order, its decision (inputs with age and source, the rule's clauses) and each step since."""
        name = request.path_params["order"]
        found = self.journal.story(name)
        if found is None:
            raise Unknown(f"there is no order {name[:100]!r}")
        return ok(views.story(*found))

    async def refusals(self, request: Request) -> Bytes:
        """Each once for its rule, slot, side and reason, with how often it came."""
        limit = _limit(request)
        if limit is None:
            return _wrong("limit", f"a whole number from 1 to {MOST}")
        return ok([views.refusal(one) for one in self.journal.refusals(limit=limit)])


def _limit(request: Request) -> int | None:
    text = request.query_params.get("limit", "100")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST else None


def _wrong(name: str, wanted: str) -> Bytes:
    return answer(refusal(422, "query", f"{name} must be {wanted}"))
