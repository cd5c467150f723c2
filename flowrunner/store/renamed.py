"""Nodes that go on under another name: what they kept goes with them, so that no latch is lost by renaming."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable

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


Fits = Callable[[Known, Known], bool]
"""Whether a node of before (first) may be one of now."""


def take_over(
    sql: sqlite3.Connection, running: Iterable[Known], is_there: Callable[[str], bool] = os.path.exists
) -> list[tuple[Known, Known]]:
    """Before a run: give new nodes what nodes of an earlier run kept that are gone, where it is certain that they are
    the same; who they were and who they are.

    Certain is: in the same file, or from one that is not there any more (``is_there``), of the same type, and either
    the flow has another name and the node has not, or all of its options are the same; and no other fits. Who is in
    the same file comes first.
    """
    now = {one.address: one for one in running}
    before = [Known(*row) for row in sql.execute("SELECT flow, node, file, type, digest FROM known_nodes")]
    with_state = {f"{flow}/{node}" for flow, node in sql.execute("SELECT flow, node FROM node_version")}
    gone = [one for one in before if one.address not in now]
    new = [one for one in now.values() if one.address not in with_state]
    pairs: list[tuple[Known, Known]] = []
    lost = {file for file in {one.file for one in gone} if not is_there(file)}
    of_who = (_of_a_renamed_flow(now.values()), _of_the_same_options)
    for whence, who in itertools.product((_of_the_same_file, _of_a_renamed_file(lost)), of_who):
        for one in list(new):
            old = [other for other in gone if whence(other, one) and who(other, one)]
            if len(old) == 1 and sum(whence(old[0], other) and who(old[0], other) for other in new) == 1:
                pairs.append((old[0], one))
                gone.remove(old[0])
                new.remove(one)
    for old_one, one in pairs:
        sql.execute("DELETE FROM known_nodes WHERE flow = ? AND node = ?", (old_one.flow, old_one.node))
        for table in ("node_version", "node_state"):
            sql.execute(
                f"UPDATE {table} SET flow = ?, node = ? WHERE flow = ? AND node = ?",  # noqa: S608  (names of ours)
                (one.flow, one.node, old_one.flow, old_one.node),
            )
    sql.executemany(
        "INSERT INTO known_nodes (flow, node, file, type, digest) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET file = excluded.file, type = excluded.type, digest = excluded.digest",
        [(one.flow, one.node, one.file, one.type, one.digest) for one in now.values()],
    )
    return [pair for pair in pairs if pair[0].address in with_state]


def _of_the_same_file(old: Known, new: Known) -> bool:
    return old.file == new.file


def _of_a_renamed_file(lost: set[str]) -> Fits:
    def fits(old: Known, new: Known) -> bool:
        return old.file == new.file or old.file in lost

    return fits


def _of_a_renamed_flow(running: Iterable[Known]) -> Fits:
    flows = {one.flow for one in running}

    def fits(old: Known, new: Known) -> bool:
        return old.flow not in flows and (old.type, old.node) == (new.type, new.node)

    return fits


def _of_the_same_options(old: Known, new: Known) -> bool:
    return (old.type, old.digest) == (new.type, new.digest)
