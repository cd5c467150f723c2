"""The signed envelope of an exchange's streams: made, and believed only after a look at key, time and repetition."""

from __future__ import annotations

import base64
import heapq
import hmac
import json
from collections.abc import Callable, Mapping

import msgspec

from flowrunner.http import parse_json
from flowrunner.message import JSON, Instant
from flowrunner.units import SECOND, parse_instant

ALGO = "HMAC-SHA256"
WINDOW_NS = 300 * SECOND
"""How far the time of a frame may be from ours. A frame that comes again within it is told by its signature."""
KEPT = 100_000
"""Signatures that are remembered. Where they do not reach over the window, the window is shorter."""


def signed(key: bytes, ts: str, data: JSON, **meta: JSON) -> str:
    """One frame: ``{"meta": {"ts", "sig", "algo", …}, "data": …}`` as compact JSON."""
    about = {"ts": ts, "sig": signature(key, ts, data), "algo": ALGO} | meta
    return _compact({"meta": about, "data": data})


def verified(key: bytes, frame: Mapping[str, JSON]) -> bool:
    """Whether a decoded frame was signed with ``key``; time and repetition are not looked at."""
    meta = frame.get("meta")
    if not isinstance(meta, dict) or "data" not in frame:
        return False
    ts, sig = meta.get("ts"), meta.get("sig")
    if not isinstance(ts, str) or not isinstance(sig, str) or meta.get("algo") != ALGO:
        return False
    return _is_same(sig, signature(key, ts, frame["data"]))


def signature(key: bytes, ts: str, data: JSON) -> str:
    """base64 of the HMAC-SHA256 of ``ts|data``, data as compact JSON with its keys in the order of the frame."""
    return _signature(key, ts, _compact(data).encode())


class Distrusted(ValueError):
    """A frame that is not believed. The text is a sentence without anything of key or frame in it."""


class Envelopes:
    """What opens the frames signed with one key. It remembers what came within the window: no frame counts twice."""

    def __init__(self, key: str, now: Callable[[], Instant], kept: int = KEPT) -> None:
        self._key = key.encode()
        self._now = now
        self._kept = kept
        self._seen: set[tuple[Instant, str]] = set()
        self._oldest_first: list[tuple[Instant, str]] = []
        self._forgotten: Instant = 0
        """What is not newer than this cannot be told from a repetition."""

    def open(self, frame: str) -> JSON:
        """The frame's data, with finite numbers only; Distrusted says why not.

        The signature is looked for over the data as they came and over the same data as compact JSON: a proxy may
        have written them anew.
        """
        try:
            envelope = _FRAME.decode(frame)
            data = parse_json(bytes(envelope.data))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Distrusted("a frame is no signed message") from None
        meta = envelope.meta
        if meta.algo != ALGO:
            raise Distrusted(f"a frame is signed in another way than by {ALGO}")
        if not self._is_ours(meta, bytes(envelope.data), data):
            raise Distrusted("a frame's signature is wrong; is the key right?")
        self._note(meta)
        return data

    def _is_ours(self, meta: _Meta, raw: bytes, data: JSON) -> bool:
        if _is_same(meta.sig, _signature(self._key, meta.ts, raw)):
            return True
        try:
            return _is_same(meta.sig, signature(self._key, meta.ts, data))
        except ValueError:  # a number that is not finite
            return False

    def _note(self, meta: _Meta) -> None:
        try:
            at = parse_instant(meta.ts)
        except ValueError:
            raise Distrusted("the time of a frame is no time with a zone") from None
        now = self._now()
        if abs(at - now) > WINDOW_NS:
            side = "behind" if at < now else "ahead of"
            raise Distrusted(
                f"the time of a frame is {abs(at - now) / SECOND:.0f} s {side} ours: old, or a wrong clock"
            )
        if at <= self._forgotten or (at, meta.sig) in self._seen:
            raise Distrusted("a frame came a second time")
        self._seen.add((at, meta.sig))
        heapq.heappush(self._oldest_first, (at, meta.sig))
        while self._oldest_first[0][0] < now - WINDOW_NS or len(self._oldest_first) > self._kept:
            forgotten = heapq.heappop(self._oldest_first)
            self._seen.discard(forgotten)
            self._forgotten = max(self._forgotten, forgotten[0])


class _Meta(msgspec.Struct, frozen=True):
    ts: str
    sig: str
    algo: str


class _Frame(msgspec.Struct, frozen=True):
    meta: _Meta
    data: msgspec.Raw


_FRAME = msgspec.json.Decoder(_Frame)


def _signature(key: bytes, ts: str, data: bytes) -> str:
    return base64.b64encode(hmac.digest(key, ts.encode() + b"|" + data, "sha256")).decode()


def _is_same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


def _compact(data: object) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)
