"""The message: what travels on wires. Immutable; nodes derive new ones and never change one.

All instants are integer nanoseconds since 1970-01-01T00:00:00Z (flow time). They become text (ISO 8601, UTC,
milliseconds) only at the edges, by :func:`flowrunner.units.iso`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from flowrunner.units import iso, seconds_text

Origin = Literal["automatic", "manual", "simulated", "planned"]
Quality = Literal["good", "uncertain", "bad"]
Instant = int
"""Nanoseconds since the epoch, UTC."""

JSON: TypeAlias = Any
"""A JSON value: None, bool, int, float (finite), str, list or dict of these."""

Root = tuple[str, str]
"""(node id, position in its source): the same after a restart."""

Path: TypeAlias = tuple[str, ...] | None
"""The ids of the nodes that a message came through, oldest first; None until it leaves its first node."""

QUALITIES: tuple[Quality, ...] = ("good", "uncertain", "bad")
NOT_YET = "not valid yet"
"""The trouble with a value whose interval has not begun: nothing is wrong with it, it is for later."""
FUTURE_TOLERANCE_NS = 5_000_000_000
"""An event time further ahead of now than this is uncertain (a clock is wrong somewhere)."""
_replace = msgspec.structs.replace


class FieldInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of one field of a record beside its value.

    A missing or unusable value is an absent key in the payload with ``quality="bad"`` here.
    ``valid_from``/``valid_until`` bound the instants that the value may be used for; ``valid_from`` is set for
    values with a delivery interval, ``valid_until`` alone means "fresh until".
    """

    at: Instant
    received_at: Instant
    source: str
    origin: Origin = "automatic"
    quality: Quality = "good"
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    unit: str | None = None
    judge: str = ""
    """Of a verdict: the address of the threshold that gave it. Whoever makes a field anew leaves it empty."""

    def age_ns(self, now: Instant) -> int:
        """How old the value is: the worse of event time and arrival, never negative."""
        return max(now - self.at, now - self.received_at, 0)

    def trouble(self, now: Instant, use: Instant | None = None) -> str:
        """Why the value must not be used at ``now``: ``""`` when it is fresh and good.

        ``use``: another instant that it may be meant for (the delivery that is decided about now); a value with an
        interval is fresh when the interval covers either.
        """
        if self.quality != "good":
            return self.quality
        if self.at - now > FUTURE_TOLERANCE_NS:
            return "from the future"
        interval = self.valid_from is not None and self.valid_until is not None
        if use is not None and interval and self.valid_from <= use < self.valid_until:  # type: ignore[operator]
            return ""
        if self.valid_until is not None and now >= self.valid_until:
            return "stale"
        if self.valid_from is not None and now < self.valid_from:
            return NOT_YET
        return ""

    def shown(self, now: Instant) -> dict[str, JSON]:
        """Source, age and whether the value may be used at ``now``, as the API and the status show it."""
        trouble = self.trouble(now)
        optional = {
            "unit": self.unit,
            "valid_from": None if self.valid_from is None else iso(self.valid_from),
            "valid_until": None if self.valid_until is None else iso(self.valid_until),
            "reason": None if trouble == NOT_YET else trouble or None,
        }
        return {
            "at": iso(self.at),
            "age_s": seconds_text(self.age_ns(now)),
            "source": self.source,
            "origin": self.origin,
            "quality": self.quality,
            "stale": trouble not in ("", NOT_YET),
        } | {key: value for key, value in optional.items() if value is not None}


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # of JSON no circle can be made
    """One message. ``root`` and ``path`` are stamped by the runtime; a message never holds its parents."""

    payload: JSON
    at: Instant
    received_at: Instant
    source: str
    origin: Origin = "automatic"
    quality: Quality = "good"
    key: str = ""
    fields: dict[str, FieldInfo] | None = None
    """For records: field → what is known of it. None: every field is as the message."""
    meta: dict[str, JSON] | None = None
    root: Root | None = None
    path: Path = None

    def derive(
        self, payload: JSON, *, fields: dict[str, FieldInfo] | UnsetType | None = UNSET, **changes: Any
    ) -> Message:
        """A new message from this one: same times, source and quality unless ``changes`` say otherwise.

        ``fields`` is kept only for records; lineage is left to the runtime.
        """
        if fields is UNSET:
            fields = self.fields if isinstance(payload, dict) else None
        if changes:
            return _replace(self, payload=payload, fields=fields, root=None, path=None, **changes)
        return _replace(self, payload=payload, fields=fields, root=None, path=None)  # without another map: faster

    def info(self, field: str) -> FieldInfo:
        """What is known of ``field``: its own entry, else what holds for the whole message."""
        if self.fields is not None:
            own = self.fields.get(field)
            if own is not None:
                return own
        return self.as_info()

    def as_info(self, **changes: Any) -> FieldInfo:
        """The message's own times, source, origin and quality as a FieldInfo."""
        whole = FieldInfo(
            at=self.at, received_at=self.received_at, source=self.source, origin=self.origin, quality=self.quality
        )
        return _replace(whole, **changes) if changes else whole

    def field_names(self) -> Iterable[str]:
        """Every field that the record speaks of, the absent (bad) ones too."""
        own = self.payload if isinstance(self.payload, dict) else ()
        if not self.fields:
            return own
        return dict.fromkeys([*own, *self.fields])

    def lineage(self) -> str:
        """``modbus@2025-01-25T02:00:00Z > modbus-units > telemetry``: made on demand, for logs and journals."""
        steps = self.path or ()
        if self.root is None:
            return " > ".join(["?", *steps])
        later = steps[1:] if steps[:1] == self.root[:1] else steps
        return " > ".join(["@".join(self.root), *later])


def worst(qualities: Iterable[Quality]) -> Quality:
    """The worst of several qualities: a value computed from others is no better than its worst input."""
    return max(qualities, key=QUALITIES.index, default="good")


def oldest(infos: Mapping[str, FieldInfo], names: Iterable[str]) -> Instant | None:
    """The oldest event time among ``names``: the ``at`` of a value that was computed from them."""
    times = [infos[name].at for name in names if name in infos]
    return min(times, default=None)
