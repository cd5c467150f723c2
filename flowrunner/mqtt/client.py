"""The client: stays connected by itself, shares one connection among subscribers, and loses nothing."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping

from flowrunner.errors import NotConnected
from flowrunner.message import JSON

from .limits import HungUp as HungUp
from .limits import Suspicion as Suspicion
from .link import Link
from .outbox import Sent
from .packet import Packet as Packet
from .settings import Announcement as Announcement
from .settings import Settings as Settings
from .subscriptions import Receive, Subscriptions
from .subscriptions import Subscription as Subscription
from .topic import check_topic

FIRST_DELAY_S, LAST_DELAY_S = 0.2, 30.0
STABLE_S = 10.0
"""A connection that held so long starts the back-off anew; two clients that throw each other out do not."""
CLAIM_S = 10.0
"""How long what a kept session brings may wait for a subscriber that has not opened yet."""
MAX_WAITING = 1000
"""Messages of QoS 0 kept while paused; more are dropped and counted. QoS 1 and 2 are bounded by the broker."""

Listener = Callable[[bool, str], None]

log = logging.getLogger("flowrunner.mqtt")


class Client:
    """One connection to one broker. All methods belong to the event loop that it was started in.

    Subscribe before ``start()`` where that can be: with a persistent session the messages of the time away come at
    once, and those that nobody claims within ten seconds are acknowledged and counted as ``unwanted``.
    """

    def __init__(self, settings: Settings, *, max_payload: int = 1 << 20) -> None:
        self.settings = settings
        self.last_error = ""
        """Why there is no connection, for people and without secrets; ``""`` while connected."""
        self.dropped: Counter[str] = Counter()
        """Messages not handed on, by reason: ``too-large``, ``overflow`` (QoS 0 while paused), ``unwanted``."""
        self._max_payload = max_payload
        self._client_id = settings.client_id or f"flowrunner-{secrets.token_hex(6)}"
        self._table = Subscriptions()
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._listeners: dict[Listener, float] = {}
        """Each with the longest wait (s) that it allows."""
        self._told: tuple[bool, str] = (False, "")
        self._paused_by: set[Hashable] = set()
        self._waiting: deque[Packet] = deque()
        self._claim_until = 0.0
        self._recorded: set[int] = set()
        self._received = 0
        self._sync_due = False
        self._ended: list[str] = []  # filters by which nothing more comes, once what waits is handed on

    # ---- the connection ------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._link is not None and self._link.alive

    def start(self) -> None:
        """Begins to connect, and connects again whenever the connection is lost, until ``close()``. Repeatable."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"mqtt {self.settings.address}")

    async def close(self) -> None:
        """Says goodbye to the broker, which keeps a persistent session. Repeatable; ``start()`` may follow."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._link is not None:
            await self._link.close()
        task.cancel()
        await asyncio.wait([task])
        self._down("closed")
        self._waiting.clear()

    def add_listener(self, listener: Listener, longest_s: float = LAST_DELAY_S) -> None:
        """``listener(connected, reason)`` hears each change, and what goes wrong while connected. ``longest_s``: how
        long it lets the client wait before it connects again; of several listeners the least patient one counts."""
        self._listeners[listener] = longest_s

    def remove_listener(self, listener: Listener) -> None:
        """Repeatable."""
        self._listeners.pop(listener, None)

    async def _run(self) -> None:
        loop, delay = asyncio.get_running_loop(), FIRST_DELAY_S
        while True:
            link, began = Link(self.settings, self._client_id, self, self._recorded), loop.time()
            try:
                await link.open()
                reason = await link.lost
            except NotConnected as error:
                reason = str(error)
            except Exception as error:
                log.exception("%s: connecting failed in an unforeseen way", self.settings.address)
                reason = f"{self.settings.address}: {type(error).__name__}: {error}"
            finally:
                link.drop()
            if loop.time() - began > STABLE_S:
                delay = FIRST_DELAY_S
            self._down(reason)
            delay = min(delay, LAST_DELAY_S, *self._listeners.values())
            await asyncio.sleep(delay * (0.5 + secrets.randbelow(501) / 1000))
            delay *= 2

    def _down(self, reason: str) -> None:
        self._link = None
        self._ended.clear()
        self._table.all_ended()
        if self.settings.persistent:  # the broker brings these again
            self._waiting = deque(packet for packet in self._waiting if packet.qos == 0)
        self.last_error = "" if reason == "closed" else reason
        self._tell(False, reason)

    def _tell(self, connected: bool, reason: str) -> None:
        if (connected, reason) == self._told:
            return
        self._told = (connected, reason)
        for listener in list(self._listeners):
            try:
                listener(connected, reason)
            except Exception:
                log.exception("a listener of %s failed", self.settings.address)

    # ---- out -------------------------------------------------------------------------------------------------

    async def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        *,
        expiry_s: int | None = None,
        properties: Mapping[str, JSON] | None = None,
    ) -> None:
        """Returns when the broker has acknowledged it; QoS 0: when it is handed to the socket.

        NotConnected when there is no connection or it is lost before the answer. Nothing is kept here to be sent
        later: the message is still the caller's, and as the broker may have had it, sending it again makes it
        "at least once" for QoS 2 too. HungUp, a NotConnected, when the broker may have hung up because of it: see
        Suspicion. Reject (``mqtt-refused``) when an MQTT 5 broker says no, or said at the connect that it takes no
        such message. ValueError for a bad topic, and for ``expiry_s`` (seconds) or ``properties`` (``content_type``,
        ``user``) without MQTT 5.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if not ended.done():  # else nobody waits any more
                ended.set_result(None) if error is None else ended.set_exception(error)

        check_topic(topic)
        self._check(expiry_s, properties)
        await self.room(qos)
        self.send(topic, payload, qos, retain, done, expiry_s=expiry_s, properties=properties)
        await ended

    async def room(self, qos: int) -> None:
        """Return when `send` takes one more message, in this very step; at once where it does already. NotConnected."""
        link = self._link
        if link is None:
            raise NotConnected(self.last_error or f"{self.settings.address}: not connected")
        if not link.has_room(qos):
            await link.room(qos)

    def send(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        done: Sent,
        *,
        expiry_s: int | None = None,
        properties: Mapping[str, JSON] | None = None,
    ) -> None:
        """As `publish`, but it waits for nothing: the end is told to ``done``, in the order of sending where the broker
        answers in order. What can be said at once is raised here, and then ``done`` is never called. There must be
        `room`."""
        wanted = self._check(expiry_s, properties)
        if self._link is None:
            raise NotConnected(self.last_error or f"{self.settings.address}: not connected")
        self._link.publish(topic, payload, qos, retain, wanted, done)

    def _check(self, expiry_s: int | None, properties: Mapping[str, JSON] | None) -> Mapping[str, JSON]:
        if expiry_s is None and not properties:
            return {}
        wanted = dict(properties or {}) | ({} if expiry_s is None else {"expiry_s": expiry_s})
        if self.settings.protocol != "5":
            raise ValueError(f'{", ".join(wanted)} cannot be sent with MQTT 3.1.1; set protocol: "5"')
        return wanted

    # ---- in --------------------------------------------------------------------------------------------------

    def subscribe(self, pattern: str, qos: int, receive: Receive) -> Subscription:
        """``receive(packet)`` is called for each message, once whatever other filters match it too.

        It must be quick and not raise (an error is logged and the packet counts as done), and each packet wants its
        ``ack()``. After a broken connection a message may come again (``dup``). ValueError for a bad filter.
        """
        subscription = self._table.join(pattern, qos, receive, self._leave)
        self._sync_soon()
        return subscription

    def pause(self, who: Hashable = None) -> None:
        """Hands on nothing more, and reads nothing more: TCP makes the broker wait. Holds until everyone who
        paused has resumed. While an answer of the broker is waited for, reading goes on and messages are kept."""
        self._paused_by.add(who)
        if self._link is not None:
            self._link.pause(True)

    def resume(self, who: Hashable = None) -> None:
        self._paused_by.discard(who)
        self._drain()
        if self._link is not None:
            self._link.pause(bool(self._paused_by))

    def _leave(self, subscription: Subscription, ended: Callable[[], None] | None) -> None:
        self._table.leave(subscription, ended)
        if self._link is None:
            self._table.all_ended()
        self._sync_soon()

    def _sync_soon(self) -> None:
        # What is left and joined in one go (a reload) becomes one change.
        if self._link is not None and not self._sync_due:
            self._sync_due = True
            asyncio.get_running_loop().call_soon(self._sync)

    def _sync(self) -> None:
        self._sync_due = False
        if self._link is None or not self._link.alive or self._all_left:
            return
        asks, surplus = self._table.changes(self._link.idents)
        for ask in asks:
            self._link.subscribe(ask)
        for pattern in surplus:
            self._link.unsubscribe(pattern)
        self._drain()
        for error in {subscription.error for subscription in self._table if subscription.error}:
            self._tell(True, error)

    @property
    def _all_left(self) -> bool:
        """The end of a run: what comes from now on is for the next one, and the broker keeps it. Who leaves to be
        ended has no next one: the broker has to hear of it."""
        return self.settings.persistent and not self._table

    def _drain(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for packet in waiting:
            self._take(packet)
        if not self._paused_by:  # what waits now is for nobody who has ended
            ended, self._ended = self._ended, []
            for pattern in ended:
                self._table.ended(pattern)

    def _take(self, packet: Packet) -> None:
        if self._paused_by:
            if packet.qos == 0 and len(self._waiting) >= MAX_WAITING:
                self.dropped["overflow"] += 1
            else:
                self._waiting.append(packet)
            return
        receivers = self._table.receivers(packet.topic, packet.retain, packet.idents)
        if receivers is None:
            claimable = self.settings.persistent and packet.qos > 0
            if claimable and (self._all_left or asyncio.get_running_loop().time() < self._claim_until):
                self._waiting.append(packet)
                return
            self.dropped["unwanted"] += 1
        elif len(receivers) == 1:  # by far the most common: it is the packet itself
            self._give(receivers[0], packet)
            return
        for subscription in receivers or ():
            self._give(subscription, packet.share())
        packet.ack()

    def _give(self, subscription: Subscription, packet: Packet) -> None:
        try:
            subscription.receive(packet)
        except Exception:
            log.exception("a subscriber of %r failed", subscription.filter)
            packet.ack()

    # ---- what the link reports -----------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        self._link = link
        self.last_error = ""
        self._table.connected(link.session_present)
        if link.session_present:
            self._claim_until = loop.time() + CLAIM_S
            loop.call_later(CLAIM_S, self._drain)
        link.pause(bool(self._paused_by))
        self._tell(True, "")
        self._sync()

    def link_message(self, packet: Packet) -> None:
        self._received += 1
        packet.received = self._received
        if len(packet.payload) > self._max_payload:
            self._drop_large(packet)
        elif self._waiting and not self._paused_by:  # then it waits behind them in any case
            self._waiting.append(packet)
            self._drain()  # in order: one that waits for a subscriber must not be overtaken by the next
        else:
            self._take(packet)

    def _drop_large(self, packet: Packet) -> None:
        self.dropped["too-large"] += 1
        packet.ack()
        size = len(packet.payload)
        self._tell(True, f"message on {packet.topic!r} dropped: {size} bytes; {self._max_payload} are allowed")

    def link_answered(self, pattern: str, error: str) -> None:
        self._table.answered(pattern, error)
        if error:
            self._tell(True, error)

    def link_ended(self, pattern: str) -> None:
        self._ended.append(pattern)
        self._drain()
