"""What a person decides at a terminal: trading stops, it goes on, and what became of an order that nobody knows of."""

from __future__ import annotations

import contextlib
import getpass
import time
from pathlib import Path
from typing import Any

from flowrunner.errors import FlowrunnerError, StoreLocked, UsageError
from flowrunner.message import JSON
from flowrunner.orders import INTERRUPTED, STEPS, STOP_FILE, Book, Journal, Order, State, Switch, SwitchStuck, WrongStep
from flowrunner.store import FILE_NAME, Entry, FolderLock, Reader, writing
from flowrunner.store.audit import write_entry
from flowrunner.trading import no_order, printable

DECISIONS: tuple[State, ...] = ("accepted", "rejected", "filled", "unfilled")
"""What a person can say of an order."""
BY, REASON, EXCHANGE_ID = 100, 500, 200
"""Characters that are kept."""
_NO_FOLDER = "there is no folder {}; name the data folder of the engine with --data DIR (its log says where it is)"


def stop_trading(folders: list[Path], *, by: str | None, reason: str) -> None:
    """Stop trading in these data folders, whether an engine runs there or not. UsageError when one is not there: then
    nothing was done; FlowrunnerError when one could not be stopped: the others are."""
    _must_be_there(folders)
    stuck: list[str] = []
    for folder in folders:
        switch, file = Switch(folder), folder.resolve() / STOP_FILE
        before = switch.stopped
        try:
            stop = switch.stop(by=_name(by), reason=_clean(reason, REASON), now=time.time_ns())
        except SwitchStuck as error:  # "in this process" is an engine's word: this one ends now
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
            stuck.append(f"{file} cannot be made ({why})")
            continue
        again = " already" if before is not None else ""
        print(f"{printable(str(stop).replace('is stopped', f'is stopped{again}', 1))} ({file})")
    if stuck:
        raise FlowrunnerError(
            f"trading is NOT stopped: {'; '.join(stuck)}; stop the engine itself, or ask it by POST"
            " /api/v1/trading/stop; then mend that and stop again"
        )


def resume_trading(folder: Path, *, by: str | None, reason: str) -> None:
    """Let trading go on: first in the journal, where there is one, then by removing the file. StoreFailed and
    SwitchStuck when it stays stopped."""
    _must_be_there([folder])
    switch, file, journal = Switch(folder), folder.resolve() / STOP_FILE, folder / FILE_NAME
    mark, before, now = switch.mark(), switch.stopped, time.time_ns()
    if journal.is_file():
        with writing(journal) as sql:
            book = Book(sql)
            if before is not None:
                book.note_switch(before.since or now, before)  # where no engine has seen it
            book.resumed(now, _name(by), _clean(reason, REASON))
            detail: dict[str, JSON] = {"reason": _clean(reason, REASON)}
            entry = Entry(
                at=now, kind="trading", who=_name(by), origin="command line", text="let trading go on", detail=detail
            )
            write_entry(sql, entry)
    try:
        switch.resume(mark)
    except SwitchStuck:
        if journal.is_file():
            with writing(journal) as sql:
                Book(sql).note_switch(now, switch.stopped or before)
        raise
    if before is None:
        print(f"trading was not stopped; there was no {file}")
    else:
        print(f"trading goes on: {file} is removed; it said: {printable(str(before))}")


def resolve(
    folder: Path,
    name: str,
    state: State,
    *,
    by: str | None,
    reason: str,
    exchange_id: str = "",
    filled_mwh: float | None = None,
) -> Order:
    """A person's word on what became of an order, also while an engine runs. What may follow what is the journal's
    rule (``STEPS``): WrongStep where it may not. UsageError where there is no such order, or the word contradicts
    what the journal knows; StoreFailed where it cannot be written. Nothing was changed then."""
    if filled_mwh is not None and state != "filled":
        raise UsageError("--filled-mwh belongs to --as filled")
    file, who = folder / FILE_NAME, _name(by)
    given, exchange_id = _clean(reason, REASON), _clean(exchange_id, EXCHANGE_ID)
    detail: dict[str, JSON] = {"by": who, "reason": given} | ({"exchange_id": exchange_id} if exchange_id else {})
    changes: dict[str, Any] = {"reason": f"{who} decided{': ' if given else ''}{given}", "detail": detail}
    with contextlib.ExitStack() as until_kept, writing(file) as sql:
        book, journal = Book(sql), Journal(Reader(sql, file))
        order = book.find(name)
        if order is None:
            raise no_order(journal, name)
        now = max(time.time_ns(), order.updated_at)  # a simulated time may be ahead of ours
        if order.state == "sending":
            until_kept.callback(_no_engine(folder, name).release)
            order = book.advance(name, "unknown", now, reason=INTERRUPTED, see=False)
        if state not in STEPS[order.state]:
            raise WrongStep(_cannot(order, state))
        if exchange_id:
            if exchange_id in journal.exchange_ids(order):
                raise UsageError(f"another order of {order.market} has the exchange id {exchange_id!r} already")
            changes["exchange_id"] = exchange_id
        if state == "filled":
            changes |= _traded(order, filled_mwh)
        text = f"said that {name} is {state}" + (f": {given}" if given else "")
        entry = Entry(at=now, kind="order", who=who, origin="command line", flow=order.flow, text=text, detail=detail)
        write_entry(sql, entry)
        return book.advance(name, state, now, see=False, **changes)  # by our clock: a flow's may be simulated


def _traded(order: Order, filled: float | None) -> dict[str, Any]:
    """What changes when an order is filled, with ``filled`` MWh or all of it."""
    mwh = order.quantity_mwh if filled is None else filled
    if not (0 < mwh <= order.quantity_mwh and order.filled_mwh <= mwh):
        known = f"{order.filled_mwh:g} MWh are traded already, " if order.filled_mwh else ""
        raise UsageError(f"{mwh:g} MWh cannot be what was filled: {known}{order.quantity_mwh:g} MWh were ordered")
    price = order.average_price_eur_mwh if mwh == order.filled_mwh else None  # of the rest nobody has told one
    return {"filled_mwh": mwh, "open_mwh": 0.0, "average_price_eur_mwh": price}


def _cannot(order: Order, state: State) -> str:
    ways = [one for one in DECISIONS if one in STEPS[order.state]]
    what = f"it can become {' or '.join(ways)}" if ways else "that is final"
    if order.state == "intent":
        what = "it was not sent, and ends by itself when it may not be sent any more"
    return f"{order.id} is {order.state} and cannot become {state}: {what}"


def _no_engine(folder: Path, name: str) -> FolderLock:
    """While this is held nobody sends. WrongStep where an engine works on the folder."""
    try:
        return FolderLock.acquire(folder)
    except StoreLocked:
        raise WrongStep(
            f"{name} is being sent by the engine that works on {folder}; that ends by itself, look again then"
        ) from None
    except OSError as error:
        raise UsageError(_not_looked_into(folder, error)) from None


def _must_be_there(folders: list[Path]) -> None:
    """Nothing is made: a stop in a folder of nobody would stop nothing. And what this user cannot look at is not
    taken for a stop, as an engine takes it."""
    for folder in folders:
        try:
            if not folder.is_dir():
                raise UsageError(_NO_FOLDER.format(folder))
            with contextlib.suppress(FileNotFoundError):
                (folder / STOP_FILE).lstat()
        except OSError as error:
            raise UsageError(_not_looked_into(folder, error)) from None


def _not_looked_into(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be used: {error.strerror}; nothing was done. Do it as the user that the engine runs as"


def _name(by: str | None) -> str:
    """Who decides: as told, else the login name."""
    if by is None:
        try:
            by = getpass.getuser()
        except (OSError, KeyError, ImportError):  # a user of a container may have no name
            by = ""
    return _clean(by, BY) or "somebody at the command line"


def _clean(text: str, most: int) -> str:
    """One line that a file and a journal can hold: a stop must not fail because of its reason."""
    return " ".join(text.encode("utf-8", "replace").decode().split())[:most]
