"""What a person reads first when flows run: what runs, where, and what to try."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from flowrunner import __version__
from flowrunner.graph import Graph, GraphNode


def base_address(host: str, port: int) -> str:
    """An address that can be typed on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def welcome(graph: Graph, base: str, folder: Path, tips: Iterable[str] | None = None) -> Iterator[str]:
    """``tips``: what to try, in place of the first route's example."""
    for head in graph.flows.values():
        mine = [node for node in graph.nodes.values() if node.flow == head.name]
        yield f"flowrunner {__version__} runs {head.name} ({head.file}): {len(mine)} nodes"
        prefix = f"{head.name}/"
        off = {name.removeprefix(prefix): why for name, why in graph.disabled.items() if name.startswith(prefix)}
        if off:
            yield f"{head.name}: off: {', '.join(f'{name} ({why})' for name, why in off.items())}"
    yield f"data is kept in {_short(folder)}"
    for node in graph.nodes.values():
        if node.node.live:
            which = " the simulated exchange at" if node.node.simulated else ""
            yield f"{node.address}: LIVE: orders go to{which} {node.node.options.url}"
    routes = list(_routes(graph))
    for node, method, path in routes:
        yield f"{node.address}: {method} {base}{path}"
    for node, method, path in routes if tips is None else ():
        example = getattr(node.node, "sample_body", lambda: None)()
        if example is not None:
            yield f"try: {_curl(node, method, base + path, example)}"
            break
    yield from tips or ()
    yield f"ready on {base}; Ctrl-C stops"


def _routes(graph: Graph) -> Iterator[tuple[GraphNode, str, str]]:
    """Node, method and path."""
    for node in graph.nodes.values():
        for claim in node.node.claims():
            kind, _, what = claim.partition(":")
            method, _, path = what.partition(" ")
            if kind == "route":
                yield node, method, path


def _curl(node: GraphNode, method: str, url: str, body: object) -> str:
    verb = "" if method == "POST" else f"-X {method} "
    key = ""
    if getattr(node.node.options, "api_key", ""):
        variable = node.variables.get("api_key", "")
        key = f'-H "X-API-KEY: {"$" + variable if variable.isidentifier() else "…"}" '
    return f"curl {verb}{key}-H 'Content-Type: application/json' -d '{json.dumps(body)}' {url}"


def _short(folder: Path) -> str:
    here = os.path.relpath(folder)
    return str(folder) if here.startswith(os.pardir) else here
