"""A place with a network of its own, joined to this machine by one cable that a test can pull out.

Unlike a proxy that closes connections, a cable that is pulled out says nothing to anybody: packets vanish, connections
are half open, and go on as if nothing had been when it is put in again.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Namespace:
    """``with Namespace() as far:`` – ``[*far.inside, "program", …]`` runs there and finds this machine at
    :attr:`address`; its own loopback works. Linux, root only: see :func:`allowed`.
    """

    def __init__(self) -> None:
        one = os.getpid() % 16384 * 4
        # 198.18.0.0/15 is for tests of networks (RFC 2544): nothing real is there. By the process, so that test runs
        # beside one another do not meet.
        network = f"198.18.{one >> 8}."
        self.address = f"{network}{(one & 255) + 1}"
        self._there = f"{network}{(one & 255) + 2}"
        self._name = f"stream{os.getpid()}"
        self._cable = f"st{os.getpid()}"
        self.inside = [_ip(), "netns", "exec", self._name]

    def __enter__(self) -> Namespace:
        name, cable = self._name, self._cable
        self._do("netns", "add", name)
        try:
            self._do("link", "add", cable, "type", "veth", "peer", "name", "cable", "netns", name)
            self._do("address", "add", f"{self.address}/30", "dev", cable)
            self._do("link", "set", cable, "up")
            self._do("-n", name, "address", "add", f"{self._there}/30", "dev", "cable")
            self._do("-n", name, "link", "set", "lo", "up")
            self.plug()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._do("netns", "delete", self._name)
        subprocess.run([_ip(), "link", "delete", self._cable], check=False, capture_output=True)  # may be gone with it

    def unplug(self) -> None:
        self._do("-n", self._name, "link", "set", "cable", "down")

    def plug(self) -> None:
        self._do("-n", self._name, "link", "set", "cable", "up")

    def _do(self, *words: str) -> None:
        done = subprocess.run([_ip(), *words], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@functools.cache
def allowed() -> bool:
    """Whether this machine lets us make one: root, iproute2, and a kernel that has both and does not forbid it."""
    if os.geteuid() != 0 or not shutil.which("ip", path=PATH) or not Path("/proc/self/ns/net").exists():
        return False
    try:
        with Namespace():
            return True
    except AssertionError:
        return False


def _ip() -> str:
    return shutil.which("ip", path=PATH) or "ip"
