"""A flow's response as bytes on the wire."""

from __future__ import annotations

import msgspec
from starlette.responses import Response as Bytes

from flowrunner.http import Response


def answer(response: Response) -> Bytes:
    """Bytes go out as they are, anything else as JSON."""
    headers = dict(response.headers)
    if response.body is None:
        return Bytes(status_code=response.status, headers=headers)
    if isinstance(response.body, bytes):
        return Bytes(response.body, status_code=response.status, headers=headers)
    headers.setdefault("content-type", "application/json")
    return Bytes(msgspec.json.encode(response.body), status_code=response.status, headers=headers)


def ok(body: object, status: int = 200) -> Bytes:
    return answer(Response(status=status, body=body))
