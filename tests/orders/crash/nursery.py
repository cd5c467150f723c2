"""The test's side of its victims: it brings them up, talks to them, kills them, and hears how they ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from tests.orders.crash.told import Ask, Plan, Said
from tests.peers.program import ROOT, environment

PATIENCE_S = 30.0


class Gone(Exception):
    """The victim is dead; the text says what it said last."""


class Victim:
    """One engine in a process of its own. ``said`` is what it said so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.said: list[Said] = []
        self._gone = asyncio.Event()

    @property
    def pid(self) -> int:
        return self.said[0].pid

    @property
    def died_at(self) -> str:
        """The point or line where it died by its own hand, or ""."""
        return next((one.at for one in self.said if one.does == "died-at"), "")

    @property
    def full_at(self) -> str:
        """The point where its disk was full, or ""."""
        return next((one.at for one in self.said if one.does == "full-at"), "")

    async def hear(self, does: str) -> Said:
        """The next thing that it says, which must be ``does``. Gone when it will not come."""
        async with asyncio.timeout(PATIENCE_S):
            while line := await self._reader.readline():
                said = msgspec.json.decode(line, type=Said)
                self.said.append(said)
                if said.does == "end":
                    self._writer.close()
                    self._gone.set()
                if said.does == does:
                    return said
                if said.does == "trouble":
                    raise AssertionError(said.text)
        raise Gone(f"it never said {does!r}, but {self.said[-1] if self.said else 'nothing'}")

    async def ask(self, does: str, **more: object) -> Said:
        """Ask and wait for the answer. Gone where it dies over it."""
        try:
            self._writer.write(msgspec.json.encode(Ask(does=does, **more)) + b"\n")  # type: ignore[arg-type]  # checked by who hears it
            await self._writer.drain()
        except ConnectionError:
            pass  # it is dead, which its last words say
        return await self.hear(does)

    @property
    def killed_by(self) -> int:
        """The signal that ended it; 0 where none did, or where it lives."""
        status = next((one.status for one in self.said if one.does == "end"), 0)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def kill(self) -> None:
        """At once, if it still lives."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def until_gone(self) -> None:
        """Wait for its end, of which another one hears."""
        async with asyncio.timeout(PATIENCE_S):
            await self._gone.wait()

    async def close(self) -> None:
        """Whatever has become of it: it is gone afterwards."""
        if not any(one.does == "end" for one in self.said):
            self.kill()
            await self.hear("end")
        self._writer.close()

    async def end(self) -> int:
        """Wait for its end: the signal that killed it, or 0."""
        if not any(one.does == "end" for one in self.said):
            await self.hear("end")
        return self.killed_by


class Nursery:
    """``bring_up`` makes a victim within a few milliseconds: all that it needs is loaded already."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    async def bring_up(self, plan: Plan) -> Victim:
        """Returns when it has begun, before it has a store."""
        ours, its = socket.socketpair()
        with its:
            socket.send_fds(self._control, [b"1"], [its.fileno()])
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(msgspec.json.encode(plan) + b"\n")
        victim = Victim(reader, writer)
        await victim.hear("begins")
        return victim


@contextmanager
def nursery() -> Iterator[Nursery]:
    """One for many tests; all its victims are gone when it ends."""
    ours, its = socket.socketpair()
    with its:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.orders.crash.victim", str(its.fileno())],
            cwd=ROOT, env=environment(), pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        with ours:
            yield Nursery(ours)
    finally:
        assert process.wait(PATIENCE_S) == 0
