"""What is said in the place of nodes that have a peer outside: prices, telemetry, recorded records."""

from __future__ import annotations

from flowrunner.battery import Battery
from flowrunner.errors import Reject, UsageError
from flowrunner.market import UNIT, Slot
from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.replay.prices import Published
from flowrunner.replay.recorded import Record
from flowrunner.runtime import Worker
from flowrunner.units import DURATION_UNITS, Duration

DELIVERY, NOW = "price_eur_mwh", "price_now_eur_mwh"
DIGITS = {"soc_percent": 2, "active_power_mw": 3, "temperature_c": 1}
"""Decimals that a meter shows: 0.01 %, 1 kW, 0.1 °C."""
OFTEN, SELDOM = (Duration(minutes * DURATION_UNITS["min"]) for minutes in (5, 15))
"""Between two fetches of a price-in that says nothing else: of an exchange or a file, and of what comes daily."""


class Voice:
    """Speaks for one node whose own code does not run."""

    def __init__(self, worker: Worker, port: str = "out") -> None:
        self.id = worker.spec.id
        self._worker = worker
        self._out = worker.out
        self._port = port

    def send(self, now: Instant, payload: dict[str, JSON], fields: dict[str, FieldInfo] | None = None) -> None:
        root = (self.id, f"replay:{now}")
        message = Message(payload=payload, at=now, received_at=now, source=self.id, fields=fields, root=root)
        self.put(message)

    def put(self, message: Message) -> None:
        out = self._out
        try:
            out.put(self._port, out.stamp(message, message.root, None))
        except Reject as error:
            raise UsageError(
                f"{self.id} cannot be spoken for: {error.reason}; give what it sends with --data {self.id}=FILE"
            ) from None


class PriceVoice(Voice):
    """Says what a price-in would: after each of its fetches, and at each change of slot or of what is known."""

    def __init__(self, worker: Worker, prices: Published) -> None:
        super().__init__(worker)
        options = worker.spec.node.options
        self._prices = prices
        self._market = prices.market
        self._for_delivery = getattr(options, "for_", "delivery") == "delivery"
        usual = OFTEN if getattr(options, "source", "") in ("exchange", "csv") else SELDOM
        self._every: int = getattr(options, "every", None) or usual
        self._due: Instant = 0

    def speak(self, now: Instant) -> None:
        if now < self._due:
            return
        market = self._market
        current = market.current(now)
        slot = market.delivery(now) if self._for_delivery else current
        payload: dict[str, JSON] = {}
        fields: dict[str, FieldInfo] = {}
        for name, one in ((DELIVERY, slot), (NOW, current)):
            price = self._prices.seen(one, now)
            if price is not None:
                payload[name] = price
            fields[name] = self._info(one, now, known=price is not None)
        self._due = min(now - now % self._every + self._every, market.changes_at(now), current.end, self._prices.turn)
        self.send(now, payload, fields)

    def _info(self, slot: Slot, now: Instant, *, known: bool) -> FieldInfo:
        return FieldInfo(
            at=now, received_at=now, source=self.id, quality="good" if known else "bad", unit=UNIT,
            valid_from=slot.start, valid_until=slot.end,
        )  # fmt: skip


class BatteryVoice(Voice):
    """Says what the battery's meters show."""

    def __init__(self, worker: Worker, port: str, fields: tuple[str, ...], battery: Battery) -> None:
        super().__init__(worker, port)
        self._fields = [(name, DIGITS[name]) for name in fields]
        self._battery = battery

    def speak(self, now: Instant) -> None:
        battery = self._battery
        self.send(now, {name: round(getattr(battery, name), digits) + 0.0 for name, digits in self._fields})


class RecordedVoice(Voice):
    """Says what was recorded, each record at its own time."""

    def __init__(self, worker: Worker, records: list[Record]) -> None:
        super().__init__(worker)
        self._records = iter(records)
        self._next = next(self._records, None)
        self.spoken = 0

    @property
    def due(self) -> Instant | None:
        return None if self._next is None else self._next.at

    def speak(self, now: Instant) -> None:
        while self._next is not None and self._next.at <= now:
            self._say(self._next, now)
            self.spoken += 1
            self._next = next(self._records, None)

    def _say(self, record: Record, now: Instant) -> None:
        node, values = self._worker.spec.node, record.values
        if node.manual:  # a person's values are marked, and expire
            try:
                self.put(node.say(values, self._worker.ctx))  # type: ignore[attr-defined]  # found by presence
            except Reject as error:
                raise UsageError(f"{record.place}: {self.id} refuses it: {error.reason}") from None
            return
        bad = FieldInfo(at=now, received_at=now, source=self.id, quality="bad")
        missing = {name: bad for name, value in values.items() if value is None}
        payload = {name: value for name, value in values.items() if value is not None}
        self.send(now, payload, missing or None)
