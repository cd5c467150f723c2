"""What the parts of a running node need of the runtime around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from flowrunner.message import Instant, Message

if TYPE_CHECKING:
    from flowrunner.runtime.commits import Commits
    from flowrunner.runtime.worker import Worker


class Host(Protocol):
    now: Callable[[], Instant]
    """Flow time."""
    sliced: bool
    """Whether real time cuts work into slices. Not in virtual time, where runs must not depend on the machine."""

    wiring: int
    """Grows with every change of wires."""

    commits: Commits
    """Where what nodes and inboxes keep is handed to the store."""

    def rejected(self, worker: Worker, code: str, reason: str, message: Message | None) -> None:
        """A message could not be processed: by the error port, or into the dead letters."""

    def fatal(self, worker: Worker, error: BaseException) -> None:
        """The whole flow must stop."""

    def defect(self, worker: Worker, error: BaseException) -> None:
        """The runtime itself failed while it worked for this node: said loudly, and the others go on."""

    def rested(self) -> None:
        """A worker has come to the end of a round, or waits for something: whoever waits may look again."""

    async def next_rest(self) -> None:
        """Wait until some worker has come to the end of a round."""

    async def release(self, worker: Worker) -> None:
        """The node uses none of its shared connections any more."""
