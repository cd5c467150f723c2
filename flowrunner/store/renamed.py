"""Nodes that go on under another name: what they kept goes with them, so that no latch is lost by renaming."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Container, Iterable, Mapping

import msgspec


class Known(msgspec.Struct, frozen=True):
    """A node as a run had it. ``digest``: equal ones mean that nothing but names has changed."""

    flow: str
    node: str
    file: str
    type: str
    digest: str

    @property
    def address(self) -> str:
        return f"{self.flow}/{self.node}"


Pair = tuple[Known, Known]
"""Who it was, who it is."""
Fits = Callable[[Known, Known], bool]
"""Whether a node of before (first) may be one of now."""
Kept = ("node_version", "node_state", "inbox", "dead_letters")
"""Tables with what is kept of a node, by ``flow`` and ``node``."""


def fitting(gone: Iterable[Known], new: Iterable[Known], flows: Container[str], lost: Container[str]) -> list[Pair]:
    """Who of the nodes that are gone is who of the new ones, where it is certain. Pure.

    Certain is: in the same file, or from one that is ``lost``, of the same type, and either the flow has another name
    (``flows`` are those of now) and the node has not, or all of its options are the same; and no other fits. Who is in
    the same file comes first.
    """
    left, coming = list(gone), list(new)
    pairs: list[Pair] = []
    for whence in (_of_the_same_file, _of_a_renamed_file(lost)):
        for key, counts in ((_by_name, lambda old: old.flow not in flows), (_by_options, lambda old: True)):
            was, now = _grouped(filter(counts, left), key), _grouped(coming, key)
            for what, ones in now.items():
                for one in ones:
                    old = [other for other in was.get(what, ()) if whence(other, one)]
                    if len(old) == 1 and sum(whence(old[0], other) for other in ones) == 1:
                        pairs.append((old[0], one))
                        left.remove(old[0])
                        coming.remove(one)
                        was[what].remove(old[0])
    return pairs


def take_over(
    sql: sqlite3.Connection,
    running: Iterable[Known],
    is_there: Callable[[str], bool] = os.path.exists,
    *,
    going: Container[str] = (),
    certain: Mapping[str, str] | None = None,
) -> list[Pair]:
    """Before a run: give new nodes what nodes of an earlier run kept that are gone, where it is `fitting`; who they
    were and who they are, of those that had state.

    In the middle of a run: ``going`` are the addresses that are there already or still, and ``certain`` who goes on
    under another name (new address → old one); what waits in the inboxes of these is their own matter.
    """
    certain = certain or {}
    now = {one.address: one for one in running}
    before = {one.address: one for one in (Known(*row) for row in sql.execute(_KNOWN))}
    kept = {table: {f"{flow}/{node}" for flow, node in sql.execute(_OF_WHOM[table])} for table in Kept}
    with_state = kept["node_version"]
    pairs = [(before[old], now[new]) for new, old in certain.items() if old in before]
    settled = {one for addresses in kept.values() for one in addresses} | before.keys() | certain.keys()
    gone = [one for name, one in before.items() if name not in now and name not in going]
    new = [one for name, one in now.items() if name not in settled]
    lost = {file for file in {one.file for one in gone} if not is_there(file)}
    found = fitting(gone, new, {one.flow for one in now.values()}, lost)
    for old_one, one in [*pairs, *found]:
        sql.execute("DELETE FROM known_nodes WHERE flow = ? AND node = ?", (old_one.flow, old_one.node))
        for table in Kept:
            if table != "inbox" or one.address not in certain:
                sql.execute(
                    f"UPDATE {table} SET flow = ?, node = ? WHERE flow = ? AND node = ?",  # noqa: S608  (names of ours)
                    (one.flow, one.node, old_one.flow, old_one.node),
                )
    nobody = [one for one in gone if not any(one.address in addresses for addresses in kept.values())]
    sql.executemany(  # who is gone and has left nothing
        "DELETE FROM known_nodes WHERE flow = ? AND node = ?", [(one.flow, one.node) for one in nobody]
    )
    note(sql, [one for one in now.values() if before.get(one.address) != one])
    return [pair for pair in [*pairs, *found] if pair[0].address in with_state]


def note(sql: sqlite3.Connection, news: Iterable[Known]) -> None:
    """Who nodes are that run already, where nothing but their options has changed, or that are new."""
    sql.executemany(
        "INSERT INTO known_nodes (flow, node, file, type, digest) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET file = excluded.file, type = excluded.type, digest = excluded.digest",
        [(one.flow, one.node, one.file, one.type, one.digest) for one in news],
    )


_KNOWN = "SELECT flow, node, file, type, digest FROM known_nodes"
_OF_WHOM = {table: f"SELECT DISTINCT flow, node FROM {table}" for table in Kept}  # noqa: S608  (names of ours)


def _by_name(one: Known) -> tuple[str, str]:
    return one.type, one.node


def _by_options(one: Known) -> tuple[str, str]:
    return one.type, one.digest


def _grouped(ones: Iterable[Known], key: Callable[[Known], tuple[str, str]]) -> dict[tuple[str, str], list[Known]]:
    groups: dict[tuple[str, str], list[Known]] = {}
    for one in ones:
        groups.setdefault(key(one), []).append(one)
    return groups


def _of_the_same_file(old: Known, new: Known) -> bool:
    return old.file == new.file


def _of_a_renamed_file(lost: Container[str]) -> Fits:
    def fits(old: Known, new: Known) -> bool:
        return old.file == new.file or old.file in lost

    return fits
