"""The signed envelope of the exchange's streams."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping

from flowrunner.message import JSON

ALGO = "HMAC-SHA256"


def signed(key: bytes, ts: str, data: JSON, **meta: JSON) -> str:
    """One frame: ``{"meta": {"ts", "sig", "algo", …}, "data": …}`` as compact JSON."""
    about = {"ts": ts, "sig": signature(key, ts, data), "algo": ALGO} | meta
    return _compact({"meta": about, "data": data})


def verified(key: bytes, frame: Mapping[str, JSON]) -> bool:
    """Whether a decoded frame was signed with ``key``."""
    meta = frame.get("meta")
    if not isinstance(meta, dict) or "data" not in frame:
        return False
    ts, sig = meta.get("ts"), meta.get("sig")
    if not isinstance(ts, str) or not isinstance(sig, str) or meta.get("algo") != ALGO:
        return False
    return hmac.compare_digest(sig.encode(), signature(key, ts, frame["data"]).encode())


def signature(key: bytes, ts: str, data: JSON) -> str:
    """base64 of the HMAC-SHA256 of ``ts|data``, data as compact JSON with its keys in the order of the frame."""
    digest = hmac.digest(key, f"{ts}|{_compact(data)}".encode(), "sha256")
    return base64.b64encode(digest).decode()


def _compact(data: object) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)
