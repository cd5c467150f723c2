"""Taps: the messages of one node for who looks on. A node that nobody taps pays nothing, and no node waits for a tap.

What is seen is a message as it leaves, by its port; of a node by which nothing leaves, what it begins with (``in``).
One hook per node serves all who look on; it keeps references and counts, and the hub makes texts of them later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from flowrunner.message import JSON, Instant, Message
from flowrunner.runtime import Runtime, Worker
from flowrunner.runtime.context import NodeContext
from flowrunner.web.answer import encode
from flowrunner.web.live.frame import MS
from flowrunner.web.live.words import Mask

MOST_RATE = 10.0
"""Messages per second of one tap."""
MOST_TAPS = 8
"""Nodes that one reader may tap."""
MOST_BYTES = 4096
"""Of a payload; what is longer is cut, and says so."""
LOOKED_AT = 65_536
"""Characters of a payload in which secrets are sought before it is cut."""
IN = "in"
See = Callable[[str, Message], None]


class Passed:
    """One message that passed a node. Its text is made once for all who look on."""

    __slots__ = ("_text", "at", "message", "port")

    def __init__(self, port: str, message: Message, at: Instant) -> None:
        self.port, self.message, self.at = port, message, at
        self._text: msgspec.Raw | None = None

    def text(self, mask: Mask) -> msgspec.Raw:
        if self._text is None:
            self._text = msgspec.Raw(encode(shown(self.message, mask)))
        return self._text


class Feed:
    """What one reader sees of one node: at most ``rate`` messages a second, and how many were left out."""

    __slots__ = ("_dropped", "_most", "_step", "_taken", "_tokens", "address", "kept")

    def __init__(self, address: str, rate: float, ticks: float) -> None:
        """``ticks``: how often a second ``refill`` is called."""
        self.address = address
        self.kept: list[tuple[int, Passed]] = []
        """How many were left out before it, and what passed then."""
        self._dropped = 0
        """Left out since the last one that was kept."""
        self._most = self._tokens = max(rate, 1.0)
        self._step = rate / ticks
        self._taken = 0

    def see(self, passed: Passed) -> None:
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            self.kept.append((self._dropped, passed))
            self._dropped = 0
        else:
            self._dropped += 1

    def refill(self) -> None:
        if len(self.kept) < self._most:  # a reader that takes nothing is given nothing more
            self._tokens = min(self._tokens + self._step, self._most)

    def put_back(self) -> None:
        """What was taken last was not sent: it counts as left out."""
        self._dropped += self._taken
        self._taken = 0

    def events(self, mask: Mask) -> Iterable[JSON]:
        """What is to be sent, the oldest first; it is taken."""
        kept, self.kept = self.kept, []
        self._taken = sum(1 + dropped for dropped, _ in kept)
        for dropped, one in kept:
            yield {
                "node": self.address,
                "at": one.at // MS,
                "port": one.port,
                "dropped": dropped,
                "message": one.text(mask),
            }


class Taps:
    """All taps of one running system."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._feeds: dict[str, list[Feed]] = {}
        self._hooks: dict[str, dict[Worker, Callable[[], None]]] = {}
        """Address → the workers that are looked at, and how that ends: during a reload there may be two."""
        self._told: Callable[[Worker], None] | None = None
        self._before: Callable[[Worker], None] | None = None

    def add(self, feed: Feed) -> None:
        """From now on the feed sees what passes its node, also when that is another one after a reload."""
        if not self._feeds:
            self._listen()
        self._feeds.setdefault(feed.address, []).append(feed)
        worker = self._runtime.workers.get(feed.address)
        if worker is not None:
            self._look_at(worker)

    def remove(self, feed: Feed) -> None:
        """It sees nothing more. The last one of a node leaves it as it was."""
        feeds = self._feeds.get(feed.address, [])
        if feed in feeds:
            feeds.remove(feed)
        if not feeds and feed.address in self._feeds:
            del self._feeds[feed.address]
            for end in self._hooks.pop(feed.address, {}).values():
                end()
        if not self._feeds:
            self._be_deaf()

    def settle(self) -> None:
        """After a reload: who is gone for good is let go, who runs is looked at."""
        for address in self._feeds:
            worker, hooks = self._runtime.workers.get(address), self._hooks.get(address, {})
            for old in [one for one in hooks if one is not worker and one.owner not in self._runtime.going]:
                hooks.pop(old)()
            if worker is not None:
                self._look_at(worker)

    # ---- hooks --------------------------------------------------------------------------------------------------

    def _look_at(self, worker: Worker) -> None:
        address = worker.spec.address
        hooks = self._hooks.setdefault(address, {})
        if worker not in hooks:
            hooks[worker] = _hook(worker, partial(self._passed, self._feeds[address]))

    def _passed(self, feeds: list[Feed], port: str, message: Message) -> None:
        """Called by the node, in the middle of its work: it must not fail, and hardly take time."""
        passed = Passed(port, message, self._runtime.now())
        for feed in feeds:
            feed.see(passed)

    def _listen(self) -> None:
        """Be told of workers that a reload makes: what passes them first is seen, too."""
        before = self._before = self._runtime.on_worker

        def made(worker: Worker) -> None:
            if before is not None:
                before(worker)
            if worker.spec.address in self._feeds:
                self._look_at(worker)

        self._told = self._runtime.on_worker = made

    def _be_deaf(self) -> None:
        if self._told is not None and self._runtime.on_worker is self._told:
            self._runtime.on_worker = self._before
        self._told = None


def _hook(worker: Worker, see: See) -> Callable[[], None]:
    """Have ``see`` told of what passes; returns what ends it, and leaves the hooks of others as they are."""
    before = worker.tap

    def both(port: str, message: Message) -> None:
        see(port, message)
        if before is not None:
            before(port, message)

    told: See = see if before is None else both
    worker.tap = told
    end_in = _hook_in(worker, see) if not worker.node.ports else None

    def end() -> None:
        if worker.tap is told:
            worker.tap = before
        if end_in is not None:
            end_in()

    return end


def _hook_in(worker: Worker, see: See) -> Callable[[], None]:
    """The same for what a node begins with: its ``process`` is called by way of ours. A message that is tried again is
    seen again, and one that its queue drops is not seen, for so it is."""
    process = worker.process

    def begun(message: Message, ctx: NodeContext) -> object:
        see(IN, message)
        return process(message, ctx)

    worker.process = begun

    def end() -> None:
        if worker.process is begun:
            worker.process = process

    return end


# ---- what is shown of a message ---------------------------------------------------------------------------------


def shown(message: Message, mask: Mask) -> dict[str, JSON]:
    """A message without its secrets, its payload cut to ``MOST_BYTES`` of JSON."""
    payload, cut = _payload(message.payload, mask)
    return {
        "payload": payload,
        **({"cut": True} if cut else {}),
        "key": mask(message.key),
        "at": message.at // MS,
        "received_at": message.received_at // MS,
        "source": message.source,
        "origin": message.origin,
        "quality": message.quality,
        "lineage": mask(message.lineage()),
    }


def _payload(payload: JSON, mask: Mask) -> tuple[JSON, bool]:
    """As JSON; one that is cut, or is no JSON any more without its secrets, as a text."""
    raw = encode(payload)
    if len(raw) <= MOST_BYTES:
        text = raw.decode()
        masked = mask(text)
        if masked == text:
            return msgspec.Raw(raw), False
        try:
            return msgspec.json.decode(masked), False
        except msgspec.DecodeError:  # a number was the secret
            return masked, False
    masked = mask(raw[:LOOKED_AT].decode("utf-8", "ignore"))
    return masked.encode()[:MOST_BYTES].decode("utf-8", "ignore"), True
