"""An MQTT broker for the simulated world: mosquitto where it is at hand, else one inside this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Protocol

from flowrunner.errors import UsageError
from flowrunner.mqtt.address import Address
from flowrunner.mqtt.settings import Settings
from flowrunner.simulate.embedded import Embedded

SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where systems put servers that are not on everybody's PATH."""
START_S, STOP_S = 10.0, 3.0
"""Seconds that the program gets to start, and to end."""
LOOK_S = 0.02
"""Between two looks whether it accepts connections."""
AGAIN_S = 0.5
"""Before a broker that ended is started again."""
log = logging.getLogger("flowrunner.simulate")


class Broker(Protocol):
    """What the world needs of a broker."""

    name: str
    host: str
    port: int

    def settings(self) -> Settings:
        """What a client needs to connect."""

    async def start(self) -> None:
        """Returns when it accepts connections. UsageError when it does not."""

    async def stop(self) -> None:
        """Safe to repeat, and before ``start``."""


def make_broker(folder: Path, host: str, port: int, path: str | None = None) -> Broker:
    """The best one that there is. ``folder``: for its configuration; ``port`` 0: a free one; ``path``: where to look
    for mosquitto, PATH and the folders of servers unless told."""
    if path is None:
        path = os.pathsep.join([os.environ.get("PATH", ""), *SERVER_FOLDERS])
    program = shutil.which("mosquitto", path=path) if path else None
    return Mosquitto(program, folder, host, port) if program else Embedded(host, port, reachable(host))


class Elsewhere:
    """A broker that is there already."""

    name = "given"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.host, self.port = settings.address.host, settings.address.port

    def settings(self) -> Settings:
        return self._settings

    async def start(self) -> None:
        """Nothing to do: who is away is waited for."""

    async def stop(self) -> None:
        """It is not ours."""


class Mosquitto:
    """Eclipse Mosquitto as a process of its own, ended by its id, and started again where it ends by itself."""

    name = "mosquitto"

    def __init__(self, program: str, folder: Path, host: str, port: int) -> None:
        self._program, self._folder, self.host = program, folder, host
        self.port = port
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._said: deque[str] = deque(maxlen=3)
        """Its last lines."""

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def settings(self) -> Settings:
        return Settings(address=Address(reachable(self.host), self.port))

    async def start(self) -> None:
        self.port = bindable("broker", self.host, self.port)
        config = self._folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} {self.host}", "allow_anonymous true", "persistence false", "log_dest stderr",
            "log_type error", "set_tcp_nodelay true",
        ]  # fmt: skip
        config.write_text("\n".join([*lines, "user root", ""]))  # heeded only when root starts it, for its own files
        try:
            await self._launch()
        except UsageError:
            await self.stop()
            raise
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="mosquitto")

    async def _launch(self) -> None:
        """Returns when it accepts connections. UsageError when it does not."""
        self._said.clear()
        self._process = process = await asyncio.create_subprocess_exec(
            *_ends_with_us(), self._program, "-c", str(self._folder / "mosquitto.conf"),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the program, which ends this one when nobody needs it any more
        )  # fmt: skip
        why = "no answer"
        with contextlib.suppress(TimeoutError):  # said below, with all other reasons
            async with asyncio.timeout(START_S):
                while process.returncode is None:
                    if await self._accepts() and process.returncode is None:
                        return
                    await asyncio.sleep(LOOK_S)
                await self._listen(process)
                why = "; ".join(self._said) or f"it ended with exit code {process.returncode}"
        raise UsageError(f"mosquitto does not start on {self.host}:{self.port}: {why}")

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):  # whoever hung up first: it was there
            await writer.wait_closed()
        return True

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """To its end. Read all the time: a full pipe would stop it."""
        assert process.stderr is not None  # noqa: S101  (it was asked for)
        async for line in process.stderr:
            self._said.append(line.decode("utf-8", "replace").strip()[:300])
            log.debug("mosquitto: %s", self._said[-1])
        await process.wait()

    async def _keep(self) -> None:
        while self._process is not None:
            await self._listen(self._process)
            log.warning("mosquitto ended (exit code %s); it is started again", self._process.returncode)
            log.debug("its last words: %s", "; ".join(self._said))
            await asyncio.sleep(AGAIN_S)
            try:
                await self._launch()
            except UsageError as error:
                log.error("the simulated broker is gone: %s", error)
                return

    async def stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._listen(process)
        except TimeoutError:
            process.kill()
            await process.wait()


def _ends_with_us() -> list[str]:
    """Where the system can: the kernel ends the broker when this program is killed and cannot do it itself."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def reachable(host: str) -> str:
    """The address by which this machine reaches what listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)


def bindable(what: str, host: str, port: int) -> int:
    """The port, a free one where it is 0. UsageError where it cannot be had: libraries say so less clearly, and
    another's broker would be taken for ours."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(
            f"the simulated {what} cannot listen on {host}:{port}: {reason}; choose another port, 0 for any"
        ) from None
