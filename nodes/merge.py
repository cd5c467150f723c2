"""merge: one record out of several sources, the best of each field."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.fields import room_for_key, usable
from flowrunner.message import FUTURE_TOLERANCE_NS, JSON, QUALITIES, FieldInfo, Instant, Message, Origin
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import FieldName, InputName
from flowrunner.shape import Shape
from flowrunner.standing import Choice, Held, Preference, Site, Standing
from flowrunner.units import SECOND, Duration

MAX_FIELDS = 1000
"""Fields of one key. Their names may come from the outside; more than this is a mistake, not a record."""

ORIGINS: tuple[Origin, ...] = ("automatic", "planned", "simulated", "manual")
"""A record of several origins has the last of them: nothing made up looks measured."""

Out = dict[str, list[Message]]


class Merge(Node):
    """Keep the newest of each field from each source, and pass on one record with the best of each.

    Best is the first fresh value in the order of ``prefer``, without it the newest one; a manual value counts only
    where no automatic one is fresh (``manual: fallback``). A bad value replaces its source's good one at once. A
    field that nobody delivers freshly keeps its last value with its age, and everything downstream knows it as
    stale; the port ``stale`` says when that begins. A message without a key is news for every key.
    """

    example = """
        meter: {type: mqtt-in, broker: "mqtt://localhost:1883", topics: {bess/soc: {field: soc_percent}}}
        control-room: {type: manual-in, fields: {soc_percent: {min: 0, max: 100}}, expires_after: 2h}
        telemetry:
          type: merge
          from: [meter, control-room]
          prefer: [meter, control-room]
          stale_after: 90s
    """

    class Options(NodeOptions):
        prefer: Annotated[list[InputName] | None, Meta(description="Inputs, the most trusted first.")] = None
        require: Annotated[
            list[FieldName], Meta(description="Pass a record on only when it has a value for all of these.")
        ] = []
        stale_after: Annotated[Duration | None, Meta(description="A value older than this is stale.")] = None
        emit: Annotated[
            Literal["every_input", "change"],
            Meta(description="When a record goes out; change: when a value changed, became stale or fresh again."),
        ] = "every_input"
        settle: Annotated[Duration, Meta(description="Collect for this time what arrives together.")] = Duration(0)
        manual: Annotated[
            Literal["fallback", "override"], Meta(description="Whether a manual value gives way or takes over.")
        ] = "fallback"

    options: Options
    joins = True
    depends_on_wires = "inputs"
    ports = ("out", "stale")

    def check(self) -> list[Fault]:
        prefer = [_wire(name) for name in self.options.prefer or []]
        doubles = {name for name in prefer if prefer.count(name) > 1}
        return [Fault("prefer", f"{name.removesuffix('.out')!r} is in it twice") for name in sorted(doubles)]

    def emits(self, incoming: Shape) -> dict[str, Shape]:
        stale = Shape({"field": "text", "source": "text", "age_s": "number", "value": None})
        return {"out": incoming, "stale": stale}

    async def open(self, ctx: Context) -> None:
        rank = {_wire(name): place for place, name in enumerate(self.options.prefer or [])}
        self.preference = Preference(rank, self.options.manual == "override", ctx.use)
        self.armed: dict[str, Instant] = {}
        self.sent: dict[str, dict[str, tuple[JSON, str, list[JSON]]]] = {}
        self.standings: dict[str, Standing] = {}
        self.set_back = ctx.set_back
        wires, now = {_wire(name) for name in ctx.inputs}, ctx.now()
        for key in ctx.state:
            if (site := ctx.state.get(key, Site)) is None:
                continue
            if site.forget_others(wires):  # a source that is gone from the file has no say any more
                ctx.state.set(key, site)
            if site.settles_at is not None:  # it was collecting
                ctx.timer("settle", key, site.settles_at)
            site.change(lambda one: one.from_before(now))
            self.standings[key] = Standing(site, self.preference, now)
            self._arm(key, ctx)

    # ---- in -----------------------------------------------------------------------------------------------

    def process(self, message: Message, ctx: Context) -> Out | Message | None:
        if not isinstance(message.payload, dict):
            raise Reject("not-a-record", f"merge needs records, the payload is {type(message.payload).__name__}")
        self._follow_the_clock(ctx)
        now, wire = ctx.now(), _wire(ctx.input)
        self._make_room(message, now)
        news = self._read(message, now)
        keys = [message.key] if message.key else list(self.standings)
        for key in keys:
            standing = self.standings[key]
            if not standing.learn(news, wire, now):
                ctx.drop("older")
            ctx.state.set(key, standing.site)
        if self.options.settle:
            for key in keys:
                site = self.standings[key].site
                if site.settles_at is None:  # counted from the first: a steady stream must not put it off for ever
                    site.settles_at = now + self.options.settle
                    ctx.state.set(key, site)
                    ctx.timer("settle", key, site.settles_at)
            return None
        out: Out = {"out": [], "stale": []}
        for key in keys:
            self._tell(key, news, message, now, ctx, out)
        return out if out["stale"] or len(out["out"]) != 1 else out["out"][0]

    def on_timer(self, name: str, key: str, ctx: Context) -> Out:
        """``settle``: what was collected goes out. ``turn``: a value's time is over, or it begins, and that is news."""
        self._follow_the_clock(ctx)
        out: Out = {"out": [], "stale": []}
        standing, now = self.standings[key], ctx.now()
        if name == "settle":
            standing.site.settles_at = None
            ctx.state.set(key, standing.site)
            self._tell(key, standing.site.held, None, now, ctx, out)
            return out
        self.armed.pop(key, None)
        before = standing.chosen.copy()
        stale = standing.choose((), now)
        if standing.chosen != before:
            self._emit(key, stale, None, now, ctx, out)
        self._arm(key, ctx)
        return out

    def _follow_the_clock(self, ctx: Context) -> None:
        """Set back, it must not make anything that was said younger than it is. All timers ring, and are set again."""
        before, self.set_back = self.set_back, ctx.set_back
        if self.set_back == before:
            return
        now = ctx.now()
        for key, standing in self.standings.items():
            standing.set_back(self.set_back - before, now)
            ctx.state.set(key, standing.site)

    def _make_room(self, message: Message, now: Instant) -> None:
        """A standing for the message's key. A new one begins with what was said without a key. Reject when it is one
        too many, before anything of the message is taken."""
        known = self.standings.get(message.key) or self.standings.get("")
        held = known.site.held if known else {}
        most = len(held) + len(message.payload) + len(message.fields or ())
        if most > MAX_FIELDS and len(held) + sum(name not in held for name in message.field_names()) > MAX_FIELDS:
            raise Reject("too-many-fields", f"a record of more than {MAX_FIELDS} fields; select the ones that count")
        if message.key not in self.standings:
            room_for_key(self.standings)
            site = Site({name: sources.copy() for name, sources in held.items()})
            self.standings[message.key] = Standing(site, self.preference, now)

    def _read(self, message: Message, now: Instant) -> dict[str, Held]:
        """What the message says of each field, with the quality and the time that it has here."""
        payload, own = message.payload, message.fields or {}
        overridden = (message.meta or {}).get("overridden") or {}
        whole: FieldInfo | None = None
        news: dict[str, Held] = {}
        bounded = self.options.stale_after is not None
        for name in message.field_names():
            info = own.get(name)
            if info is None:
                info = whole = whole or self._timed(message.as_info(), now)
            elif bounded or info.at > now:
                info = self._timed(info, now)
            value = payload.get(name)
            if info.quality == "bad" or not usable(value):
                news[name] = Held(None, msgspec.structs.replace(info, quality="bad"))
            elif overridden:
                news[name] = Held(value, info, overridden.get(name, []))
            else:
                news[name] = Held(value, info)
        return news

    def _timed(self, info: FieldInfo, now: Instant) -> FieldInfo:
        """An event time ahead of now is uncertain; ``stale_after`` bounds what has no interval of its own."""
        if info.quality == "good" and info.at - now > FUTURE_TOLERANCE_NS:
            info = msgspec.structs.replace(info, quality="uncertain")
        if self.options.stale_after is None or info.origin == "manual" or info.valid_from is not None:
            return info
        until = min(info.at, info.received_at) + self.options.stale_after
        if info.valid_until is not None and info.valid_until <= until:
            return info
        return msgspec.structs.replace(info, valid_until=until)

    # ---- out ----------------------------------------------------------------------------------------------

    def _tell(
        self, key: str, names: Iterable[str], cause: Message | None, now: Instant, ctx: Context, out: Out
    ) -> None:
        stale = self.standings[key].choose(names, now)
        self._emit(key, stale, cause, now, ctx, out)
        self._arm(key, ctx)

    def _emit(
        self, key: str, stale: list[tuple[str, Held]], cause: Message | None, now: Instant, ctx: Context, out: Out
    ) -> None:
        """The record, if ``emit`` and ``require`` let it through, and what has become stale."""
        if key == "" and len(self.standings) > 1:
            return  # what came without a key is there for the others
        if stale:
            base = ctx.message(None, position="", key=key)
            out["stale"] += [base.derive(_begins(name, held, now)) for name, held in stale]
        chosen = self.standings[key].chosen
        if self.options.emit == "change":
            view = {name: (one.held.value, one.trouble, one.overridden) for name, one in chosen.items()}
            if view == self.sent.get(key):
                return
            self.sent[key] = view
        for name in self.options.require:
            if name not in chosen or chosen[name].held.info.quality == "bad":
                ctx.drop("incomplete")
                if "rule" in ctx.feeds:  # which hear nothing of it
                    ctx.trading.doubt(ctx.flow)
                break
        else:
            out["out"].append(_record(key, chosen, cause, now, ctx))

    def _arm(self, key: str, ctx: Context) -> None:
        """Ring at the next turn."""
        turn, armed = self.standings[key].turn, self.armed.get(key)
        if turn == armed:
            return
        if turn is None:
            del self.armed[key]
            ctx.cancel_timer("turn", key)
        else:
            self.armed[key] = turn
            ctx.timer("turn", key, turn)


def _wire(name: str) -> str:
    """One spelling for a wire: ``id`` is ``id.out``."""
    return name if "." in name else f"{name}.out"


def _record(key: str, chosen: Mapping[str, Choice], cause: Message | None, now: Instant, ctx: Context) -> Message:
    """As new as its newest value, as good as its worst; each field has its own times beside that."""
    payload: dict[str, JSON] = {}
    infos: dict[str, FieldInfo] = {}
    overridden: dict[str, list[JSON]] = {}
    at, origin, quality = 0, 0, 0
    for name, one in chosen.items():
        info = infos[name] = one.held.info
        if info.quality == "bad":
            continue
        payload[name] = one.held.value
        if at < info.at <= now + FUTURE_TOLERANCE_NS:
            at = info.at
        if info.origin != "automatic":
            origin = max(origin, ORIGINS.index(info.origin))
        if info.quality != "good":
            quality = max(quality, QUALITIES.index(info.quality))
        if one.overridden:
            overridden[name] = one.overridden
    meta = dict(cause.meta) if cause is not None and cause.meta else {}
    meta.pop("overridden", None)
    if overridden:
        meta["overridden"] = overridden
    base = cause if cause is not None else ctx.message(None, position="")
    return base.derive(
        payload, at=at or now, origin=ORIGINS[origin], quality=QUALITIES[quality], key=key, fields=infos,
        meta=meta or None,
    )  # fmt: skip


def _begins(name: str, held: Held, now: Instant) -> dict[str, JSON]:
    """What leaves by ``stale``."""
    return {"field": name, "source": held.info.source, "age_s": held.info.age_ns(now) // SECOND, "value": held.value}
