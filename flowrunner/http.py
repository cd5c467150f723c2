"""HTTP as a flow sees it: plain requests and responses. Sockets stay in `web`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a flow's route. Header names are lower case; ``client`` is the peer's address."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    client: str = ""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. ``body`` bytes go out as they are; anything else as JSON."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = {}


def refusal(status: int, code: str, detail: str, **more: object) -> Response:
    """An error answer: ``{"error": code, "detail": …}``. The detail names what is wrong, never a secret."""
    return Response(status=status, body={"error": code, "detail": detail} | more)
