"""What a server needs before other machines may reach it: keys, and keys that cannot be guessed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from flowrunner.errors import UsageError
from flowrunner.graph import Graph
from flowrunner.http import key_fault
from flowrunner.web.guard import API_KEY

SHORTEST_KEY = 16
"""Characters of a key beyond loopback: a shorter one can be tried out."""


def is_loopback(address: str) -> bool:
    """Whether a server bound to ``address`` (numeric) can be reached from this machine only."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def check_exposure(graph: Graph, host: str, address: str, environment: Mapping[str, str]) -> None:
    """UsageError names every key that is missing or weak where ``address`` (what ``host`` is) goes beyond loopback."""
    key = environment.get(API_KEY, "")
    fault = key_fault(key)
    if fault:
        raise UsageError(f"{API_KEY} cannot be used: {fault}")
    if is_loopback(address):
        return
    faults = [*_weak(API_KEY, key), *_route_faults(graph)]
    if faults:
        raise UsageError(
            f"{host} can be reached from other machines, and {'; '.join(faults)}; a key is a random text of at least"
            f" {SHORTEST_KEY} characters, such as `openssl rand -hex 24` prints"
        )


def _route_faults(graph: Graph) -> Iterator[str]:
    for node in graph.nodes.values():
        if any(claim.startswith("route:") for claim in node.node.claims()):
            variable = node.variables.get("api_key")
            name = f"{variable} (the api_key of {node.address})" if variable else f"the api_key of {node.address}"
            yield from _weak(f"{name} at {node.file}:{node.line}", getattr(node.node.options, "api_key", ""))


def _weak(name: str, key: str) -> list[str]:
    if not key:
        return [f"{name} is not set"]
    return [f"{name} has only {len(key)} characters"] if len(key) < SHORTEST_KEY else []
