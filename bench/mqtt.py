"""Messages through a broker, a runner between: how many a second, what each costs, how long each takes.

The driver publishes to one set of topics and hears what the runner makes of it on another; it is a process of its own
and speaks the protocol by hand, at about two microseconds a message, so that it is not what is measured. It knows
nothing of the runner but the topics and, for its CPU, the process.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.programs import PROGRAM, cpu_s, port_of

WARM = 2_000
"""Messages before those that are measured, at most as many as those."""
KEYS = 10
"""Topics that take turns."""
PATIENCE_S = 20.0
"""Without any message for so long the runner is taken for dead."""
PROBE_S = 0.05
PUBLISH, PUBACK = 0x30, 0x40


class Measured(NamedTuple):
    """One run."""

    per_s: float
    """Messages a second, from the first sent to the last heard."""
    cpu_us: float
    """Of the runner's process, for each message; 0 where none was named."""
    p50_ms: float
    p99_ms: float
    longest_ms: float
    """From the driver's publish to the driver's ears."""
    sent: int
    heard: int
    """Different ones."""
    twice: int
    """Heard again."""


def measure(
    port: int, *, to: str, back: str, count: int, qos: int = 0, window: int = 0, rate: float = 0.0, process: int = 0
) -> Measured:
    """Drive ``count`` messages through what listens on ``to`` and answers on ``back``, at the broker on ``port``.

    ``to`` is a topic with ``{key}`` in it, ``back`` a filter. With ``window`` so many are under way at once, which asks
    for all that the runner can do; with ``rate`` so many leave a second. The payload is ``{"value": …, "n": …}``, and
    ``n`` must come back. ``process``: the runner's, for its CPU (Linux). SystemExit when nothing comes back.
    """
    asked = {"port": port, "to": to, "back": back, "count": count, "qos": qos, "window": window, "rate": rate}
    command = [sys.executable, "-m", "bench.mqtt", json.dumps(asked | {"process": process})]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise SystemExit(done.stderr.strip().rpartition("\n")[2] or "the driver of MQTT messages failed")
    return Measured(**json.loads(done.stdout))


FLOW = """
flow: stream
nodes:
  in: {{type: mqtt-in, broker: "{url}", topic: plant/in/+, qos: {qos}, key: "{{topic_3}}"}}
  scale: {{type: scale, from: in, fields: {{value: {{factor: 2}}}}}}
  threshold: {{type: threshold, from: scale, field: value, above: 40}}
  out: {{type: mqtt-out, from: threshold, broker: "{url}", topic: "plant/out/{{key}}", qos: {qos}{queue}}}
"""
TO, BACK = "plant/in/{key}", "plant/out/+"


@contextmanager
def flowrunner(url: str, qos: int, *, durable: bool = True) -> Iterator[int]:
    """MQTT → scale → threshold → MQTT by the program as a user starts it; its process. ``durable``: what waits at
    mqtt-out is on the disk, as it is by default; else the source is acknowledged when the broker has the result."""
    queue = "" if durable else ", queue: {durable: false}"
    home = Path.home() / ".cache"  # not where temporary files go: that may be memory
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="flowrunner-bench-") as folder:
        file = Path(folder) / "stream.yaml"
        file.write_text(FLOW.format(url=url, qos=qos, queue=queue), "utf-8")
        arguments = ["run", str(file), "--port", "0", "--data", folder, "--log", "json"]
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen([*PROGRAM, *arguments], stderr=subprocess.PIPE, stdout=out, text=True)
            try:
                port_of(process)
                yield process.pid
            finally:
                process.terminate()
                process.communicate(timeout=20)


# ---- the driver: a process of its own ------------------------------------------------------------------------------


class Line:
    """One connection, MQTT 3.1.1."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.socket.sendall(_packet(0x10, b"\0\4MQTT\4\2\0\0" + _text(f"{name}-{os.getpid()}")))
        if self._answer()[0] != 0x20:
            raise SystemExit("the broker does not take the driver")

    def subscribe(self, pattern: str, qos: int) -> None:
        self.socket.sendall(_packet(0x82, b"\0\1" + _text(pattern) + bytes([qos])))
        if self._answer()[-1] > 2:
            raise SystemExit("the broker does not take the driver's subscription")

    def _answer(self) -> bytes:
        found = b""
        while len(found) < 2 or len(found) < 2 + found[1]:
            found += self.socket.recv(1)
        return found

    def packets(self) -> Iterator[tuple[int, bytes, int, int]]:
        """What is there: first byte, buffer, beginning and end of the rest of each packet."""
        fresh = self.socket.recv(1 << 18)
        if not fresh:
            raise SystemExit("the broker hung up on the driver")
        data = self.rest + fresh if self.rest else fresh
        at, size = 0, len(data)
        while at + 2 <= size:
            length, begin = data[at + 1], at + 2
            if length >= 0x80:
                if begin >= size:
                    break
                length, begin = (length & 0x7F) | data[begin] << 7, begin + 1  # 16 kB are enough here
            if begin + length > size:
                break
            yield data[at], data, begin, begin + length
            at = begin + length
        self.rest = data[at:]


class Driver:
    """Sends and hears; times are those of one clock."""

    def __init__(
        self, port: int, to: str, back: str, count: int, qos: int, window: int, rate: float, process: int
    ) -> None:
        self.count, self.qos, self.window, self.rate, self.process = count, qos, window, rate, process
        self.mouth, self.ear = Line(port, "bench-mouth"), Line(port, "bench-ear")
        self.ear.subscribe(back, qos)
        self.heads = [_text(to.format(key=f"k{number}")) for number in range(KEYS)]
        self.sent_at: list[float] = []
        self.heard_at: dict[int, float] = {}
        self.twice = 0
        self.acks = 0

    def run(self) -> Measured:
        self._until_it_answers()
        warm = min(WARM, self.count)
        self._drive(warm if self.window else min(warm, max(1, int(self.rate))))
        first, cpu = len(self.sent_at), cpu_s(self.process) if self.process else 0.0
        self._drive(self.count)
        if self.process:
            cpu = cpu_s(self.process) - cpu
        numbers = range(first, first + self.count)
        delays = sorted(self.heard_at[one] - self.sent_at[one] for one in numbers if one in self.heard_at)
        took = max(self.heard_at[one] for one in numbers if one in self.heard_at) - self.sent_at[first]
        p50, p99, longest = (delays[min(len(delays) - 1, int(len(delays) * share))] * 1000 for share in (0.5, 0.99, 1))
        cpu_us = cpu / self.count * 1e6
        return Measured(len(delays) / took, cpu_us, p50, p99, longest, self.count, len(delays), self.twice)

    def _until_it_answers(self) -> None:
        deadline = time.perf_counter() + PATIENCE_S
        while not self.heard_at:
            if time.perf_counter() > deadline:
                raise SystemExit("nothing comes back from the runner")
            self._send(1)
            self._hear(PROBE_S)
        while len(self.heard_at) + self.twice < len(self.sent_at) and self._hear(4 * PROBE_S):
            pass
        self.twice = 0

    def _drive(self, count: int) -> None:
        first = len(self.sent_at)
        before = len(self.heard_at)
        began = last = time.perf_counter()
        while (heard := len(self.heard_at) - before) < count:
            sent, now = len(self.sent_at) - first, time.perf_counter()
            if self.window:
                self._send(min(count - sent, self.window - (sent - heard)))
                wait = PROBE_S
            else:
                due = min(count, int((now - began) * self.rate) + 1)
                self._send(due - sent)
                wait = max(0.0, began + due / self.rate - now) if due < count else PROBE_S
            if self._hear(wait):
                last = now
            elif now - last > PATIENCE_S:
                return  # the rest is lost, and told as such

    def _send(self, many: int) -> None:
        parts = []
        for _ in range(many):
            number = len(self.sent_at)
            self.sent_at.append(time.perf_counter())
            head = self.heads[number % KEYS]
            if self.qos:
                head += (number % 65535 + 1).to_bytes(2)
            parts.append(_packet(PUBLISH | self.qos << 1, head + b'{"value":%d,"n":%d}' % (value_of(number), number)))
        if parts:
            self.mouth.socket.sendall(b"".join(parts))

    def _hear(self, wait_s: float) -> bool:
        """Whether anything came from the runner within ``wait_s``."""
        deadline, came = time.perf_counter() + wait_s, False
        while not came:
            left = max(0.0, deadline - time.perf_counter())
            ready, _, _ = select.select([self.ear.socket, self.mouth.socket], [], [], left)
            if self.mouth.socket in ready:
                for _ in self.mouth.packets():
                    self.acks += 1
            if self.ear.socket in ready:
                came = self._listen()
            if not ready:
                break
        return came

    def _listen(self) -> bool:
        acks, now, heard = [], time.perf_counter(), self.heard_at
        for kind, data, begin, end in self.ear.packets():
            if kind & 0xF0 != PUBLISH:
                continue
            if kind & 0x06:
                place = begin + 2 + (data[begin] << 8 | data[begin + 1])
                acks.append(b"\x40\x02" + data[place : place + 2])
            at = data.index(b'"n":', begin, end) + 4
            stop = data.find(b",", at, end)
            number = int(data[at : stop if stop > 0 else data.index(b"}", at, end)])
            if number in heard:
                self.twice += 1
            else:
                heard[number] = now
        if acks:
            self.ear.socket.sendall(b"".join(acks))
        return True


def value_of(number: int) -> int:
    """Every 500 messages it crosses 20, which is where FLOW's threshold is."""
    return number % 10 + (25 if number // 500 % 2 else 5)


def _packet(kind: int, rest: bytes) -> bytes:
    size = len(rest)
    return bytes([kind, size] if size < 0x80 else [kind, size & 0x7F | 0x80, size >> 7]) + rest


def _text(text: str) -> bytes:
    return len(text.encode()).to_bytes(2) + text.encode()


if __name__ == "__main__":
    print(json.dumps(Driver(**json.loads(sys.argv[1])).run()._asdict()))
