"""Where the inputs of an expression come from at one instant: the scope, and the scope over a message."""

from __future__ import annotations

from typing import Protocol
from zoneinfo import ZoneInfo

from flowrunner.expression.errors import Unusable
from flowrunner.expression.tree import Scalar
from flowrunner.message import JSON, NOT_YET, FieldInfo, Instant, Message
from flowrunner.units import SECOND

SCALAR_PAYLOAD = "value"
"""The one name of a payload that is no record."""


class Scope(Protocol):
    """What a program asks. It asks for every name of its expression, also where ``and``/``or`` would stop early."""

    @property
    def zone(self) -> ZoneInfo:
        """The zone of ``hour()``, ``weekday()`` and times of day."""
        ...

    def value(self, name: str) -> JSON:
        """A finite number, text, true or false. Unusable when it is missing, stale, bad, or anything else."""
        ...

    def age(self, name: str) -> float:
        """Seconds since the value was true. Unusable when there is no trustworthy value to have an age."""
        ...

    def now(self) -> Instant:
        """Nanoseconds since the epoch; the same for one evaluation."""
        ...


class RecordScope:
    """The scope over one message at the instant ``now``; ``use`` as in :meth:`FieldInfo.trouble`.

    Cheap: made per message, nothing is looked at before asked."""

    __slots__ = ("_fields", "_now", "_payload", "_use", "_whole", "message", "zone")

    def __init__(self, message: Message, now: Instant, zone: ZoneInfo, use: Instant | None = None) -> None:
        self.message = message
        self.zone = zone
        self._now = now
        self._use = use
        self._payload = message.payload
        self._fields = message.fields
        self._whole: FieldInfo | None = None

    def now(self) -> Instant:
        return self._now

    def value(self, name: str) -> Scalar:
        """Unusable with the reason that ``FieldInfo.trouble`` gives, or ``missing``, ``null``, ``not …``."""
        value = self._plain(name)
        trouble = self._info(name).trouble(self._now, self._use)
        if trouble:
            raise Unusable(name, trouble)
        return value

    def age(self, name: str) -> float:
        """A stale value has an age (``age(soc_percent) > 5min`` must see it). One that is bad, uncertain, null or
        not finite has none, nor one from the future: its clock is wrong, and it would look fresh."""
        self._plain(name)
        info = self._info(name)
        trouble = info.trouble(self._now)
        if trouble and trouble not in ("stale", NOT_YET):
            raise Unusable(name, trouble)
        return info.age_ns(self._now) / SECOND

    def _plain(self, name: str) -> Scalar:
        payload = self._payload
        if isinstance(payload, dict):
            if name not in payload:
                raise Unusable(name, "missing")
            value = payload[name]
        elif name == SCALAR_PAYLOAD:
            value = payload
        else:
            raise Unusable(name, "missing")
        kind = type(value)
        if kind is float:
            if value - value != 0.0:  # infinite or NaN
                raise Unusable(name, "not a finite number")
        elif kind is not int and kind is not str and kind is not bool:
            raise Unusable(name, "null" if value is None else "not a single value")
        return value  # type: ignore[no-any-return]

    def _info(self, name: str) -> FieldInfo:
        """``message.info(name)``; what holds for the whole message is made once per scope, not once per field."""
        own = self._fields.get(name) if self._fields else None
        if own is not None:
            return own
        if self._whole is None:
            self._whole = self.message.as_info()
        return self._whole
