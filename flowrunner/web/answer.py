"""A flow's response as bytes on the wire."""

from __future__ import annotations

import math

import msgspec
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.http import Response, refusal

MAX_DEPTH = 100
"""Levels of an answer; what is below is left out, and says so."""


def answer(response: Response) -> Bytes:
    """Bytes go out as they are, anything else as JSON."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.body is None:
        return Bytes(status_code=response.status, headers=headers)
    if isinstance(response.body, bytes):
        return Bytes(response.body, status_code=response.status, headers=headers)
    headers.setdefault("content-type", "application/json")
    return Bytes(encode(response.body), status_code=response.status, headers=headers)


def ok(body: object, status: int = 200) -> Bytes:
    return answer(Response(status=status, body=body))


def takes_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` lets an answer be compressed."""
    for part in header.split(","):
        name, _, quality = part.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            return quality.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def repeated(request: Request) -> Response | None:
    """400 where the query has a name twice: which of the two is meant is not for us to guess."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            return refusal(400, "query", f"the query has {name[:64]!r} twice")
        seen.add(name)
    return None


def encode(body: object) -> bytes:
    """JSON for whatever a node put into a message: an answer must not fail because a value cannot be written.

    NaN and the infinities become null, integers beyond 64 bits floats, what is no JSON at all its repr.
    """
    try:
        return msgspec.json.encode(body, enc_hook=repr)
    except (ValueError, OverflowError, TypeError, RecursionError):
        return msgspec.json.encode(_plain(msgspec.to_builtins(body) if isinstance(body, msgspec.Struct) else body))


def _plain(value: object, depth: int = 0) -> object:
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {str(_plain(str(key))): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | None) else _plain(repr(value), depth)
