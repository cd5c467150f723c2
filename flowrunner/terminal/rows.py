"""What the table says of each node, and which nodes have a row when there is no room for all. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowrunner.message import Instant
from flowrunner.terminal.glance import Glance
from flowrunner.terminal.rate import rate_text
from flowrunner.terminal.values import Mask, Piece, Tone, age_text, message_pieces, plain

TONES: dict[str, Tone] = {
    "running": "good", "waiting": "quiet", "starting": "quiet", "finished": "quiet", "stopped": "quiet",
    "disconnected": "bad", "restarting": "bad",
}  # fmt: skip


class Row(msgspec.Struct, frozen=True):
    """One node."""

    flow: str
    id: str
    type: str
    state: Piece
    rate: str
    age: str
    value: list[Piece]
    errors: str
    dropped: str
    rank: int
    """The smaller, the sooner it must be seen."""
    inbox: str = ""
    """How many messages wait, where that is shown."""


def row(one: Glance, rate: float | None, now: Instant, recent: int, mask: Mask) -> Row:
    """A node as a person reads it. One that has seen no message yet is ``waiting``; of one that is not ready its
    error is told, as far as there is one. ``recent``: nanoseconds of flow time that count as just now."""
    state = "waiting" if one.state == "running" and one.last_at is None else one.state
    value: list[Piece] = [("–", "quiet")]
    if not one.ready and one.last_error:
        code, _, reason = one.last_error.partition(": ")
        value = [(plain(reason if code == "not-connected" and reason else one.last_error, mask, 200), "bad")]
    elif one.last is not None:
        value = message_pieces(one.last, one.adds, now, mask)
    since = one.last_at if one.last is None else min(one.last.at, one.last.received_at)
    return Row(
        flow=one.flow,
        id=one.id,
        type=one.type,
        state=(state, TONES.get(state, "")),
        rate=rate_text(rate),
        age="–" if since is None else age_text(now - since),
        value=value,
        errors=count_text(one.errors),
        dropped=count_text(one.dropped),
        rank=_rank(one, now, recent),
    )


def _rank(one: Glance, now: Instant, recent: int) -> int:
    """Coarse, so that rows do not change places all the time."""
    if not one.ready and one.state not in ("starting", "stopped"):
        return 0
    if one.errors or one.dropped:
        return 1
    if one.last_at is None:
        return 4
    return 2 if now - one.last_at < recent else 3


def count_text(number: int) -> str:
    """Nothing for none, thousands from ten thousand on."""
    return "" if not number else str(number) if number < 10_000 else f"{number // 1000}k"


def chosen(rows: Sequence[Row], room: int) -> list[Row]:
    """At most ``room`` rows: those that matter most, in their usual order."""
    if len(rows) <= room:
        return list(rows)
    best = sorted(range(len(rows)), key=lambda place: (rows[place].rank, place))[: max(room, 0)]
    return [rows[place] for place in sorted(best)]
