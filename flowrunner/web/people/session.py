"""``GET /api/v1/me``: who asks, and what they may."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.engine import Engine
from flowrunner.store.people import Role
from flowrunner.web.answer import ok
from flowrunner.web.endpoint import Endpoint
from flowrunner.web.people.person import Person


class PersonShown(TypedDict):
    """Who asks."""

    name: Annotated[str, Meta(description='Of the user or the key; "" where nobody has to say who they are.')]
    role: Role
    by: Annotated[Literal["session", "key", "open"], Meta(description="How that is known.")]


def endpoints(engine: Engine) -> list[Endpoint]:
    """The route; for terminals and pages that show only what may be done."""

    async def me(request: Request) -> Bytes:
        """The user or key that this request is taken for, with its role: viewer, operator or editor."""
        person: Person = request.state.person
        return ok(PersonShown(name=person.name, role=person.role, by=person.by))

    return [Endpoint("GET", "/api/v1/me", me, "Who am I?", gives=PersonShown, tag="operation")]
