"""What a node of these tests may do instead of its work."""

from __future__ import annotations

import asyncio
from typing import Any

from flowrunner.errors import Fatal, NotConnected, Reject, Retry


def feel(mood: str, message: Any = None) -> Any:
    """Raise, or return what the mood says; ``ok`` is to be told apart by the caller."""
    errors: dict[str, BaseException] = {
        "away": NotConnected("the peer is away"),
        "retry": Retry(5, "the peer is busy"),
        "reject": Reject("bad-value", "it is not believed"),
        "fatal": Fatal("the world ends"),
        "error": ZeroDivisionError("division by zero"),
        "exit": SystemExit(3),
        "cancelled": asyncio.CancelledError(),
        "stop": StopIteration(),
    }
    if mood in errors:
        raise errors[mood]
    junk: dict[str, Any] = {
        "number": 5,
        "text": "text",
        "nothing-in-a-list": [None],
        "unknown-port": {"nowhere": message},
        "text-by-port": {"out": "text"},
        "half": [message, 5],
    }
    return junk[mood]
