"""``/health`` and ``/metrics``: what an orchestrator and a scraper ask."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.engine import Engine
from flowrunner.web.answer import ok
from flowrunner.web.endpoint import Endpoint


class Live(TypedDict):
    status: Literal["live"]


class Ready(TypedDict):
    status: Literal["ready"]


class Waiting(TypedDict):
    node: Annotated[str, Meta(description="The node as flow/id; store: the file of all that is kept.")]
    state: Annotated[str, Meta(description="Why it is not ready.")]


class NotReady(TypedDict):
    status: Literal["not ready"]
    nodes: list[Waiting]


def endpoints(engine: Engine) -> list[Endpoint]:
    """Health is open to all, so that a probe needs no secret; the metrics are not."""

    async def live(request: Request) -> Bytes:
        """The process answers. It says nothing of the flows."""
        return ok({"status": "live"})

    async def ready(request: Request) -> Bytes:
        """Whether every node runs and has its peer; those that wait are named."""
        waiting = engine.not_ready()
        if not waiting:
            return ok({"status": "ready"})
        nodes = [{"node": address, "state": state} for address, state in waiting.items()]
        return ok({"status": "not ready", "nodes": nodes}, status=503)

    async def metrics(request: Request) -> Bytes:
        """The counters of every node, and whether orders may be made, in Prometheus' text format."""
        from flowrunner.web import metrics as page  # late: nobody else needs it, and start-up is dear

        text, media = await page.text(engine)
        return Bytes(text, media_type=media)

    return [
        Endpoint("GET", "/health/live", live, "Is the process alive?", gives=Live, tag="operation", key=False),
        Endpoint(
            "GET", "/health/ready", ready, "Do all nodes work?",
            gives=Ready, also={503: ("A node is not ready.", NotReady)}, tag="operation", key=False,
        ),
        Endpoint("GET", "/metrics", metrics, "Counters for Prometheus", gives=str, media="text/plain", tag="operation"),
    ]  # fmt: skip
