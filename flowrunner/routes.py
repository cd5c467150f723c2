"""The routes that flows claim, and what becomes of a request whose node fails."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeAlias

import msgspec

from flowrunner.errors import Reject, described
from flowrunner.graph import Graph
from flowrunner.http import Response, refusal
from flowrunner.runtime import Worker
from flowrunner.runtime.supervision import NODE_FAULTS


class Route(msgspec.Struct, frozen=True):
    """One route of the running flows."""

    method: str
    path: str
    address: str
    max_body: int
    """Bytes; the web reads no more."""


Routes: TypeAlias = dict[tuple[str, str], Route]
"""By method and path."""


def routes_of(graph: Graph) -> Routes:
    """Those that its nodes claim."""
    found: Routes = {}
    for address, spec in graph.nodes.items():
        for claim in spec.node.claims():
            kind, _, what = claim.partition(":")
            if kind == "route":
                method, _, path = what.partition(" ")
                cap = int(getattr(spec.node.options, "max_body", 1 << 20))
                found[method, path] = Route(method, path, address, cap)
    return found


async def answered(worker: Worker, answer: Awaitable[Response]) -> Response:
    """The answer that a node is at work on."""
    try:
        return await answer
    except NODE_FAULTS as error:
        return node_failed(worker, error)


def node_failed(worker: Worker, error: BaseException) -> Response:
    """What a node's fault is to who asked; it is counted and logged as the node's."""
    if isinstance(error, Reject):  # like a body without the field that the node's key is made of
        worker.ctx.error(error.code, error.reason)
        return refusal(422, error.code, error.reason)
    worker.ctx.log.error("a request failed: %r", error, exc_info=error)
    worker.ctx.error("exception", described(error))
    return refusal(500, "internal", f"{worker.spec.id} could not handle this request; its log says why")
