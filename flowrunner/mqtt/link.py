"""One connection to the broker, from CONNECT to its end. Used once: what is not acknowledged when it ends is the
caller's again (``NotConnected``) or the broker's (packets without ``ack``), and nothing is kept to be sent later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

import msgspec

from flowrunner.errors import NotConnected, Reject
from flowrunner.message import JSON

from . import trouble
from .limits import HungUp, Limits
from .packet import Ledger, Packet, Receipt
from .protocol import Incoming, Speaker, Welcome
from .settings import Settings
from .subscriptions import Ask
from .wire import Wire

CONNECT_S = 10.0
"""For name, TCP, TLS and the broker's answer together."""
CLOSE_S = 2.0
OUT_MAXIMUM = 100
"""How many of our messages (QoS 1 and 2) may be unacknowledged; fewer where an MQTT 5 broker says so."""
READS_A_TURN = 200
"""Then the rest of the event loop gets its turn."""

log = logging.getLogger("flowrunner.mqtt")


class Arrival(msgspec.Struct):
    """A message as it came in; ``idents`` are the subscriptions that the broker says it is for."""

    packet: Packet
    idents: list[int]


class _Sent(msgspec.Struct):
    topic: str
    qos: int
    done: asyncio.Future[None]


class Owner(Protocol):
    """Who the link reports to, from inside the event loop."""

    def link_up(self, link: Link) -> None: ...
    def link_message(self, arrival: Arrival) -> None: ...
    def link_answered(self, pattern: str, error: str) -> None: ...


class Link:
    """``await open()``; then it works until :attr:`lost` is set with the reason.

    ``recorded`` are the QoS 2 numbers of the session that we answered with PUBREC and the broker has not released
    yet: it outlives the link, so that a repeat over the next one is recognised.
    """

    def __init__(self, settings: Settings, client_id: str, owner: Owner, recorded: set[int]) -> None:
        self.alive = False
        self.session_present = False
        self.idents = False
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._settings = settings
        self._owner = owner
        self._recorded = recorded
        self._answered = asyncio.Event()  # the broker said yes, or it is over
        self._refusal = ""
        self._closing = False
        self._paused = False
        self._keepalive = settings.keepalive
        self._limits = Limits()
        self._tick: asyncio.TimerHandle | None = None
        self._ledger = Ledger(self._acknowledge)
        self._window = asyncio.Semaphore(OUT_MAXIMUM)
        self._sent: dict[int, _Sent] = {}
        self._asked: dict[int, str] = {}
        self._wire = Wire(self._read, self._write)
        self._speaker = Speaker(self._wire, settings, client_id, self)

    # ---- from beginning to end -----------------------------------------------------------------------------

    async def open(self) -> None:
        """NotConnected, with a text for people, when there is no connection within ten seconds."""
        address = self._settings.address
        try:
            async with asyncio.timeout(CONNECT_S):
                context = self._settings.tls_context()
                name = address.host if context else None
                await self._loop.create_connection(
                    lambda: self._wire, address.host, address.port, ssl=context, server_hostname=name
                )
                self._speaker.say_connect()
                await self._answered.wait()
        except (OSError, ValueError) as error:
            self._end(trouble.cannot_connect(error, self._settings))
        except asyncio.CancelledError:
            self.drop()
            raise
        if self.lost.done():
            raise NotConnected(self.lost.result())

    async def close(self) -> None:
        """Says DISCONNECT after all that waits to be sent; when the broker does not close then, just goes."""
        if self.alive:
            self._closing = True
            self._speaker.disconnect()
            self._write()
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._wire.gone.wait()
            except TimeoutError:
                log.warning("%s: the broker does not answer the goodbye", self._settings.address)
                self._wire.abort()
        self.drop()

    def drop(self) -> None:
        """Ends at once, if it has not ended yet."""
        self._end("closed")

    def _end(self, reason: str, *, hung_up: bool = False) -> None:
        if self.lost.done():
            return
        self.alive = False
        self.lost.set_result(reason)
        self._answered.set()
        self._ledger.close()
        if self._tick is not None:
            self._tick.cancel()
        for sent in self._sent.values():
            # The broker works in order: if a message made it hang up, it is the oldest without an answer.
            if not sent.done.done():
                sent.done.set_exception(HungUp(reason) if hung_up else NotConnected(reason))
            hung_up = False
        self._sent.clear()
        self._window.release()  # wakes the first who waits for room: it sees the end, and wakes the next
        if not self._closing:
            self._wire.abort()

    def _keep_alive(self) -> None:
        now, wire = self._loop.time(), self._wire
        silent = now - wire.last_in
        if silent > 1.5 * self._keepalive and not wire.held:
            self._end(f"{self._settings.address}: the broker is silent for {silent:.0f} s")
            return
        if max(silent, now - wire.last_out) >= 0.5 * self._keepalive:
            self._speaker.say_ping()
        self._tick = self._loop.call_later(self._keepalive / 4, self._keep_alive)

    # ---- what the client asks for --------------------------------------------------------------------------

    def subscribe(self, ask: Ask) -> None:
        mid = self._speaker.say_subscribe(ask.filter, ask.qos, ask.ident if self.idents else None)
        self._asked[mid] = ask.filter
        self._gate()

    def unsubscribe(self, pattern: str) -> None:
        self._speaker.unsubscribe(pattern)

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Mapping[str, JSON]) -> None:
        """Returns when the broker has it. NotConnected when the link ends before that; Reject when it says no."""
        if qos and self.alive:
            await self._window.acquire()
        if not self.alive:
            self._window.release()
            raise NotConnected(self.lost.result())
        try:
            self._check_fits(topic, payload, qos, retain, properties)
            mid = self._speaker.say_publish(topic, payload, qos, retain, properties)
        except (ValueError, Reject):
            if qos:
                self._window.release()
            raise
        done: asyncio.Future[None] = self._loop.create_future()
        self._sent[mid] = _Sent(topic, qos, done)
        self._gate()
        await done

    # A broker ends the connection on a message that is beyond its limits, each time that it comes.
    def _check_fits(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Mapping[str, JSON]) -> None:
        size = self._speaker.properties_size(properties)
        if complaint := self._limits.complaint(topic, payload, qos, retain, size):
            raise Reject("mqtt-refused", trouble.refused_message(topic, complaint, self._settings))

    def pause(self, paused: bool) -> None:
        """While paused nothing is read, unless an answer of the broker is waited for."""
        self._paused = paused
        self._gate()

    def _gate(self) -> None:
        # The answer may stand behind messages. Were they left unread while a flow waits for the answer, that flow
        # would stand still for ever: so they are read, and the owner keeps them until it may hand them on.
        held = self._paused and self.alive and not self._sent and not self._asked
        if held != self._wire.held:
            self._wire.hold(held)
            self._loop.call_soon(self._read)  # never from here: this may be inside of a read

    def _acknowledge(self, receipt: Receipt) -> None:
        if receipt.qos == 2:
            self._recorded.add(receipt.mid)
        self._speaker.say_received(receipt.mid, receipt.qos)

    # ---- the wire's calls ----------------------------------------------------------------------------------

    def _read(self) -> None:
        for _ in range(READS_A_TURN):
            if not self._wire.readable:
                self._wire.balance()
                return
            try:
                self._speaker.loop_read()
            except Exception as error:
                log.exception("%s: what the broker sent cannot be read", self._settings.address)
                self._end(trouble.broke(error, self._settings))
        self._loop.call_soon(self._read)

    def _write(self) -> None:
        self._speaker.loop_write()
        self._wire.flush()

    # ---- what the broker says ------------------------------------------------------------------------------

    def on_want_write(self) -> None:
        self._loop.call_soon(self._write)  # later: then many small packets leave as one

    def on_welcome(self, welcome: Welcome) -> None:
        self.alive = True
        self.session_present = welcome.session_present
        self.idents = welcome.idents
        self._window = asyncio.Semaphore(min(OUT_MAXIMUM, welcome.receive_maximum))
        self._keepalive = welcome.keepalive
        self._limits = welcome.limits
        self._keep_alive()
        if not welcome.session_present:
            self._recorded.clear()
        birth = self._settings.birth
        if birth is not None:
            self._speaker.say_publish(birth.topic, birth.payload, birth.qos, birth.retain, {})
        self._answered.set()
        self._owner.link_up(self)

    def on_refused(self, refusal: str) -> None:
        self._refusal = trouble.refused(refusal, self._settings)

    def on_end(self, said: str, protocol_error: str) -> None:
        if self._closing:
            text = "closed"
        elif self._refusal:
            text = self._refusal
        elif said:
            text = trouble.refused(said, self._settings)
        else:
            error = self._wire.error if self._wire.ended else ValueError(protocol_error)
            text = (trouble.broke if self.alive else trouble.cannot_connect)(error, self._settings)
        self._end(text, hung_up=self.alive and not trouble.innocent(said, self._wire.error))

    def on_incoming(self, message: Incoming) -> None:
        if message.qos == 2 and message.mid in self._recorded:
            self._speaker.say_received(message.mid, 2)  # we have it; the broker only missed our answer
            return
        packet = Packet(
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain,
            mid=message.mid,
            dup=message.dup,
            properties=message.properties,
            ledger=self._ledger,
            receipt=self._ledger.take(message.mid, message.qos),
        )
        self._owner.link_message(Arrival(packet, message.idents))

    def on_released(self, mid: int) -> None:
        self._recorded.discard(mid)

    def on_published(self, mid: int, refusal: str) -> None:
        sent = self._sent.pop(mid, None)
        if sent is None:  # the birth
            return
        if sent.qos:
            self._window.release()
        if not sent.done.done():
            if refusal:
                text = trouble.refused_message(sent.topic, refusal, self._settings)
                sent.done.set_exception(Reject("mqtt-refused", text))
            else:
                sent.done.set_result(None)
        self._gate()

    def on_subscribed(self, mid: int, refusal: str) -> None:
        pattern = self._asked.pop(mid, None)
        if pattern is None:
            return
        error = trouble.refused_subscription(pattern, refusal, self._settings) if refusal else ""
        self._owner.link_answered(pattern, error)
        self._gate()
