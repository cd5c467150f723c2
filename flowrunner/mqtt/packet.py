"""A message from the broker, and the ledger that sends acknowledgements in the order of receipt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from flowrunner.message import JSON

_NONE: Mapping[str, JSON] = MappingProxyType({})


class Receipt:
    """One packet that the broker waits for us to acknowledge; ``open`` receivers still work on it."""

    __slots__ = ("given_up", "mid", "open", "qos")

    def __init__(self, mid: int, qos: int) -> None:
        self.mid = mid
        self.qos = qos
        self.open = 1
        self.given_up = False


class Ledger:
    """The unacknowledged packets of one connection. MQTT wants acknowledgements in the order of receipt, so a
    finished packet waits for those before it. A closed ledger does nothing: the connection is no more.
    """

    def __init__(self, send: Callable[[Receipt], None]) -> None:
        self._send = send
        self._waiting: deque[Receipt] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, mid: int, qos: int) -> Receipt | None:
        """The receipt for an arrived packet, with one holder; None for QoS 0, which nobody acknowledges."""
        if qos == 0:
            return None
        receipt = Receipt(mid, qos)
        self._waiting.append(receipt)
        return receipt

    def settle(self, receipt: Receipt, *, give_up: bool = False) -> None:
        """One holder is done with it, or gave it up: then it is passed over and never acknowledged."""
        receipt.open -= 1
        receipt.given_up = receipt.given_up or give_up
        while self._waiting and self._waiting[0].open == 0 and not self._closed:
            first = self._waiting.popleft()
            if not first.given_up:
                self._send(first)

    def close(self) -> None:
        self._closed = True
        self._waiting.clear()


class Packet:
    """A message as one subscriber gets it. Say :meth:`ack` once its effect is safe, whatever the QoS."""

    __slots__ = (
        "_ledger", "_receipt", "dup", "idents", "mid", "payload", "properties", "qos", "received", "retain", "topic",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        mid: int = 0,
        dup: bool = False,
        properties: Mapping[str, JSON] = _NONE,
        idents: tuple[int, ...] = (),
        ledger: Ledger | None = None,
        receipt: Receipt | None = None,
        *,
        received: int = 0,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        """The broker kept it: it was published before the subscription, maybe long ago."""
        self.mid = mid
        """The broker's number of the packet within this connection; 0 with QoS 0."""
        self.dup = dup
        """The broker may have sent it before."""
        self.properties = properties
        """MQTT 5: ``content_type`` (text), ``expiry_s`` (seconds left), ``user`` (name → text), where given."""
        self.idents = idents
        """The subscriptions that the broker says it is for, where it says so."""
        self.received = received
        """The position in the order of arrival at this client, from 1; all receivers see the same number."""
        self._ledger = ledger
        self._receipt = receipt

    def share(self) -> Packet:
        """One more handle on this packet; the broker hears of it when every handle is done."""
        if self._receipt is not None:
            self._receipt.open += 1
        twin = Packet.__new__(Packet)
        for slot in Packet.__slots__:
            setattr(twin, slot, getattr(self, slot))
        return twin

    def ack(self) -> None:
        """Done: the broker hears it when all receivers, and all packets before it, are done too.

        Safe to repeat, and without effect when the connection that it came by is gone: the broker then brings it
        again (persistent session), marked ``dup``.
        """
        self._settle(give_up=False)

    def abandon(self) -> None:
        """Will not be acknowledged, and others need not wait for it. With a persistent session the broker brings it
        again at the next connection."""
        self._settle(give_up=True)

    def _settle(self, give_up: bool) -> None:
        receipt, self._receipt = self._receipt, None
        if receipt is not None and self._ledger is not None:
            self._ledger.settle(receipt, give_up=give_up)

    def __repr__(self) -> str:
        return f"<Packet {self.topic} qos={self.qos} mid={self.mid} {len(self.payload)} bytes>"
