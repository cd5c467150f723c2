"""merge: one record out of several sources, the best of each field."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.message import FUTURE_TOLERANCE_NS, JSON, FieldInfo, Instant, Message, worst
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import FieldName, InputName
from flowrunner.shape import Shape
from flowrunner.units import Duration

MAX_KEYS = 10_000
"""Keys come from the outside (topics); more than this is a mistake, not a fleet."""


class Held(msgspec.Struct):
    """What one source last said of one field."""

    value: JSON
    info: FieldInfo


class Site(msgspec.Struct):
    """All that is known of one key: field → input → what it said."""

    held: dict[str, dict[str, Held]] = {}


class Merge(Node):
    """Keep the newest of each field from each source, and pass on one record with the best of each.

    Best is the first fresh value in the order of ``prefer``, without it the newest one; a manual value counts only
    where no automatic one is fresh (``manual: fallback``). A bad value replaces its source's good one at once. A
    field that nobody delivers freshly keeps its last value with its age, and everything downstream knows it as
    stale; the port ``stale`` says when that begins.
    """

    class Options(NodeOptions):
        prefer: Annotated[list[InputName] | None, Meta(description="Inputs, the most trusted first.")] = None
        require: Annotated[list[FieldName], Meta(description="Pass a record on only when it has all of these.")] = []
        stale_after: Annotated[Duration | None, Meta(description="A value older than this is stale.")] = None
        emit: Annotated[
            Literal["every_input", "change"], Meta(description="When a record goes out; change: when a value changed.")
        ] = "every_input"
        settle: Annotated[Duration, Meta(description="Collect for this time what arrives together.")] = Duration(0)
        manual: Annotated[
            Literal["fallback", "override"], Meta(description="Whether a manual value gives way or takes over.")
        ] = "fallback"

    options: Options
    ports = ("out", "stale")

    def check(self) -> list[Fault]:
        prefer = self.options.prefer or []
        doubles = {name for name in prefer if prefer.count(name) > 1}
        return [Fault("prefer", f"{name!r} is in it twice") for name in sorted(doubles)]

    def emits(self, incoming: Shape) -> dict[str, Shape]:
        stale = Shape({"field": "text", "source": "text", "age_s": "number", "value": None})
        return {"out": incoming, "stale": stale}

    async def open(self, ctx: Context) -> None:
        names = [name if "." in name else f"{name}.out" for name in self.options.prefer or []]
        self.rank = {name: position for position, name in enumerate(names)}
        self.sites: dict[str, Site] = {}
        self.sent: dict[str, dict[str, tuple[JSON, str]]] = {}
        for key in ctx.state:
            site = ctx.state.get(key, Site)
            if site is not None:
                self.sites[key] = site
        now = ctx.now()
        for key in self.sites:
            self._watch(key, self._choose(key, now), now, ctx)

    # ---- in -----------------------------------------------------------------------------------------------

    def process(self, message: Message, ctx: Context) -> dict[str, list[Message]] | None:
        if not isinstance(message.payload, dict):
            raise Reject("not-a-record", f"merge needs records, the payload is {type(message.payload).__name__}")
        site = self.sites.get(message.key)
        if site is None:
            if len(self.sites) >= MAX_KEYS:
                raise Reject("too-many-keys", f"more than {MAX_KEYS} keys; is the key made from the right thing?")
            site = self.sites[message.key] = Site({})
        now = ctx.now()
        for name in message.field_names():
            self._learn(site, name, message, ctx.input, now)
        ctx.state.set(message.key, site)
        if self.options.settle:
            for key in self._touched(message.key):
                ctx.timer("settle", key, now + self.options.settle)
            return None
        return self._records(self._touched(message.key), message, now, ctx)

    def on_timer(self, name: str, key: str, ctx: Context) -> dict[str, list[Message]] | None:
        """``settle``: what was collected goes out. ``stale``: a value's time is over, and that is news."""
        now = ctx.now()
        if name == "settle":
            return self._records([key], None, now, ctx)
        chosen = self._choose(key, now)
        stale = [
            self._message(key, {"field": field, "source": held.info.source, "age_s": held.info.age_ns(now) // 10**9}
                          | {"value": held.value}, {}, now, None, ctx)
            for field, held in chosen.items()
            if held.info.valid_until is not None and held.info.trouble(now) == "stale"
            and self.sent.get(key, {}).get(field, (None, "stale"))[1] == ""
        ]  # fmt: skip
        return {**(self._records([key], None, now, ctx) or {}), "stale": stale}

    def _touched(self, key: str) -> list[str]:
        """A message without a key joins every key."""
        if key:
            return [key]
        return [one for one in self.sites if one] or [""]

    def _learn(self, site: Site, name: str, message: Message, wire: str, now: Instant) -> None:
        info, value = message.info(name), message.payload.get(name)
        if value is None and info.quality != "bad":
            info = msgspec.structs.replace(info, quality="bad")
        elif info.at - now > FUTURE_TOLERANCE_NS and info.quality == "good":
            info = msgspec.structs.replace(info, quality="uncertain")
        if self.options.stale_after and info.valid_until is None and info.origin != "manual":
            fresh_until = min(info.at, info.received_at) + self.options.stale_after
            info = msgspec.structs.replace(info, valid_until=fresh_until)
        held = site.held.setdefault(name, {})
        old = held.get(wire)
        if old is not None and info.at < old.info.at <= now + FUTURE_TOLERANCE_NS:
            return  # an older value never replaces a newer one; one from the future does not count as newer
        held[wire] = Held(None if info.quality == "bad" else value, info)

    # ---- out ----------------------------------------------------------------------------------------------

    def _records(
        self, keys: list[str], cause: Message | None, now: Instant, ctx: Context
    ) -> dict[str, list[Message]] | None:
        out: list[Message] = []
        for key in keys:
            chosen = self._choose(key, now)
            self._watch(key, chosen, now, ctx)
            view = {name: (held.value, held.info.trouble(now)) for name, held in chosen.items()}
            changed, self.sent[key] = view != self.sent.get(key), view
            if not changed and self.options.emit == "change":
                continue
            payload = {name: held.value for name, held in chosen.items() if held.info.quality != "bad"}
            if any(name not in payload for name in self.options.require):
                ctx.drop("incomplete")
                continue
            infos = {name: held.info for name, held in chosen.items()}
            out.append(self._message(key, payload, infos, now, cause, ctx))
        return {"out": out} if out else None

    def _message(
        self, key: str, payload: dict[str, JSON], infos: dict[str, FieldInfo], now: Instant,
        cause: Message | None, ctx: Context,
    ) -> Message:  # fmt: skip
        used = [infos[name] for name in payload if name in infos]
        overridden = self._overridden(key, infos, now)
        changes = {
            "at": max((info.at for info in used), default=now),
            "origin": "manual" if any(info.origin == "manual" for info in used) else "automatic",
            "quality": worst(info.quality for info in used),
            "key": key,
            "fields": infos or None,
            "meta": {"overridden": overridden} if overridden else None,
        }
        if cause is not None:
            return cause.derive(payload, **changes)
        return msgspec.structs.replace(ctx.message(payload, position=""), **changes)

    def _choose(self, key: str, now: Instant) -> dict[str, Held]:
        """Field → the value that counts now; what came without a key counts for every key."""
        site, common = self.sites.get(key, Site({})), self.sites.get("", Site({}))
        names = dict.fromkeys([*site.held, *common.held])
        return {name: self._best({**common.held.get(name, {}), **site.held.get(name, {})}, now) for name in names}

    def _best(self, held: dict[str, Held], now: Instant) -> Held:
        ordered = sorted(held.items(), key=lambda one: (self.rank.get(one[0], len(self.rank)), -one[1].info.at))
        fresh = [one for _, one in ordered if one.info.trouble(now) == ""]
        by_hand = [one for one in fresh if one.info.origin == "manual"]
        automatic = [one for one in fresh if one.info.origin != "manual"]
        groups = [by_hand, automatic] if self.options.manual == "override" else [automatic, by_hand]
        for group in groups:
            if group:
                return group[0]
        known = [one for _, one in ordered if one.info.quality != "bad"] or [one for _, one in ordered]
        return max(known, key=lambda one: one.info.at)

    def _overridden(self, key: str, infos: dict[str, FieldInfo], now: Instant) -> dict[str, JSON]:
        """The fresh automatic values that manual ones took the place of: thresholds judge both."""
        if self.options.manual != "override":
            return {}
        found: dict[str, JSON] = {}
        for name, info in infos.items():
            if info.origin != "manual":
                continue
            sources = {**self.sites.get("", Site({})).held.get(name, {}), **self.sites[key].held.get(name, {})}
            automatic = {wire: one for wire, one in sources.items() if one.info.origin != "manual"}
            if automatic and (best := self._best(automatic, now)).info.trouble(now) == "":
                found[name] = best.value
        return found

    def _watch(self, key: str, chosen: dict[str, Held], now: Instant, ctx: Context) -> None:
        """Wake up when the next of the chosen values is no longer fresh."""
        ends = [held.info.valid_until for held in chosen.values() if held.info.valid_until is not None]
        ahead = [end for end in ends if end > now]
        if ahead:
            ctx.timer("stale", key, min(ahead))
        else:
            ctx.cancel_timer("stale", key)
