"""A real broker for tests: Eclipse Mosquitto on a free port of loopback."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import trustme

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

TELLS_WHO_LISTENS = ("log_type subscribe",)
"""For ``lines``: the broker says who subscribes to what."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Mosquitto:
    """``with Mosquitto(tmp_path) as broker:`` – its ``url`` accepts connections until the block ends.

    ``users``: name → password, anonymous clients are then refused. ``tls``: a certificate for localhost and
    127.0.0.1 signed by :attr:`ca_file`; ``client_certificates`` asks the clients for one too
    (:attr:`cert_file`). ``persistence``: sessions survive ``stop()`` and ``start()``. ``lines``: more of its
    configuration; ``no_subscribe``: filters that it refuses. ``kill()`` is a crash, ``stop()`` a clean end; ``start()``
    again uses the same port.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        tls: bool = False,
        client_certificates: bool = False,
        persistence: bool = False,
        no_subscribe: Sequence[str] = (),
        lines: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{self.port}"
        self.ca_file = folder / "ca.pem"
        self.cert_file = folder / "client.pem"
        """The certificate and the key of a client, in one file."""
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        config = [
            "user root",  # only heeded when started as root: it would otherwise not read its own files
            "per_listener_settings false",
            "connection_messages false",
            "set_tcp_nodelay true",  # else every exchange of small packets takes 40 ms
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type information",
            f"allow_anonymous {str(not users).lower()}",
            f"persistence {str(persistence).lower()}",
            f"listener {self.port} 127.0.0.1",
        ]
        if persistence:
            config.append(f"persistence_location {folder}/")
        if users:
            config.append(f"password_file {self._password_file(users)}")
        if no_subscribe:
            config += self._access_rules(no_subscribe)
        if tls:
            config += self._certificates(client_certificates)
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join([*config, *lines]) + "\n")

    def start(self) -> None:
        """Returns when it accepts connections."""
        assert self._process is None, "it runs already"
        process = subprocess.Popen(
            [_program("mosquitto"), "-c", self._config], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if line.rstrip().endswith(" running"):
                self._process = process
                return
        process.wait()
        process.stderr.close()
        raise AssertionError(f"mosquitto does not start:\n{said}")

    def until_said(self, *words: str, times: int) -> None:
        """Read on in its log until all ``words`` came so often; that its end comes is the caller's to see to."""
        assert self._process is not None
        assert self._process.stderr is not None
        left = dict.fromkeys(words, times)
        for line in self._process.stderr:
            left = {one: count - (one in line) for one, count in left.items() if count > (one in line)}
            if not left:
                return
        raise AssertionError(f"it ended before it said: {', '.join(left)}")

    async def subscribed(self, *topics: str) -> None:
        """Wait until somebody has subscribed to each: a client is connected before. It needs ``TELLS_WHO_LISTENS``."""
        async with asyncio.timeout(10):
            await asyncio.to_thread(self.until_said, *(f" {topic}\n" for topic in topics), times=1)

    def stop(self) -> None:
        """A clean end: what is to persist is written."""
        self._end(kill=False)

    def kill(self) -> None:
        """A crash."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()

    def freeze(self) -> None:
        """Alive for the network, but answers nothing, until ``thaw()``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _password_file(self, users: Mapping[str, str]) -> Path:
        file = self._folder / "passwords"
        file.touch(mode=0o600)
        for name, password in users.items():
            subprocess.run([_program("mosquitto_passwd"), "-b", file, name, password], check=True, capture_output=True)
        return file

    def _access_rules(self, no_subscribe: Sequence[str]) -> list[str]:
        # Mosquitto's plain access list never refuses a SUBSCRIBE; its plugin for roles does.
        plugins = sorted(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"))
        assert plugins, "mosquitto's dynamic security plugin is not installed; on Debian: apt-get install mosquitto"
        kinds = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
        denied = [{"acltype": "subscribePattern", "topic": one, "allow": False} for one in no_subscribe]
        rules = {
            "defaultACLAccess": dict.fromkeys(kinds, True),
            "clients": [],
            "groups": [{"groupname": "all", "roles": [{"rolename": "most"}], "clients": []}],
            "roles": [{"rolename": "most", "acls": denied}],
            "anonymousGroup": "all",
        }
        file = self._folder / "roles.json"
        file.write_text(json.dumps(rules))
        return [f"plugin {plugins[0]}", f"plugin_opt_config_file {file}"]

    def _certificates(self, client_certificates: bool) -> list[str]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        server = authority.issue_cert("localhost", "127.0.0.1")
        server.private_key_and_cert_chain_pem.write_to_path(str(self._folder / "server.pem"))
        authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(str(self.cert_file))
        lines = [
            f"cafile {self.ca_file}",
            f"certfile {self._folder / 'server.pem'}",
            f"keyfile {self._folder / 'server.pem'}",
        ]
        return [*lines, "require_certificate true"] if client_certificates else lines


def _program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is not installed; on Debian: apt-get install mosquitto"
    return found
