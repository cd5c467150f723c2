"""HTTP as a flow sees it: plain requests and responses, keys, rates and JSON. Sockets stay in `web`."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from flowrunner.units import SECOND

_decode = msgspec.json.decode

MAX_DEPTH = 64
"""Levels of lists and objects that a body may have."""
_SIMPLE = {float, bool, type(None)}

Steps: TypeAlias = "tuple[Steps, str] | None"
"""The way to a value inside a body, innermost step first; made into text only on demand."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a flow's route. Header names are lower case; ``client`` is the peer's address."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    too_large: bool = False
    """The body is longer than the route takes; ``body`` is empty then."""
    client: str = ""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. ``body`` bytes go out as they are; anything else as JSON."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = {}


def refusal(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: object
) -> Response:
    """An error answer: ``{"error": code, "detail": …}``. The detail names what is wrong, never a secret."""
    return Response(status=status, body={"error": code, "detail": detail} | more, headers=headers or {})


def retry_after(seconds: float) -> dict[str, str]:
    """The header that tells when to come again; whole seconds, never too early."""
    return {"retry-after": str(math.ceil(seconds))}


# ---- keys --------------------------------------------------------------------------------------------------------


def same_key(given: str, key: str) -> bool:
    """Whether a header's text is the key, in constant time. Headers are read as Latin-1, keys are sent as UTF-8."""
    return hmac.compare_digest(given.encode("latin-1", "replace"), key.encode("utf-8", "surrogateescape"))


def key_fault(key: str) -> str:
    """Why no request could ever carry this key, or ""."""
    if key != key.strip():
        return "it begins or ends with a space, which no request can send"
    if any(ord(char) < 32 or ord(char) == 127 for char in key):
        return "it holds a control character, which no request can send"
    return ""


def missing_key(given: str) -> Response:
    """401, the same for every key: it tells a missing from a wrong one and nothing else."""
    detail = f"the header X-API-KEY {'is wrong' if given else 'is missing'}"
    return refusal(401, "unauthorized", detail, headers={"www-authenticate": "X-API-KEY"})


WRONG_KEYS_PER_SECOND = 5.0
"""Of one client; more are not even looked at."""


class TokenBuckets:
    """A rate limit per client: ``rate`` requests a second, with a burst of one second's worth."""

    MAX_CLIENTS = 10_000

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.burst = max(1.0, rate)
        self._clients: dict[str, tuple[float, int]] = {}  # client → (tokens left, when that was, ns)

    def take(self, client: str, now: int) -> float:
        """Take a token at ``now`` (ns): 0 when there was one, else the seconds until there is."""
        clients = self._clients
        tokens, at = clients.pop(client, (self.burst, now))
        if now > at:
            tokens += (now - at) / SECOND * self.rate
            if tokens > self.burst:
                tokens = self.burst
        # who waited as long as was said gets in, whatever the last digit of a float says
        wait = 0.0 if tokens >= 1 - 1e-9 else (1 - tokens) / self.rate
        if wait == 0:
            tokens = tokens - 1 if tokens > 1 else 0.0
        clients[client] = (tokens, now)  # the end of the dict is the newest
        if len(clients) > self.MAX_CLIENTS:
            del clients[next(iter(clients))]
        return wait


# ---- bodies --------------------------------------------------------------------------------------------------------


def wrong_media(headers: Mapping[str, str]) -> str:
    """Why a body with these headers is not JSON in UTF-8, or ""."""
    if headers.get("content-type") == "application/json" and "content-encoding" not in headers:
        return ""  # by far the most common
    media, *parameters = headers.get("content-type", "").lower().split(";")
    if media.strip() != "application/json":
        return "send the body as application/json"
    charsets = [
        value.strip(' "') for name, _, value in (one.partition("=") for one in parameters) if name.strip() == "charset"
    ]
    if any(charset not in ("utf-8", "utf8", "us-ascii") for charset in charsets):
        return "send the body in UTF-8"
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        return "send the body without content-encoding"
    return ""


def parse_json(body: bytes) -> object:
    """A request's body. ValueError with a sentence for what is not JSON, is nested too deep, has a key twice or
    a text that is no Unicode.

    NaN, Infinity and numbers beyond a double come through as floats that are not finite, so that whoever knows
    the field can name it. Integers beyond 64 bits become floats: nothing behind this can hold them.
    """
    value = _record(body)
    return _looked_at(body) if value is None else value


def _record(body: bytes) -> dict[str, object] | None:
    """An ordinary record, read quickly; None for all else, and for whatever there may be something to say about."""
    try:
        value = _decode(body)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None  # the other way to read it finds the words
    if type(value) is not dict or b"\\" in body:
        return None
    colons = 0  # in texts
    for name, one in value.items():
        kind = type(one)
        if kind is int:
            if not -(2**63) <= one < 2**64:
                return None
        elif kind is str:
            colons += one.count(":")
        elif kind not in _SIMPLE:
            return None
        if ":" in name:
            colons += name.count(":")
    # The reader keeps the last of two equal keys: there were none if each colon outside of texts has its key.
    return value if body.count(b":") - colons == len(value) else None


def _looked_at(body: bytes) -> object:
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_int=_whole)
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("the body is nested too deep") from None
    for _ in _leaves(value):  # looks at every text and at the depth
        pass
    return value


def not_finite(value: object) -> str | None:
    """The way to the first number of a body that is not finite (``values[2].power``), or None."""
    for steps, leaf in _leaves(value):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            return _spell(steps)
    return None


def _leaves(value: object) -> Iterator[tuple[Steps, object]]:
    waiting: list[tuple[Steps, int, object]] = [(None, 0, value)]
    while waiting:
        steps, depth, one = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"the body is nested too deep: more than {MAX_DEPTH} levels")
        if isinstance(one, dict):
            for key in one:
                _unicode(key)
            waiting += [((steps, f".{key[:64]}"), depth + 1, below) for key, below in reversed(one.items())]
        elif isinstance(one, list):
            waiting += [((steps, f"[{len(one) - 1 - at}]"), depth + 1, below) for at, below in enumerate(reversed(one))]
        else:
            if isinstance(one, str):
                _unicode(one)
            yield steps, one


def _unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the body has a text that is no Unicode: one half of a surrogate pair") from None


def _spell(steps: Steps) -> str:
    parts: list[str] = []
    while steps is not None:
        steps, step = steps
        parts.append(step)
    return "".join(reversed(parts)).removeprefix(".")


def _whole(digits: str) -> int | float:
    if len(digits) <= 20:
        number = int(digits)
        if -(2**63) <= number < 2**64:
            return number
    return float(digits)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the body has the key {twice[:64]!r} twice")
    return result
