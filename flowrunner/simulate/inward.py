"""No way out: every peer of a flow is the simulated world, whatever its file says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from flowrunner.graph import Graph, GraphNode
from flowrunner.httpclient import is_loopback
from flowrunner.logs import MASK
from flowrunner.simulate.world import Places

NOWHERE = "127.255.255.254"
"""Loopback, and nobody listens there."""
NOWHERE_PORT = 9
PEER = re.compile(r"(.*_)?(address|broker|endpoint|host|hostname|server|servers|uri|url|urls)", re.ASCII)
"""Names of options that say where a peer is, also in types that are not ours."""
PLACE = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?:[^/@\s]*@)?(?P<place>[^/?#@\s]+)[^\s]*", re.ASCII)
LOGIN = ("username", "password", "ca_file", "cert_file", "key_file")


def turn_inward(graph: Graph, places: Places) -> list[str]:
    """Change the options of the graph's nodes; a sentence for each change. Before anything runs.

    Devices, brokers and exchanges become the simulated ones, also those on loopback: there may be a tunnel behind.
    Of all else what would leave the machine is turned to an address where nobody listens; so is a POST to loopback.
    """
    said = []
    for spec in graph.nodes.values():
        changes = {name: new for name, new in _wanted(spec, places) if getattr(spec.node.options, name) != new}
        if changes:
            told = [name for name in changes if name not in LOGIN and _is_peer(name)]
            was = ", ".join(f"{name} {_shown(spec.shown.get(name))}" for name in told)
            where = "nothing is" if _leads_nowhere(changes) else "the simulated one is"
            spec.node.options = msgspec.structs.replace(spec.node.options, **changes)
            spec.shown = {**spec.shown, **_to_show(changes, spec.shown)}
            said.append(
                f"{spec.address}: {was or spec.kind.name} may lead to the real world; it goes where {where} instead"
            )
    return said


def _wanted(spec: GraphNode, places: Places) -> Iterator[tuple[str, Any]]:
    """Option and value, as the simulated world wants it."""
    options, kind = spec.node.options, spec.kind.name
    known: Mapping[str, Any] = msgspec.structs.asdict(options)
    if kind == "price-in":
        if options.source != "csv":
            yield from {"source": "exchange", "url": places.exchange, "zone": "", "token": ""}.items()
    elif kind == "exchange-out":
        yield from {"url": places.exchange, "api_key": places.api_key}.items()
    elif kind == "modbus-in":
        yield from {"host": places.modbus_host, "port": places.modbus_port}.items()
    elif kind in ("mqtt-in", "mqtt-out"):
        yield from {"broker": places.broker, **dict.fromkeys(LOGIN, "")}.items()
        if places.mqtt_protocol == "3.1.1":
            yield from {"protocol": "3.1.1", **{name: None for name in ("expiry",) if name in known}}.items()
    elif kind in ("http-out", "http-poll"):
        if known["method"] != "GET" or not is_loopback(urlsplit(known["url"]).hostname or ""):
            yield from {"url": f"http://{NOWHERE}:{NOWHERE_PORT}", "ca_file": ""}.items()
    else:
        yield from ((name, _turned(name, value)) for name, value in known.items())


def _turned(name: str, value: Any) -> Any:
    """The value of an option with every place beyond this machine in it turned, however deep it lies."""
    if isinstance(value, str):
        return _turned_place(value) if _is_peer(name) else value
    if isinstance(value, list | tuple):
        return type(value)(_turned(name, one) for one in value)
    if isinstance(value, dict):
        return {key: _turned(key if isinstance(key, str) else name, one) for key, one in value.items()}
    if isinstance(value, msgspec.Struct):
        below = {field: getattr(value, field) for field in value.__struct_fields__}
        changes = {field: new for field, one in below.items() if (new := _turned(field, one)) != one}
        return msgspec.structs.replace(value, **changes) if changes else value
    return value


def _turned_place(text: str) -> str:
    found = PLACE.fullmatch(text.strip())
    if found is None:
        return text
    host, port = _split(found["place"])
    if is_loopback(host) or (found["scheme"] or "").lower() in ("file", "unix"):
        return text
    if found["scheme"]:
        return f"{found['scheme']}://{NOWHERE}:{NOWHERE_PORT}"
    return f"{NOWHERE}:{NOWHERE_PORT}" if port else NOWHERE


def _split(place: str) -> tuple[str, str]:
    """Host and port of ``host``, ``host:port``, ``[::1]:port`` or a bare IPv6 address."""
    if place.startswith("[") or place.count(":") == 1:
        host, _, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
        return host, port
    return place, ""


def _is_peer(name: str) -> bool:
    return PEER.fullmatch(name) is not None


def _leads_nowhere(changes: Mapping[str, Any]) -> bool:
    return NOWHERE in repr(list(changes.values()))


def _to_show(changes: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """What was masked stays so."""
    return {
        name: MASK if shown.get(name) == MASK or name in ("api_key", "token", "password") else msgspec.to_builtins(new)
        for name, new in changes.items()
    }


def _shown(value: object) -> str:
    """A place without a login in it, and without what follows it."""
    if not isinstance(value, str):
        return repr(value)
    found = PLACE.fullmatch(value.strip())
    if found is None:
        return "***"
    return f"{found['scheme']}://{found['place']}" if found["scheme"] else found["place"]
