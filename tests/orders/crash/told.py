"""What the test and a victim say to each other: one JSON object a line, over a socket of their own."""

from __future__ import annotations

import msgspec

from flowrunner.message import JSON


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: which engine the victim is, and what happens to it."""

    folder: str
    """The data folder."""
    url: str
    """Of the exchange."""
    text: str
    """The flow file."""
    now: int
    """Flow time (ns UTC) at ``monotonic``, the machine's monotonic clock (ns): all processes share it."""
    monotonic: int
    speed: int = 1
    """Of flow time."""
    patience: str = "5s"
    """How long an answer of the exchange may take."""
    at: str = ""
    """Name of a point (tests/orders/crash/points.py); "": none."""
    line: int = 0
    """Number of a line of the product's code, counted from the first wish on; 0: none."""
    then: str = "die"
    """What happens there: ``die``, or ``full`` (from then on no file may be written; without a point: before the engine
    starts)."""
    uvloop: bool = False
    nodes: str = ""
    """A folder of node files that take the place of ours; "": none."""
    wait_for_folder: bool = False
    """Whether a folder that somebody else has is asked for again and again."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What the test asks for; answered by a ``Said`` with the same ``does``."""

    does: str
    """``wish``; ``until``, ``left``, ``searched`` and ``rest`` wait for something; ``room`` on the disk; ``stop``."""
    times: int = 1
    """How many wishes, or how many messages that have left."""
    soc: float = 20.0
    states: tuple[str, ...] = ()
    """Until every order is in one of these, and there is one."""
    port: str = ""
    """A ``node.port`` by which they have left."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a victim says; ``end`` comes from who started it, when it is gone."""

    does: str
    """``begins``, ``refused`` (the folder), ``started``, ``died-at``, ``full-at``, ``trouble``, ``end``, or what was
    asked for."""
    pid: int = 0
    at: str = ""
    """The point or the line of code."""
    lines: int = 0
    """Lines of the product's code that ran since the first wish."""
    text: str = ""
    left: dict[str, list[JSON]] = {}
    """What has left each ``node.port``."""
    log: list[str] = []
    refused: int = 0
    """How often the folder was somebody else's."""
    status: int = 0
    """As `os.waitpid` gives it."""
