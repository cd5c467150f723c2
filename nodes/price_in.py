"""price-in: prices of the flow's market, each for its delivery slot."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal, cast
from zlib import crc32

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.fields import is_number
from flowrunner.httpclient import check_url
from flowrunner.market import UNIT, BadPrices, Market, Slot, awattar, energy_charts, entsoe
from flowrunner.market.feed import Feed, FileFeed, SourceAway, WebFeed
from flowrunner.market.known import Known
from flowrunner.market.price_file import place
from flowrunner.market.sources import Awattar, EnergyCharts, Entsoe, Exchange, Question, WebSource
from flowrunner.market.zones import eic
from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import Secret
from flowrunner.shape import Shape
from flowrunner.units import Duration, iso

DELIVERY, NOW = "price_eur_mwh", "price_now_eur_mwh"
OWN = {"exchange": {"url"}, "csv": {"file"}, "entsoe": {"url", "zone", "token"}, "awattar": {"url", "zone"},
       "energy-charts": {"url", "zone"}}  # fmt: skip
NEEDED = {"exchange": ("url",), "csv": ("file",), "entsoe": ("zone", "token"), "energy-charts": ("zone",)}
EVERY = {"exchange": Duration.parse("5min"), "csv": Duration.parse("5min")}
PUBLISHED_EVERY = Duration.parse("15min")
"""What is published once a day is asked for more seldom: aWATTar takes 100 requests a day."""
SHORTEST = {"exchange": Duration.parse("1s"), "csv": Duration.parse("1s")}
PUBLISHED_SHORTEST = Duration.parse("1min")
STAGGER = Duration.parse("1min")
"""Over this time the requests of different flows are spread: a public source is not asked by all at once."""
AGAIN = Duration.parse("15s")
"""After a failure; doubled with each further one, up to ``every``."""


class PriceIn(Node):
    """Bring in prices of the flow's market in EUR/MWh, each for its delivery slot.

    ``price_eur_mwh`` is that of the slot that an order made now is for, ``price_now_eur_mwh`` that of the one that is
    delivered now.

    A record goes out after each fetch and at each change of slot. Prices of today and tomorrow are kept, also over a
    restart: while the source is away the flow works on from them, and the node says so. A slot without a price is an
    absent field, never an old price. The age of a price is the time since the last fetch that gave prices.
    """

    example = """
        price: {type: price-in, source: energy-charts, zone: AT}
    """

    class Options(NodeOptions):
        source: Annotated[
            Literal["exchange", "csv", "entsoe", "awattar", "energy-charts"],
            Meta(description="Who publishes the prices. csv: a file with the columns timestamp,price_eur_mwh."),
        ]
        url: Annotated[str, Meta(description="Where the source is; only an exchange needs it.")] = ""
        zone: Annotated[
            str, Meta(description="Bidding zone, like AT or DE-LU; for entsoe also an EIC.", examples=["AT", "DE-LU"])
        ] = ""
        token: Annotated[Secret, Meta(description="Security token of ENTSO-E.")] = ""
        file: Annotated[
            str,
            Meta(
                description="CSV file, or shipped:NAME for one that comes with the program.",
                examples=["prices.csv", "shipped:DE-LU-2024.csv"],
            ),
        ] = ""
        every: Annotated[
            Duration | None,
            Meta(description="Time between fetches; without it 5min for exchange and csv, else 15min."),
        ] = None
        for_: Annotated[
            Literal["delivery", "now"],
            Meta(description="The slot that price_eur_mwh is for: of an order made now, or the one delivered now."),
        ] = msgspec.field(name="for", default="delivery")
        auction: Annotated[
            int, Meta(ge=1, le=99, description="entsoe: which of a day's numbered auctions; 1 is the coupled one.")
        ] = 1
        oldest: Annotated[
            Duration, Meta(description="exchange: a price whose own time is older than this is not believed.")
        ] = Duration.parse("10min")
        timeout: Annotated[Duration, Meta(description="How long one fetch may take.")] = Duration.parse("10s")

    options: Options
    inputs = "none"
    needs_market = True
    peer = "prices"
    met: Feed | None = None
    """What stands in for the source."""

    def stand_in(self, peer: object) -> None:
        self.met = cast(Feed, peer)

    def check(self) -> list[Fault]:
        o = self.options
        faults = [
            Fault(name, f"the source {o.source} needs it")
            for name in NEEDED.get(o.source, ())
            if not getattr(o, name).strip()
        ]
        faults += [
            Fault(name, f"it does not belong to the source {o.source}")
            for name in ("url", "zone", "token", "file")
            if getattr(o, name) and name not in OWN[o.source]
        ]
        if o.source == "awattar" and not o.url and o.zone not in awattar.URLS:
            faults.append(Fault("zone", f"aWATTar has {' and '.join(awattar.URLS)}", "write one of them, or a url"))
        shortest = SHORTEST.get(o.source, PUBLISHED_SHORTEST)
        if o.every is not None and o.every < shortest:
            faults.append(Fault("every", f"{o.every} is too short", f"{shortest} is the shortest for {o.source}"))
        if o.timeout < Duration.parse("10ms"):
            faults.append(Fault("timeout", f"{o.timeout} is too short", "10ms is the shortest"))
        for name, test in (("url", check_url), ("file", place), ("zone", eic if o.source == "entsoe" else str)):
            try:
                if getattr(o, name):
                    test(getattr(o, name))
            except ValueError as error:
                faults.append(Fault(name, str(error)))
        return faults

    def emits(self, incoming: Shape) -> Shape:
        return Shape({DELIVERY: "number", NOW: "number"}, units={DELIVERY: UNIT, NOW: UNIT})

    async def open(self, ctx: Context) -> None:
        await self.close()
        o, market = self.options, ctx.market
        assert market is not None  # noqa: S101  (needs_market)
        self.market: Market = market
        self.stagger = 0 if o.source in EVERY else crc32(f"{ctx.flow}/{self.id}".encode()) % STAGGER
        self.failures = 0
        self.uncovered, self.notice = False, ""
        of = "|".join([o.source, o.url, o.zone, o.file, str(o.auction), market.name, str(Duration(market.slot_ns))])
        kept = ctx.state.get("known", Known)
        self.known = kept if kept is not None and kept.of == of else Known(of)
        self.feed: Feed = self._feed(market)

    async def close(self) -> None:
        if hasattr(self, "feed"):
            await self.feed.close()
            del self.feed

    def _feed(self, market: Market) -> Feed:
        o = self.options
        if self.met is not None:
            return self.met
        source: WebSource
        match o.source:
            case "exchange":
                source = Exchange(url=o.url, market=market.name, oldest=o.oldest)
            case "entsoe":
                source = Entsoe(url=o.url or entsoe.URL, zone=o.zone, token=o.token, auction=o.auction)
            case "awattar":
                source = Awattar(url=o.url or awattar.URLS[o.zone])
            case "energy-charts":
                source = EnergyCharts(url=o.url or energy_charts.URL, zone=o.zone)
            case "csv":
                return FileFeed(o.file, o.timeout)
        return WebFeed(source, o.timeout, o.token)

    # ---- the round ----------------------------------------------------------------------------------------

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        """A fetch runs beside the round, so that a source that hangs never holds back a change of slot."""
        back = ctx.set_back
        due = begun = ctx.now()
        position = ""
        fetching: asyncio.Task[None] | None = None
        slots = self._slots(due)
        if self.known.fetched is not None:
            yield self._record(slots, f"kept:{ctx.position(due)}", ctx)
        try:
            while True:
                if fetching is None and ctx.now() >= due:
                    begun, position = due, f"fetched:{ctx.position(due)}"
                    fetching = asyncio.create_task(self._fetch(ctx))
                turn = min(self.market.changes_at(ctx.now()), slots[1].end)
                await _first(ctx, turn if fetching else min(turn, due), back, fetching)
                before, slots = slots, self._slots(ctx.now())
                changed = slots != before
                before_that, back = back, ctx.set_back
                if back != before_that or (changed and self.options.source == "exchange"):
                    due = ctx.now()  # what is known is from the future; the exchange's answers are for one slot only
                if fetching is not None and fetching.done():
                    await fetching
                    fetching = None
                    due = due if due != begun else self._next(ctx.now())
                    yield self._record(slots, position, ctx)
                elif changed:
                    came = min(turn, ctx.now())  # sooner where the clock was set back
                    yield self._record(slots, f"slot:{ctx.position(came)}", ctx)
                if due > ctx.now():  # else a fetch is on its way, or comes next
                    self._tell_whether_covered(slots[0], ctx)
        finally:
            if fetching is not None:
                fetching.cancel()
                await asyncio.wait([fetching])

    def _slots(self, now: Instant) -> tuple[Slot, Slot]:
        """The slot that the price is for, and the one that is being delivered."""
        current = self.market.current(now)
        return (self.market.delivery(now) if self.options.for_ == "delivery" else current), current

    def _next(self, now: Instant) -> Instant:
        """When to fetch next: at the next multiple of ``every`` plus the node's own offset, sooner after a failure."""
        every = self.options.every or EVERY.get(self.options.source, PUBLISHED_EVERY)
        regular = now - (now - self.stagger) % every + every
        return min(regular, now + AGAIN * 2 ** min(self.failures - 1, 20)) if self.failures else regular

    def _record(self, slots: tuple[Slot, Slot], position: str, ctx: Context) -> Message:
        now, payload, fields = ctx.now(), {}, {}
        for name, slot in zip((DELIVERY, NOW), slots, strict=True):
            price = self.known.curve.for_slot(slot)
            if price is not None:
                payload[name] = price.eur_mwh
            at = now if price is None or self.known.fetched is None else self.known.fetched
            fields[name] = _info(self.id, at, slot, known=price is not None)
        return ctx.message(payload, position=position, at=now, fields=fields)

    def say(self, value: JSON, ctx: Context) -> Message:
        """``value``: a price for the slot of an order made now; or a record of the two fields, null: no price."""
        assert ctx.market is not None  # noqa: S101  (needs_market)
        now, own = ctx.now(), value if isinstance(value, dict) else {DELIVERY: value}
        current = ctx.market.current(now)
        slots = {DELIVERY: ctx.market.delivery(now) if self.options.for_ == "delivery" else current, NOW: current}
        payload: dict[str, JSON] = {}
        fields = {}
        for name, price in own.items():
            if price is not None:
                if not is_number(price):
                    raise Reject("value", f"{name}: {price!r:.60} is no price")
                payload[name] = price
            fields[name] = _info(self.id, now, slots[name], known=price is not None)
        return ctx.message(payload, position=f"said:{now}", at=now, fields=fields)

    def _tell_whether_covered(self, slot: Slot, ctx: Context) -> None:
        """Once, when a slot comes that no price is known for."""
        uncovered = self.known.curve.for_slot(slot) is None
        if uncovered and not self.uncovered:
            ctx.error("no-price", f"no price is known for the slot {slot}")
        self.uncovered = uncovered

    def ahead(self, field: str, now: Instant) -> list[tuple[Instant, Instant, float]]:
        """The prices that are published for the time from ``now`` on, each with its interval."""
        known: Known | None = getattr(self, "known", None)  # there from the first open on
        prices = known.curve.since(now).prices if known is not None and field in (DELIVERY, NOW) else ()
        return [(one.start, one.end, one.eur_mwh) for one in prices]

    # ---- one fetch ----------------------------------------------------------------------------------------

    async def _fetch(self, ctx: Context) -> None:
        asked = Question.at(ctx.now(), self.market, ctx.zone)
        try:
            prices = await self.feed.fetch(asked, ctx.now)
        except BadPrices as error:
            if self.options.source == "exchange":  # what it said of this slot before holds no longer
                self._know(self.known.doubted(asked.slot), ctx)
            self._failed("bad-prices", str(error), ctx)
        except SourceAway as error:
            self._failed("source-away", str(error), ctx)
        else:
            self.failures = 0
            whole = self.options.source == "csv"
            self._know(self.known.learned(prices, asked, self.market.current(asked.now).start, whole), ctx)
            ctx.connected(True)
            if self.feed.notice != self.notice:
                self.notice = self.feed.notice
                ctx.error("notice", self.notice or "it is no longer said")

    def _know(self, known: Known, ctx: Context) -> None:
        self.known = known
        ctx.state.set("known", known)

    def _failed(self, code: str, why: str, ctx: Context) -> None:
        self.failures += 1
        end = self.known.curve.since(ctx.now()).end
        kept = f"goes on with the prices that are kept, until {iso(end)}" if end else "there are no kept prices"
        reason = f"{self.options.source}: {why}; {kept}"
        ctx.connected(False, reason, code)


def _info(source: str, at: Instant, slot: Slot, *, known: bool) -> FieldInfo:
    return FieldInfo(
        at=at, received_at=at, source=source, quality="good" if known else "bad", unit=UNIT, valid_from=slot.start,
        valid_until=slot.end,
    )  # fmt: skip


async def _first(ctx: Context, until: Instant, back: int, task: asyncio.Task[None] | None) -> None:
    """Wait for an instant of flow time, reckoned when ``ctx.set_back`` was ``back``; or for the task if that ends
    sooner. Not so long when the clock is set back."""

    async def wait() -> None:
        if ctx.set_back == back:
            await ctx.sleep_until(until)

    waiting = asyncio.create_task(wait())
    try:
        await asyncio.wait([waiting, *([task] if task else [])], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
