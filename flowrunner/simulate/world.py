"""The world itself: battery, broker, sensor and exchange on one clock, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.battery import Battery, Schedule, Settings, Site
from flowrunner.battery.server import BatteryServer
from flowrunner.clock import Clock
from flowrunner.errors import NotConnected, UsageError
from flowrunner.exchange.simulator import AcceptedOrder, Character, Exchange, Side, Trade
from flowrunner.exchange.simulator.server import ExchangeServer
from flowrunner.httpclient import is_loopback
from flowrunner.market import Market, Slot
from flowrunner.market.year import shipped
from flowrunner.message import Instant
from flowrunner.mqtt.client import Client
from flowrunner.orders import Order
from flowrunner.simulate.broker import Broker, bindable, make_broker, reachable
from flowrunner.simulate.control import control_routes
from flowrunner.units import Duration, iso

SENSOR_EVERY = Duration.parse("30s")
"""Flow time between two messages of the sensor."""
TOPICS = {
    "bess/soc": ("soc_percent", "%"),
    "bess/power": ("active_power_mw", "MW"),
    "bess/temperature": ("temperature_c", "°C"),
}
"""Topic → what the sensor tells there, and its unit."""
log = logging.getLogger("flowrunner.simulate")


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts of a world are. Port 0: a free one."""

    host: str = "127.0.0.1"
    modbus_port: int = 0
    exchange_port: int = 0
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = 0
    mqtt_protocol: Literal["3.1.1", "5"] = "5"
    """The newest that the broker speaks."""
    api_key: str = ""
    """Of the exchange; made up where it is empty."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host) and self.host == reachable(self.host)

    @property
    def modbus_host(self) -> str:
        """As a client on this machine names it."""
        return reachable(self.host)

    @property
    def exchange(self) -> str:
        return f"http://{in_url(self.modbus_host)}:{self.exchange_port}"

    @property
    def broker(self) -> str:
        return f"mqtt://{in_url(reachable(self.mqtt_host))}:{self.mqtt_port}"

    def environment(self) -> dict[str, str]:
        """What makes ``flows/bess.yaml``, and any flow with the same variables, find this world."""
        return {
            "BESS_MODBUS_ENABLED": "true", "BESS_MODBUS_HOST": self.modbus_host,
            "BESS_MODBUS_PORT": str(self.modbus_port), "BESS_MODBUS_UNIT_ID": "1", "BESS_MODBUS_SOC_REGISTER": "0",
            "BESS_MODBUS_POWER_REGISTER": "1", "BESS_MODBUS_TEMP_REGISTER": "2", "BESS_MQTT_ENABLED": "true",
            "BESS_MQTT_BROKER": in_url(reachable(self.mqtt_host)), "BESS_MQTT_PORT": str(self.mqtt_port),
            "BESS_MQTT_USERNAME": "", "BESS_MQTT_PASSWORD": "", "BESS_MQTT_TOPIC_SOC": "bess/soc",
            "BESS_MQTT_TOPIC_POWER": "bess/power", "BESS_MQTT_TOPIC_TEMP": "bess/temperature",
            "EXCHANGE_URL": self.exchange, "EXCHANGE_API_KEY": self.api_key,
        }  # fmt: skip


def in_url(host: str) -> str:
    """The host as a URL has it."""
    return f"[{host}]" if ":" in host else host


class World:
    """``await start()``, look at ``places``, ``await stop()``.

    ``folder``: for the broker's configuration; ``broker``: one that is there already. ``markets``: of two with the
    same name the first counts. ``price``: EUR/MWh of a delivery slot, None where there is none; unless told the
    shipped prices of 2024, shifted by whole weeks. ``hosts``: further names by which its control may be called. The
    battery does what the exchange accepted (the good character: what it traded), and beside that what its own site
    needs over a day.
    """

    def __init__(
        self,
        clock: Clock,
        folder: Path,
        *,
        places: Places | None = None,
        markets: Sequence[Market],
        zone: ZoneInfo,
        soc_percent: float = 50.0,
        character: Character = "plain",
        settings: Settings | None = None,
        site: bool = True,
        price: Callable[[Slot], float | None] | None = None,
        broker: Broker | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self.clock = clock
        self.places = places or Places()
        if not self.places.api_key:
            self.places = msgspec.structs.replace(self.places, api_key=secrets.token_hex(16))
        self.markets = {one.name: one for one in reversed(markets)}
        self.hosts = [self.places.host, *hosts]
        self.schedule = Schedule(Site(zone=zone) if site else None)
        self.device = BatteryServer(
            Battery(settings or Settings(), at=clock.now(), soc_percent=soc_percent), clock.now,
            self.places.host, self.places.modbus_port, schedule=self.schedule,
        )  # fmt: skip
        self._price = price or _shifted
        self.exchange = Exchange(
            clock.now, self._mark, markets=self.markets, character=character,
            on_accept=self._accepted if character == "plain" else None, on_trade=self._traded,
        )  # fmt: skip
        self.exchange_server = ExchangeServer(
            self.exchange, self.places.api_key, host=self.places.host, port=self.places.exchange_port,
            more=control_routes(self),
        )  # fmt: skip
        self.broker = broker or make_broker(folder, self.places.host, self.places.mqtt_port)
        self._fills = itertools.count(1)
        self._sensor: asyncio.Task[None] | None = None
        self._client: Client | None = None

    @property
    def battery(self) -> Battery:
        return self.device.battery

    def place_battery(self, *, soc_percent: float, temperature_c: float | None = None) -> None:
        """As if another battery of the same kind stood there from now on; its faults and its schedule stay."""
        self.device.advance()
        was = self.battery
        new = Battery(was.settings, at=self.clock.now(), soc_percent=soc_percent, temperature_c=temperature_c)
        new.hvac_failed, new.ambient_c = was.hvac_failed, was.ambient_c
        self.device.battery = new

    # ---- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """All parts listen when this returns. UsageError where one cannot; what had started is stopped then."""
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.stop)
            bindable("battery", self.device.host, self.device.port)
            try:
                await self.device.start()
            except OSError as error:
                raise UsageError(str(error)) from None
            await self.exchange_server.start()
            await self.broker.start()
            self.places = msgspec.structs.replace(
                self.places, modbus_port=self.device.port, exchange_port=self.exchange_server.port,
                mqtt_host=self.broker.host, mqtt_port=self.broker.port,
                mqtt_protocol=self.broker.settings().protocol,
            )  # fmt: skip
            self._client = Client(self.broker.settings())
            self._client.start()
            self._sensor = asyncio.get_running_loop().create_task(self._measure(self._client), name="sensor")
            undo.pop_all()

    async def stop(self) -> None:
        """Safe to repeat, and after a failed ``start``."""
        async with contextlib.AsyncExitStack() as rest:  # each of them, whatever happens to the others
            rest.push_async_callback(self.device.stop)
            rest.push_async_callback(self.exchange_server.stop)
            rest.push_async_callback(self.broker.stop)
            client, self._client = self._client, None
            if client is not None:
                rest.push_async_callback(client.close)
            sensor, self._sensor = self._sensor, None
            if sensor is not None:
                sensor.cancel()
                await asyncio.wait([sensor])

    # ---- the market -----------------------------------------------------------------------------------------

    def _mark(self, market: str, instant: Instant) -> float | None:
        """EUR/MWh of the slot that an order made at ``instant`` is for."""
        return self._price(self.markets[market].delivery(instant))

    def _accepted(self, order: AcceptedOrder) -> None:
        self._deliver(order.order_id, Slot(order.delivery_start, order.delivery_end), order.side, order.quantity_mwh)

    def _traded(self, trade: Trade) -> None:
        order = trade.order
        name = f"{order.order_id}/{next(self._fills)}"
        self._deliver(name, Slot(order.delivery_start, order.delivery_end), order.side, trade.quantity_mwh)

    def follow(self, order: Order) -> None:
        """A paper order: nothing was sent, but this world shows what would have become of it."""
        if order.market in self.markets:
            self._deliver(order.id, Slot(order.delivery_start, order.delivery_end), order.side, order.quantity_mwh)

    def _deliver(self, name: str, slot: Slot, side: Side, quantity_mwh: float) -> None:
        """The battery delivers an order in its slot, once. What lies behind stays as it was."""
        now = self.clock.now()
        if slot.end <= now or any(one.order_id == name for one in self.schedule.deliveries):
            return
        self.device.advance()
        self.schedule.forget(now)
        self.schedule.add(name, slot.start, slot.end, side, quantity_mwh)

    # ---- the sensor -----------------------------------------------------------------------------------------

    async def _measure(self, client: Client) -> None:
        """The same values as in the registers, by MQTT. At once when the broker is there (again), then regularly."""
        heard = asyncio.Event()

        def listen(connected: bool, reason: str) -> None:
            if connected:
                heard.set()

        client.add_listener(listen)
        while True:
            heard.clear()
            try:
                await self._tell(client)
            except NotConnected as error:  # a sensor that is cut off measures on
                log.debug("the sensor is cut off: %s", error)
            except Exception:
                log.exception("the sensor could not tell its values; it tries again")
            again = asyncio.ensure_future(self.clock.sleep_until(self.clock.now() + SENSOR_EVERY))
            back = asyncio.ensure_future(heard.wait())
            try:
                await asyncio.wait([again, back], return_when=asyncio.FIRST_COMPLETED)
            finally:
                again.cancel()
                back.cancel()

    async def _tell(self, client: Client) -> None:
        self.device.advance()
        now = iso(self.clock.now())
        for topic, (name, unit) in TOPICS.items():
            value = {"value": round(getattr(self.battery, name), 3), "timestamp": now, "unit": unit}
            await client.publish(topic, msgspec.json.encode(value), 0, False)


def _shifted(slot: Slot) -> float | None:
    price = shipped().for_slot(slot)
    return None if price is None else price.eur_mwh
