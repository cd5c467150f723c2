"""What a dashboard reads of a running engine: the newest values as the live stream has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from flowrunner.engine import Engine
from flowrunner.message import Instant
from flowrunner.web.dashboard.tiles import Tile, watched
from flowrunner.web.live import Watch
from flowrunner.web.live.frame import VALUES, Board
from flowrunner.web.pages.tile_values import Known


def values(engine: Engine, tiles: Sequence[Tile], now: Instant) -> dict[Watch, list[Known]]:
    """The newest of all that the tiles show, of each key: the very rows of the stream, and from when each counts. The
    newest of all is the last one; there is at least one."""
    watches = watched(tiles)
    workers = {one.address: engine.runtime.workers.get(one.address) for one in watches}
    board = Board(
        {address: worker for address, worker in workers.items() if worker is not None}, watches,
        engine.runtime.mask,
    )  # fmt: skip
    board.look(now, judge=True)
    found: dict[Watch, list[Known]] = {}
    for watch, rows in zip(watches, board.sites(), strict=True):
        for row in rows:
            known: dict[str, Any] = dict(zip(VALUES, row, strict=True))
            known["since"] = _since(engine, watch)
            found.setdefault(watch, []).append(cast(Known, known))
    return found


def _since(engine: Engine, watch: Watch) -> int | None:
    """Of a value with an interval: its begin, in milliseconds."""
    worker = engine.runtime.workers.get(watch.address)
    message = None if worker is None else worker.counters.last.get(watch.port)
    begin = None if message is None else message.info(watch.field).valid_from
    return None if begin is None else begin // 1_000_000
