"""A stream of numbered MQTT messages, QoS 1: the publisher knows what the broker took, the listener notes what comes.

Both speak paho directly, with nothing of ours in between, each in a thread of its own and in a session that the broker
keeps. So what one of them was told, and what the other one did not hear, is the fault of what stands between them.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

PATIENCE_S = 30.0
AGAIN_S = 0.05
"""Between two attempts to reach a broker that is away."""
LOOK_S = 0.05
"""The longest that the network is waited for before the end is looked for."""


class Heard(NamedTuple):
    """One delivery, as it came."""

    topic: str
    number: int
    dup: bool
    """The broker says that it may have sent it before."""
    payload: dict[str, Any]
    delay_s: float
    """From the publisher to here."""


class _Peer:
    """A client in a thread of its own, which comes back whenever its broker does. ``with`` begins and ends it."""

    def __init__(self, port: int, name: str) -> None:
        self.changed = threading.Condition()
        """Told of all that happens; held while anything here is written."""
        self._port = port
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, reconnect_on_failure=False
        )
        self._client.max_inflight_messages_set(0)  # no limit
        self._client.max_queued_messages_set(0)
        self._ending = False
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def until(
        self, condition: Callable[[], object], what: Callable[[], object] | str, within_s: float = PATIENCE_S
    ) -> None:
        """Return as soon as ``condition()`` is true; it is asked whenever something happened here."""
        with self.changed:
            found = self.changed.wait_for(lambda: self._trouble is not None or condition(), within_s)
            if self._trouble is not None:
                raise self._trouble
            assert found, f"not within {within_s:g} s: {what() if callable(what) else what}"

    def __enter__(self) -> Any:
        self._thread.start()
        self.until(self._client.is_connected, "the peer is connected")
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self._ending = True
            self.changed.notify_all()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the peer does not end"

    def _run(self) -> None:
        try:
            self._client.connect("127.0.0.1", self._port)
            while not self._ending:
                if self._client.loop(self._turn()) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._again()
            self._client.disconnect()
            self._client.loop(0)
        except BaseException as error:  # said by the next ``until``
            with self.changed:
                self._trouble = error
                self.changed.notify_all()
        finally:
            sock = self._client.socket()
            if sock is not None:
                sock.close()

    def _turn(self) -> float:
        """Do what is due; seconds until the next is."""
        return LOOK_S

    def _again(self) -> None:
        try:
            self._client.reconnect()
        except OSError:
            with self.changed:
                self.changed.wait_for(lambda: self._ending, AGAIN_S)


class Publisher(_Peer):
    """``with Publisher(broker.port, ["plant/in/{key}"]) as source:`` publishes numbers until ``stop()``.

    The keys take turns, each counts 1, 2, 3 …; every number goes to all the topics. ``rate_hz`` is of numbers.
    A message is published until the broker has acknowledged it, however often either goes away.
    """

    def __init__(
        self, port: int, topics: Sequence[str], *, keys: Sequence[str] = ("a", "b", "c"), rate_hz: float = 200.0,
        name: str = "test-publisher",
    ) -> None:  # fmt: skip
        super().__init__(port, name)
        self.acknowledged: dict[str, list[int]] = defaultdict(list)
        """Topic → the numbers that the broker has taken, in the order of their acknowledgement."""
        self.published = 0
        """Messages in all."""
        self.done = 0
        """And how many of them the broker has acknowledged."""
        self._topics, self._keys, self._rate = topics, keys, rate_hz
        self._taken_turns, self._due = 0, 0.0
        self._open: dict[int, tuple[str, int]] = {}
        self._stopped = False
        self._client.on_publish = self._taken

    @property
    def count(self) -> int:
        """The number that is counted at present."""
        return self._taken_turns // len(self._keys) + 1

    def stop(self) -> None:
        """No more messages; returns when the broker has acknowledged all of them."""
        with self.changed:
            self._stopped = True
        self.until(lambda: not self._open, lambda: f"{len(self._open)} messages are not acknowledged to the publisher")

    def until_more(self, count: int) -> None:
        """Wait until the broker has acknowledged ``count`` messages more."""
        wanted = self.done + count
        self.until(lambda: self.done >= wanted, f"the broker takes {count} messages more")

    def _turn(self) -> float:
        now = time.monotonic()
        if self._stopped or not self._client.is_connected():
            self._due = 0.0
            return LOOK_S
        self._due = self._due or now
        while self._due <= now:
            self._publish()
            self._due += 1 / self._rate
        return self._due - now

    def _publish(self) -> None:
        turn, place = divmod(self._taken_turns, len(self._keys))
        self._taken_turns += 1
        number, key = turn + 1, self._keys[place]
        body = json.dumps({"number": number, "value": number % 50, "sent_at": time.time()})
        for template in self._topics:
            topic = template.format(key=key)
            with self.changed:
                mid = self._client.publish(topic, body, qos=1).mid
                self._open[mid] = topic, number
                self.published += 1

    def _taken(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        assert not reason.is_failure, f"the broker refuses a message: {reason}"
        with self.changed:
            topic, number = self._open.pop(mid)
            self.acknowledged[topic].append(number)
            self.done += 1
            self.changed.notify_all()


class Listener(_Peer):
    """``with Listener(broker.port, "plant/out/#") as sink:`` – ``sink.heard`` is every delivery, in its order.

    A delivery is noted, then acknowledged. Returns from ``with`` when the broker has taken the subscriptions.
    """

    def __init__(self, port: int, *filters: str, name: str = "test-listener") -> None:
        super().__init__(port, name)
        self.heard: list[Heard] = []
        self._filters = filters
        self._subscribed = False
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._ready
        self._client.on_message = self._note

    def __enter__(self) -> Listener:
        super().__enter__()
        self.until(lambda: self._subscribed, "the listener's subscriptions are taken")
        return self

    def until_more(self, count: int) -> None:
        """Wait for ``count`` deliveries more."""
        wanted = len(self.heard) + count
        self.until(lambda: len(self.heard) >= wanted, f"{count} deliveries more")

    def until_number(
        self, number: int, beginning: str, what: Callable[[], object], within_s: float = PATIENCE_S
    ) -> None:
        """Wait for this number, or a later one, on a topic that begins so."""
        looked = len(self.heard)

        def came() -> bool:
            nonlocal looked
            first, looked = looked, len(self.heard)
            return any(one.number >= number and one.topic.startswith(beginning) for one in self.heard[first:])

        self.until(came, lambda: f"number {number} on {beginning}…; {what()}", within_s)

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        assert not reason.is_failure, f"the broker refuses the listener: {reason}"
        client.subscribe([(one, 1) for one in self._filters])

    def _ready(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        assert not any(one.is_failure for one in reasons)
        with self.changed:
            self._subscribed = True
            self.changed.notify_all()

    def _note(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        payload = json.loads(message.payload)
        delay_s = time.time() - payload["sent_at"]
        with self.changed:
            self.heard.append(Heard(message.topic, payload["number"], message.dup, payload, delay_s))
            self.changed.notify_all()
