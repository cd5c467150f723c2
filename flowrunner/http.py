"""HTTP as a flow sees it: plain requests and responses. Sockets stay in `web`."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from flowrunner.units import SECOND


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


class TokenBuckets:
    """A rate limit per client: ``rate`` requests a second, with a burst of one second's worth."""

    MAX_CLIENTS = 10_000

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.burst = max(1.0, rate)
        self._clients: dict[str, tuple[float, int]] = {}  # client → (tokens left, when that was, ns)

    def take(self, client: str, now: int) -> float:
        """Take a token at ``now`` (ns): 0 when there was one, else the seconds until there is."""
        tokens, at = self._clients.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + max(0, now - at) / SECOND * self.rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self.rate
        self._clients[client] = (tokens - 1 if wait == 0 else tokens, now)  # the end of the dict is the newest
        if len(self._clients) > self.MAX_CLIENTS:
            del self._clients[next(iter(self._clients))]
        return wait


def parse_json(body: bytes) -> object:
    """A request's body. ValueError with a sentence for what is not JSON, is nested too deep or has a key twice.

    NaN, Infinity and numbers beyond a double come through as floats that are not finite, so that whoever knows
    the field can name it.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("the body is nested too deep") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"the body has the key {twice[:64]!r} twice")
    return result
