"""The disk's side of an inbox: what it takes is kept there until everything that came of it is done with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from flowrunner.errors import described
from flowrunner.message import Instant, Message
from flowrunner.runtime.inbox import Entry
from flowrunner.runtime.receipt import Receipt
from flowrunner.store import QueueChanges, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowrunner.runtime.commits import Commits


class Row(Receipt):
    """The receipt of an entry that is on the disk, or on its way there: at its end the row goes."""

    __slots__ = ("at", "disk", "seq")

    def __init__(self, disk: DiskQueue, seq: int, at: Instant) -> None:
        super().__init__(self._gone, disk.commits)
        self.disk, self.seq, self.at = disk, seq, at

    def keep(self) -> None:
        """Nothing to wait for: the row goes in the same transaction in which what was kept comes."""

    def _gone(self) -> None:
        self.disk.remove(self.seq)


class DiskQueue:
    """The rows of one inbox. All that happened since the last commit is handed to the next, in one transaction with
    the state that changed meanwhile: an entry goes from the disk together with what it has brought about.
    """

    def __init__(
        self,
        commits: Commits,
        flow: str,
        node: str,
        now: Callable[[], Instant],
        trouble: Callable[[str], None],
    ) -> None:
        self.commits = commits
        self.flow, self.node = flow, node
        self.max_age_ns: int | None = None
        self._now = now
        self._trouble = trouble
        self._next = 1
        self._added: dict[int, tuple[Instant, str, Message]] = {}
        self._removed: list[int] = []

    def keep(self, entry: Entry) -> Entry:
        """``entry`` with a row of its own. Its source need not wait for its end any more, only for the next commit."""
        wire, message, upstream = entry
        if upstream is not None and (upstream.stored or (isinstance(upstream, Row) and upstream.disk is self)):
            return entry
        row = Row(self, self._next, self._now())
        self._next += 1
        self._added[row.seq] = (row.at, wire, message)
        self.commits.queue_changed(self)
        if upstream is not None:
            upstream.keep()
            upstream.done()
        return (wire, message, row)

    def too_old(self, entry: Entry) -> bool:
        row = entry[2]
        return self.max_age_ns is not None and isinstance(row, Row) and self._now() - row.at > self.max_age_ns

    def remove(self, seq: int) -> None:
        if self._added.pop(seq, None) is None:  # else it never came to the disk
            self._removed.append(seq)
        self.commits.queue_changed(self)

    def restored(self, rows: Iterable[Waiting]) -> list[Entry]:
        """What waited when the last run ended, in order. A row that cannot be read stays on the disk, and is told."""
        entries: list[Entry] = []
        for one in rows:
            self._next = max(self._next, one.seq + 1)
            try:
                message = msgspec.json.decode(one.message, type=Message)
            except msgspec.MsgspecError as error:
                self._trouble(f"row {one.seq} of its inbox cannot be read, and stays where it is: {error}")
            else:
                entries.append((one.wire, message, Row(self, one.seq, one.at)))
        return entries

    def rename(self, flow: str, node: str) -> None:
        """It is the inbox of a node of another name from now on."""
        self.commits.queue_moved((self.flow, self.node), (flow, node))
        self.flow, self.node = flow, node

    # ---- for the commit -----------------------------------------------------------------------------------

    def changes(self) -> QueueChanges:
        """Since the last commit."""
        added: list[Waiting] = []
        for seq, (at, wire, message) in self._added.items():
            try:
                added.append(Waiting(seq, at, wire, msgspec.json.encode(message)))
            except Exception as error:  # whatever a node put into it: the others are kept all the same
                self._trouble(f"a message is no JSON and waits in memory only: {described(error)}")
        return QueueChanges(self.flow, self.node, added, list(self._removed))

    def committed(self) -> None:
        """The changes are the store's."""
        self._added.clear()
        self._removed.clear()
