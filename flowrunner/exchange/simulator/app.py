"""The HTTP and WebSocket face of the simulated exchange, faults included."""

from __future__ import annotations

import asyncio
import hmac
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import format_datetime

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from flowrunner.exchange.signing import signed
from flowrunner.exchange.simulator import requests
from flowrunner.exchange.simulator.core import Exchange
from flowrunner.exchange.simulator.faults import AFTER, Call, Fault
from flowrunner.exchange.simulator.model import Answer
from flowrunner.message import JSON
from flowrunner.units import iso, to_datetime

HANG_UP = "flowrunner.hang_up"
"""Key of the scope: ``call(reset=…)`` that ends the connection without an answer. ExchangeServer puts it there."""
MAX_BODY = 65_536
QUEUE = 1000
"""Frames that wait for a slow listener before its stream is closed (code 1013)."""
KEY_ID = "simulator-1"


def app(exchange: Exchange, api_key: str, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The application. ``api_key``: what ``X-API-KEY`` of orders must be; it also signs the streams.
    ``more``: routes that stand beside the interface, for who controls the simulation.

    Faults that end the connection need :class:`~flowrunner.exchange.simulator.server.ExchangeServer`.
    """
    if not api_key:
        raise ValueError("the simulated exchange needs an API key")
    face = _Face(exchange, api_key)
    routes: list[BaseRoute] = [
        *more,
        Route("/telemetry/bess", face.telemetry, methods=["POST"]),
        Route("/orders", face.place, methods=["POST"]),
        Route("/orders", face.orders, methods=["GET"]),
        Route("/trades", face.trades, methods=["GET"]),
        Route("/market/prices", face.prices, methods=["GET"]),
        WebSocketRoute("/ws/orders", face.order_stream),
        WebSocketRoute("/ws/trades", face.trade_stream),
        WebSocketRoute("/ws/book/{market}", face.book_stream),
    ]
    if exchange.character == "good":
        routes += [
            Route("/orders/{name:path}", face.find, methods=["GET"]),
            Route("/orders/{name:path}", face.cancel, methods=["DELETE"]),
        ]
    made = _Dated(exchange, routes)
    made.router.redirect_slashes = False
    return made


class _Dated(Starlette):
    """Says with every answer, errors included, what time it is by the exchange's own clock (``Date``, RFC 9110)."""

    def __init__(self, exchange: Exchange, routes: Sequence[BaseRoute]) -> None:
        super().__init__(routes=routes, exception_handlers={HTTPException: _plain})
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                now = format_datetime(to_datetime(self._exchange.own_clock()), usegmt=True)
                message = {**message, "headers": [*message.get("headers", ()), (b"date", now.encode())]}
            await send(message)

        await super().__call__(scope, receive, dated)


class _Face:
    def __init__(self, exchange: Exchange, api_key: str) -> None:
        self._exchange = exchange
        self._key = api_key.encode()

    # ---- calls --------------------------------------------------------------------------------------

    async def telemetry(self, request: Request) -> Response:
        return await self._with_body("telemetry", request, self._exchange.telemetry)

    async def place(self, request: Request) -> Response:
        if not self._may(request.headers.get("x-api-key")):
            return _Sent(_WRONG_KEY)
        return await self._with_body("orders", request, self._exchange.place)

    async def orders(self, request: Request) -> Response:
        return self._call("order-list", self._exchange.orders)

    async def trades(self, request: Request) -> Response:
        return self._call("trades", self._exchange.trades)

    async def prices(self, request: Request) -> Response:
        market = request.query_params.get("market")
        fault = self._exchange.faults.next("prices")
        name = fault.name if fault is not None else ""
        return self._call(
            "prices",
            lambda: self._exchange.prices(market, dead=name == "prices-dead", stale=name == "prices-stale"),
        )

    async def find(self, request: Request) -> Response:
        if not self._may(request.headers.get("x-api-key")):
            return _Sent(_WRONG_KEY)
        return self._call("order", lambda: self._exchange.find(request.path_params["name"]))

    async def cancel(self, request: Request) -> Response:
        if not self._may(request.headers.get("x-api-key")):
            return _Sent(_WRONG_KEY)
        return self._call("cancel", lambda: self._exchange.cancel(request.path_params["name"]))

    def _may(self, key: str | None) -> bool:
        return key is not None and hmac.compare_digest(key.encode(), self._key)

    async def _with_body(self, call: Call, request: Request, act: Callable[[JSON], Answer]) -> Response:
        raw = bytearray()
        try:
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > MAX_BODY:
                    return _Sent(Answer(413, {"detail": f"Body larger than {MAX_BODY} bytes"}))
        except ClientDisconnect:
            return _Gone()

        def decoded() -> Answer:
            try:
                body = requests.decoded(bytes(raw))
            except requests.Refused as refused:
                return Answer(422, {"detail": refused.details})
            return act(body)

        return self._call(call, decoded)

    def _call(self, call: Call, act: Callable[[], Answer]) -> Response:
        """Do the call as the armed fault has it. Nothing is awaited here: a fault strikes exactly one call."""
        faults = self._exchange.faults
        fault = faults.next(call)
        if fault is None:
            return _Sent(act())
        if fault.name in AFTER:
            answer = act()
            if answer.status != 200:
                return _Sent(answer)
            faults.spend(fault)
            return _after(fault, answer)
        faults.spend(fault)
        return _before(fault) or _Sent(act())

    # ---- streams ------------------------------------------------------------------------------------

    async def order_stream(self, socket: WebSocket) -> None:
        if not self._may(socket.query_params.get("api_key")):
            await socket.close(1008)
            return
        await self._stream(socket, "orders", [])

    async def trade_stream(self, socket: WebSocket) -> None:
        await self._stream(socket, "trades", [])

    async def book_stream(self, socket: WebSocket) -> None:
        market = socket.path_params["market"]
        if market not in self._exchange.markets:
            await socket.close(1008)
            return
        self._exchange.advance()
        await self._stream(socket, f"book/{market}", [self._exchange.book(market)])

    async def _stream(self, socket: WebSocket, channel: str, first: list[JSON]) -> None:
        waiting = deque(first)
        more = asyncio.Event()

        def hear(data: JSON) -> None:
            waiting.append(data)
            more.set()
            if len(waiting) > QUEUE:
                stop()

        stop = self._exchange.listen(channel, hear)
        pump = asyncio.get_running_loop().create_task(self._pump(socket, channel, waiting, more))
        try:
            await socket.accept()
            more.set()
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass  # what listeners say means nothing here
        finally:
            stop()
            pump.cancel()
            await asyncio.wait([pump])
        error = None if pump.cancelled() else pump.exception()
        if error is not None and not isinstance(error, WebSocketDisconnect):
            raise error

    async def _pump(self, socket: WebSocket, channel: str, waiting: deque[JSON], more: asyncio.Event) -> None:
        number = 0
        while True:
            await more.wait()
            more.clear()
            while waiting:
                if len(waiting) > QUEUE:
                    await socket.close(1013, "too slow: frames would be lost")
                    return
                number += 1
                ts = iso(self._exchange.own_clock())
                data = waiting.popleft()
                await socket.send_text(signed(self._key, ts, data, key_id=KEY_ID, channel=channel, seq=number))


def _before(fault: Fault) -> Response | None:
    """What a fault answers in place of the call; None where the call is done after all."""
    match fault.name:
        case "reset":
            return _HangUp(reset=True)
        case "throttled":
            return _Sent(Answer(429, {"detail": "Throttle: on demand"}))
        case "error-before":
            return _Sent(_ERROR)
        case "refused":
            return _Sent(Answer(400, {"detail": fault.text}))
        case _:
            return None


def _after(fault: Fault, answer: Answer) -> Response:
    match fault.name:
        case "delay":
            return _Late(answer, fault.seconds)
        case "answer-lost":
            return _HangUp(reset=False)
        case _:
            return _Sent(_ERROR)


_WRONG_KEY = Answer(401, {"detail": "Invalid API key"})
_ERROR = Answer(500, {"detail": "Internal Server Error"})


class _Sent(Response):
    media_type = "application/json"

    def __init__(self, answer: Answer) -> None:
        super().__init__(msgspec.json.encode(answer.body), status_code=answer.status)


class _Late(_Sent):
    """An answer that comes late, or not at all where the client has gone meanwhile."""

    def __init__(self, answer: Answer, seconds: float) -> None:
        super().__init__(answer)
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await _gone(receive)
        except TimeoutError:
            await super().__call__(scope, receive, send)


class _HangUp(Response):
    """No answer: the connection is closed, or reset."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if HANG_UP not in scope:
            raise RuntimeError("this server cannot end a connection without an answer; serve with ExchangeServer")
        scope[HANG_UP](reset=self._reset)
        await _gone(receive)


class _Gone(Response):
    """The client has left: there is nobody to answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        return


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _plain(request: Request, error: Exception) -> Response:
    """The router's own refusals (404, 405) in the interface's form."""
    status = getattr(error, "status_code", 500)
    return _Sent(Answer(status, {"detail": str(getattr(error, "detail", ""))}))
