"""The API of the simulated world: how it is, and faults on demand. It stands beside the exchange's own interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from flowrunner.battery.server import FAULTS as LINE_FAULTS
from flowrunner.errors import UsageError, did_you_mean
from flowrunner.exchange.simulator import BadFault
from flowrunner.exchange.simulator.faults import FAULTS as EXCHANGE_FAULTS
from flowrunner.http import refusal
from flowrunner.message import JSON
from flowrunner.units import iso
from flowrunner.web import body
from flowrunner.web.answer import answer, ok
from flowrunner.web.guard import Guard, KeyCheck

if TYPE_CHECKING:
    from flowrunner.simulate.world import World

MAX_BODY = 4096
LINE_SAYS: dict[str, str] = {
    "stuck": "the battery's registers stand still",
    "drop": "the battery's line drops, and each new connection at once",
    "sentinel": 'the battery\'s registers say "no value"',
    "busy": "the battery answers that it is busy (exception 6)",
    "mute": "the battery does not answer",
}
PLANT_FAULTS: dict[str, str] = {
    "hvac": "the cooling stops; at full power it takes hours of flow time until that shows",
    "hot-day": "outside it is as hot as in a heat wave",
}


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """A fault to set or to clear. All but the first two are for faults of the exchange."""

    fault: str
    on: bool = True
    times: int | None = None
    """Calls that it strikes; None: until cleared."""
    call: str | None = None
    seconds: float | None = None
    text: str | None = None

    def details(self) -> dict[str, JSON]:
        """Those that were given."""
        given = {"times": self.times, "on": self.call, "seconds": self.seconds, "text": self.text}
        return {name: value for name, value in given.items() if value is not None}


def control_routes(world: World) -> list[BaseRoute]:
    """``GET /world``, ``POST /world/faults``, ``DELETE /world/faults``."""
    api = _Control(world)
    key = KeyCheck("" if world.places.is_loopback else world.places.api_key, world.clock)
    guard = [Middleware(Guard, hosts=world.hosts)]
    return [
        Route("/world", key.guarded(api.state), methods=["GET"], middleware=guard),
        Route("/world/battery", key.guarded(api.place), methods=["POST"], middleware=guard),
        Route("/world/faults", key.guarded(api.set), methods=["POST"], middleware=guard),
        Route("/world/faults", key.guarded(api.clear), methods=["DELETE"], middleware=guard),
    ]


class Placed(msgspec.Struct, forbid_unknown_fields=True):
    """How the battery is to be."""

    soc_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    temperature_c: Annotated[float, Meta(ge=-40, le=90)] | None = None


class _Control:
    def __init__(self, world: World) -> None:
        self.world = world

    async def state(self, request: Request) -> Response:
        """The battery as it is, the faults that are set, and those that there are."""
        world = self.world
        world.device.advance()
        battery = world.battery
        return ok(
            {
                "now": iso(world.clock.now()),
                "battery": {
                    "soc_percent": round(battery.soc_percent, 3),
                    "active_power_mw": round(battery.active_power_mw, 4),
                    "temperature_c": round(battery.temperature_c, 2),
                    "hvac": battery.hvac,
                    "ambient_c": battery.ambient_c,
                },
                "deliveries": [
                    {**msgspec.to_builtins(one), "start": iso(one.start), "end": iso(one.end)}
                    for one in world.schedule.deliveries
                ],
                "faults": self._set(),
                "known_faults": self._known(),
            }
        )

    async def place(self, request: Request) -> Response:
        """``{"soc_percent": 20, "temperature_c": 45}``: the battery is so from now on; what is left out stays."""
        raw = await body.json_text(request, MAX_BODY)
        if not isinstance(raw, bytes):
            return answer(raw)
        try:
            wanted = msgspec.json.decode(raw, type=Placed)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return answer(refusal(422, "battery", str(error)))
        self.world.device.advance()
        was = self.world.battery
        self.world.place_battery(
            soc_percent=was.soc_percent if wanted.soc_percent is None else wanted.soc_percent,
            temperature_c=was.temperature_c if wanted.temperature_c is None else wanted.temperature_c,
        )
        return await self.state(request)

    async def set(self, request: Request) -> Response:
        """``{"fault": "drop"}``, ``"on": false`` clears it. The exchange's take ``times``, ``call``, …, too."""
        raw = await body.json_text(request, MAX_BODY)
        if not isinstance(raw, bytes):
            return answer(raw)
        try:
            self._apply(msgspec.json.decode(raw, type=Wanted))
        except (UnicodeDecodeError, RecursionError):
            return answer(refusal(422, "fault", "the body is no JSON in UTF-8"))
        except (msgspec.DecodeError, BadFault, UsageError) as error:
            return answer(refusal(422, "fault", str(error)))
        return ok({"faults": self._set()})

    async def clear(self, request: Request) -> Response:
        """All faults end."""
        for name in LINE_FAULTS:
            self.world.device.set_fault(name, False)
        self._plant("hvac", False)
        self._plant("hot-day", False)
        self.world.exchange.faults.clear()
        return ok({"faults": self._set()})

    def _apply(self, wanted: Wanted) -> None:
        """BadFault or UsageError when there is no such fault, or it cannot be set so."""
        name, details = wanted.fault, wanted.details()
        known = self._known()
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(
                f"there is no fault {name[:60]!r}{f'; {hint}' if hint else ''}; there are: {', '.join(known)}"
            )
        if details and (name not in EXCHANGE_FAULTS or not wanted.on):
            what = "is cleared" if name in EXCHANGE_FAULTS else "concerns the battery and stays until it is cleared:"
            raise UsageError(f"{name} {what} without {', '.join(details).replace('on', 'call')}")
        if name in PLANT_FAULTS:
            self._plant(name, wanted.on)
        elif name in LINE_FAULTS:
            self.world.device.set_fault(name, wanted.on)
        elif wanted.on:
            self.world.exchange.faults.arm(name, **details)
        else:
            self.world.exchange.faults.clear(name)

    def _plant(self, name: str, on: bool) -> None:
        self.world.device.advance()  # what lies behind stays as it was
        if name == "hvac":
            self.world.battery.hvac_failed = on
        else:
            self.world.battery.hot_day(on)

    def _set(self) -> list[JSON]:
        battery = self.world.battery
        is_hot = battery.ambient_c == battery.settings.hot_day_c
        plant = [name for name, on in (("hvac", battery.hvac_failed), ("hot-day", is_hot)) if on]
        return [*plant, *sorted(self.world.device.faults), *self.world.exchange.faults.armed()]

    def _known(self) -> dict[str, str]:
        """Name → what happens."""
        return PLANT_FAULTS | LINE_SAYS | EXCHANGE_FAULTS
