"""Reading a request's body, never more of it than was agreed."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from flowrunner.http import Response, refusal, wrong_media


async def read(request: Request, limit: int) -> bytes | None:
    """The body, or None when it is longer than ``limit`` bytes. A body that breaks off is empty: nobody waits.

    How long it may take is the connection's affair (`connection`).
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > limit:
        return None  # not worth reading
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                return None
    except ClientDisconnect:
        return b""
    return bytes(body)


async def json_text(request: Request, limit: int) -> bytes | Response:
    """The body of a request that must bring JSON, as it came; or the refusal of another type or a longer one."""
    media = wrong_media(request.headers)
    if media:
        return refusal(415, "media-type", media)
    raw = await read(request, limit)
    return refusal(413, "too-large", f"the body is larger than {limit} bytes") if raw is None else raw
