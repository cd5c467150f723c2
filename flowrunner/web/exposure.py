"""What a server needs before other machines may reach it: users or keys, and keys that cannot be guessed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from flowrunner.errors import Problem, UsageError
from flowrunner.graph import Graph, GraphNode
from flowrunner.http import key_fault
from flowrunner.web.guard import API_KEY, HTTPS

SHORTEST_KEY = 16
"""Characters of a key beyond loopback: a shorter one can be tried out."""
GOOD_KEY = f"a key is a random text of at least {SHORTEST_KEY} characters, such as `openssl rand -hex 24` prints"


def is_loopback(address: str) -> bool:
    """Whether a server bound to ``address`` (numeric) can be reached from this machine only."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def check_exposure(
    graph: Graph, host: str, address: str, environment: Mapping[str, str], *, anybody: bool = False
) -> None:
    """UsageError names every key that is missing or weak where ``address`` (what ``host`` is) goes beyond loopback.
    ``anybody``: there is a user or a key, so that FLOWRUNNER_API_KEY may be missing."""
    key = environment.get(API_KEY, "")
    fault = key_fault(key)
    if fault:
        raise UsageError(f"{API_KEY} cannot be used: {fault}")
    if environment.get(HTTPS, "") not in ("", "0", "1"):
        raise UsageError(f"{HTTPS} is 1 where people reach this server by TLS only, else 0 or not set")
    if is_loopback(address):
        return
    faults = [
        *([] if anybody and not key else _weak(API_KEY, key)),
        *(f"{name} at {node.file}:{node.line} {fault}" for node, name, fault in _open(graph)),
    ]
    if faults:
        people = (
            ""
            if key or anybody
            else f"; in place of {API_KEY} there may be users: `flowrunner users add NAME --role …`"
        )
        raise UsageError(f"{host} can be reached from other machines, and {'; '.join(faults)}; {GOOD_KEY}{people}")


def exposed(graph: Graph, host: str, address: str) -> Iterator[Problem]:
    """The same for flows that are to run at a server that is there already: what is wrong with their routes' keys."""
    if is_loopback(address):
        return
    for node, name, fault in _open(graph):
        yield Problem(
            file=node.file, line=node.line, column=1, path=f"{node.id}.api_key", code="exposed",
            message=f"{host} can be reached from other machines, and {name} {fault}", hint=GOOD_KEY,
        )  # fmt: skip


def _open(graph: Graph) -> Iterator[tuple[GraphNode, str, str]]:
    """Nodes with a route and no good key: what the key is called, and what is wrong with it."""
    for node in graph.nodes.values():
        if any(claim.startswith("route:") for claim in node.node.claims()):
            variable = node.variables.get("api_key")
            name = f"{variable} (the api_key of {node.address})" if variable else f"the api_key of {node.address}"
            for fault in _faults(getattr(node.node.options, "api_key", "")):
                yield node, name, fault


def _weak(name: str, key: str) -> list[str]:
    return [f"{name} {fault}" for fault in _faults(key)]


def _faults(key: str) -> list[str]:
    if not key:
        return ["is not set"]
    return [f"has only {len(key)} characters"] if len(key) < SHORTEST_KEY else []
