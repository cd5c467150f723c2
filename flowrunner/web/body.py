"""Reading a request's body, never more of it than was agreed."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request


async def read(request: Request, limit: int) -> bytes:
    """Up to ``limit`` bytes and one more chunk, so that the caller can tell that it was too long."""
    try:
        declared = int(request.headers.get("content-length", "0"))
    except ValueError:
        declared = 0
    if declared > limit:
        return b"\0" * (limit + 1)  # not worth reading: its length is already the answer
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                break
    except ClientDisconnect:
        return b""
    return b"".join(chunks)
