"""One connection to the broker, from CONNECT to its end. Used once: what is not acknowledged when it ends is the
caller's again (``NotConnected``) or the broker's (packets without ``ack``), and nothing is kept to be sent later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from flowrunner.errors import NotConnected, Reject
from flowrunner.message import JSON

from . import trouble
from .codec import Hearing, Published, pack
from .limits import Limits
from .outbox import MAXIMUM, Outbox, Sent
from .packet import Ledger, Packet, Receipt
from .properties import Malformed
from .protocol import Speaker, Welcome
from .settings import Settings
from .subscriptions import Ask
from .wire import Wire

CONNECT_S = 10.0
"""For name, TCP, TLS and the broker's answer together."""
CLOSE_S = 2.0
SILENT_SHARE = 1.5
"""Of the keepalive: a broker that is silent for so long is taken for dead, as it takes us."""
READS_A_TURN = 200
"""Then the rest of the event loop gets its turn."""

log = logging.getLogger("flowrunner.mqtt")


class Owner(Protocol):
    """Who the link reports to, from inside the event loop."""

    def link_up(self, link: Link) -> None: ...
    def link_message(self, packet: Packet) -> None: ...
    def link_answered(self, pattern: str, error: str) -> None: ...
    def link_ended(self, pattern: str) -> None: ...


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
        self._closing = False
        self._paused = False
        self._keepalive = settings.keepalive
        self._limits = Limits()
        self._tick: asyncio.TimerHandle | None = None
        self._ledger = Ledger(self._acknowledge)
        self._asked: dict[int, str] = {}
        self._ending: dict[int, str] = {}
        self._wire = wire = Wire(self._read, self._write)
        self._outbox = Outbox(lambda: wire.full, singly=settings.protocol == "3.1.1")
        self._hearing = Hearing()
        self._write_due = False
        self._five = settings.protocol == "5"
        self._speaker = Speaker(self._put, settings, client_id, self)

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
            self._speaker.say_goodbye()
            self._write()
            self._wire.close()
            self._end("closed")
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._wire.gone.wait()
            except TimeoutError:
                log.warning("%s: the broker does not answer the goodbye", self._settings.address)
            finally:  # also where nobody waits any more
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
        if not self._closing:
            self._wire.abort()
        self._outbox.over(reason, hung_up=hung_up)

    def _keep_alive(self) -> None:
        now, wire = self._loop.time(), self._wire
        silent, limit = now - wire.last_in, SILENT_SHARE * self._keepalive
        if silent >= limit and not wire.held:
            self._end(f"{self._settings.address}: the broker is silent for {silent:.0f} s")
            return
        if max(silent, now - wire.last_out) >= 0.5 * self._keepalive:
            self._speaker.say_ping()
        look = self._keepalive / 4
        self._tick = self._loop.call_later(look if wire.held else min(look, limit - silent), self._keep_alive)

    # ---- what the client asks for --------------------------------------------------------------------------

    def subscribe(self, ask: Ask) -> None:
        mid = self._speaker.say_subscribe(ask.filter, ask.qos, ask.ident if self.idents else None)
        self._asked[mid] = ask.filter
        self._gate()

    def unsubscribe(self, pattern: str) -> None:
        self._ending[self._speaker.say_unsubscribe(pattern)] = pattern
        self._gate()

    def has_room(self, qos: int) -> bool:
        """Whether `publish` takes a message now."""
        return self.alive and self._outbox.has_room(qos)

    async def room(self, qos: int) -> None:
        """Return when `publish` takes a message, in this very step. NotConnected when the link ends before that."""
        await self._outbox.room(qos)

    def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: Mapping[str, JSON], done: Sent
    ) -> None:
        """``done`` is told of the end, never from inside of this call. NotConnected when the link has ended; Reject for
        what the broker has said that it does not take; ValueError for a bad topic or property. Ask for `room` before:
        an MQTT 5 broker may hang up on one message too many."""
        if not self.alive:
            raise NotConnected(self.lost.result())
        packed = pack(properties, five=self._five)
        # A broker ends the connection on a message that is beyond its limits, each time that it comes.
        if complaint := self._limits.complaint(topic, payload, qos, retain, len(packed)):
            raise Reject("mqtt-refused", trouble.refused_message(topic, complaint, self._settings))
        mid = self._speaker.say_publish(topic, payload, qos, retain, packed)
        self._outbox.add(mid, qos, topic, done)
        if qos:
            self._gate()

    def pause(self, paused: bool) -> None:
        """While paused nothing is read, unless an answer of the broker is waited for."""
        self._paused = paused
        self._gate()

    def _gate(self) -> None:
        # The answer may stand behind messages. Were they left unread while a flow waits for the answer, that flow
        # would stand still for ever: so they are read, and the owner keeps them until it may hand them on.
        held = self._paused and self.alive and not (self._outbox or self._asked or self._ending)
        if held != self._wire.held:
            self._wire.hold(held)
            self._loop.call_soon(self._read)  # never from here: this may be inside of a read

    def _acknowledge(self, receipt: Receipt) -> None:
        if receipt.qos == 2:
            self._recorded.add(receipt.mid)
        self._speaker.say_received(receipt.mid, receipt.qos)

    # ---- the wire's calls ----------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        try:
            self._wire.put(data)
        except ConnectionResetError:
            return  # it is over, which is seen at the next look at the wire
        if not self._write_due:
            self._write_due = True
            self._loop.call_soon(self._write)  # later: then many small packets leave as one

    def _read(self) -> None:
        wire, hearing, count = self._wire, self._hearing, 0
        try:
            while not self.lost.done():
                for said in hearing.packets():
                    self._speaker.hear(said)
                    count += 1
                    if wire.held or self.lost.done():
                        break
                    if count >= READS_A_TURN:
                        self._loop.call_soon(self._read)
                        return
                if not wire.held and (data := wire.take()):
                    hearing.feed(data)
                elif wire.readable and wire.ended:
                    self._hung_up("")
                else:
                    break
        except Malformed as error:
            self._end(trouble.broke(error, self._settings))
        except Exception as error:
            log.exception("%s: what the broker sent cannot be read", self._settings.address)
            self._end(trouble.broke(error, self._settings))
        wire.balance()

    def _write(self) -> None:
        self._write_due = False
        self._wire.flush()
        self._outbox.flushed()

    def _hung_up(self, said: str) -> None:
        """The broker has closed the connection, with or without a word."""
        if self._closing:
            text = "closed"
        elif said:
            text = trouble.refused(said, self._settings)
        else:
            text = (trouble.broke if self.alive else trouble.cannot_connect)(self._wire.error, self._settings)
        self._end(text, hung_up=self.alive and not trouble.innocent(said, self._wire.error))

    # ---- what the broker says ------------------------------------------------------------------------------

    def on_welcome(self, welcome: Welcome) -> None:
        self.alive = True
        self.session_present = welcome.session_present
        self.idents = welcome.idents
        self._outbox.free = min(MAXIMUM, welcome.receive_maximum)
        self._keepalive = welcome.keepalive
        self._limits = welcome.limits
        self._keep_alive()
        if not welcome.session_present:
            self._recorded.clear()
        birth = self._settings.birth
        if birth is not None:
            nothing = pack({}, five=self._five)
            self._speaker.say_publish(birth.topic, birth.payload, birth.qos, birth.retain, nothing)
        self._answered.set()
        self._owner.link_up(self)

    def on_refused(self, refusal: str) -> None:
        self._end(trouble.refused(refusal, self._settings))

    def on_goodbye(self, said: str) -> None:
        self._hung_up(said)

    def on_incoming(self, message: Published) -> None:
        topic, payload, qos, retain, mid, dup, properties, idents = message
        receipt = None
        if qos:
            if qos == 2 and mid in self._recorded:
                self._speaker.say_received(mid, 2)  # we have it; the broker only missed our answer
                return
            receipt = self._ledger.take(mid, qos)
        packet = Packet(topic, payload, qos, retain, mid, dup, properties, idents, self._ledger, receipt)
        self._owner.link_message(packet)

    def on_released(self, mid: int) -> None:
        self._recorded.discard(mid)

    def on_published(self, mid: int, refusal: str) -> None:
        sent = self._outbox.answered(mid)
        if sent is None:  # the birth
            return
        topic, done = sent
        if refusal:
            done(Reject("mqtt-refused", trouble.refused_message(topic, refusal, self._settings)))
        else:
            done(None)
        self._gate()

    def on_subscribed(self, mid: int, refusal: str) -> None:
        pattern = self._asked.pop(mid, None)
        if pattern is None:
            return
        error = trouble.refused_subscription(pattern, refusal, self._settings) if refusal else ""
        self._owner.link_answered(pattern, error)
        self._gate()

    def on_unsubscribed(self, mid: int) -> None:
        pattern = self._ending.pop(mid, None)
        if pattern is not None:
            self._owner.link_ended(pattern)
        self._gate()
