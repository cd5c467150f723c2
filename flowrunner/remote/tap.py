"""``flowrunner tap NODE…``: the messages of nodes as they pass, as JSON lines or for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

from flowrunner.errors import UsageError, did_you_mean
from flowrunner.message import JSON
from flowrunner.remote.asking import Remote, live, nodes_of
from flowrunner.units import iso

MS = 1_000_000
DIM, BOLD, WARNING, USUAL = "\x1b[2m", "\x1b[1m", "\x1b[33m", "\x1b[0m"
Form = Literal["json", "pretty"]


async def tap(
    remote: Remote, names: Sequence[str], form: Form, *, count: int | None, rate: float | None, colours: bool
) -> int:
    """Print what passes until ``count`` messages did, or for ever; the exit code. UsageError for no such node."""
    try:
        addresses = chosen(names, await nodes_of(remote))
        _say(f"{', '.join(addresses)} at {remote.shown}; Ctrl-C ends")
        away: set[str] = set()
        async with aclosing(remote.watch(live(tap=addresses, rate=rate), _say)) as events:
            async for event in events:
                if event.name == "snapshot":
                    away = _away(addresses, event.data["names"], away)
                if event.name != "tap":
                    continue
                print(line(event.data) if form == "json" else pretty(event.data, colours=colours), flush=True)
                if count is not None:
                    count -= 1
                    if not count:
                        return 0
        return 0
    finally:
        await remote.close()


def chosen(names: Iterable[str], nodes: Mapping[str, JSON]) -> list[str]:
    """The addresses that names mean: ``flow/id``, or the id alone where only one flow has it. UsageError."""
    found: dict[str, None] = {}
    for name in names:
        if name in nodes:
            found[name] = None
            continue
        same = [address for address in nodes if address.partition("/")[2] == name]
        if len(same) > 1:
            raise UsageError(f"{len(same)} flows have a node {name!r}; name one of {', '.join(same)}")
        if not same:
            known = list(nodes) if "/" in name else [address.partition("/")[2] for address in nodes]
            hint = did_you_mean(name, known)
            flows = list(dict.fromkeys(address.partition("/")[0] for address in nodes))
            raise UsageError(
                f"no node {name[:130]!r} runs there"
                + (f", {hint}" if hint else f"; `flowrunner top` lists them ({', '.join(flows)})")
            )
        found[same[0]] = None
    return list(found)


def line(one: Mapping[str, Any]) -> str:
    """One message as one line of JSON, with times as texts."""
    message = dict(one["message"])
    for name in ("at", "received_at"):
        message[name] = iso(message[name] * MS)
    shown = json.dumps(dict(one) | {"at": iso(one["at"] * MS), "message": message}, ensure_ascii=False)
    return shown.encode("utf-8", "replace").decode() if shown.isprintable() else json.dumps(json.loads(shown))


def pretty(one: Mapping[str, Any], *, colours: bool) -> str:
    """One message for a person: when, where, what is known of it, and its payload."""
    message = one["message"]
    payload = message["payload"]
    text = f"{payload}… (cut)" if message.get("cut") else json.dumps(payload, ensure_ascii=False, indent=2)
    marks = [] if message["origin"] == "automatic" else [message["origin"]]
    marks += [] if message["quality"] == "good" else [message["quality"]]
    said = [f"{one['node']}  {one['port']}", *([f"key {message['key']}"] if message["key"] else []), *marks]
    left_out = f"  {one['dropped']} before it are not shown" if one["dropped"] else ""
    dim, bold, warning, usual = (DIM, BOLD, WARNING, USUAL) if colours else ("", "", "", "")
    head = f"{dim}{iso(one['at'] * MS)[11:23]}Z{usual}  {bold}{_plain('  '.join(said))}{usual}"
    top = f"{head}{warning}{left_out}{usual}"
    body = "\n".join(f"  {_plain(row)}" for row in text.split("\n"))
    return f"{top}\n{body}\n  {dim}{_plain(message['lineage'])}{usual}"


def _away(addresses: Iterable[str], names: Sequence[str], before: set[str]) -> set[str]:
    """Say who has gone and who is back since the last snapshot; who is away."""
    away = set(addresses) - set(names)
    for one in sorted(away - before):
        _say(f"{one} does not run any more; what it sends is shown when it is back")
    for one in sorted(before - away):
        _say(f"{one} runs again")
    return away


def _plain(text: str) -> str:
    """Nothing that moves a terminal's cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _say(text: str) -> None:
    print(f"flowrunner: {text}", file=sys.stderr, flush=True)
