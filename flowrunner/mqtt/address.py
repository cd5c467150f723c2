"""Where a broker is: ``mqtt://host[:port]`` and ``mqtts://host[:port]``."""

from __future__ import annotations

import re

import msgspec

PORTS = {"mqtt": 1883, "mqtts": 8883}  # as registered with IANA: mqtt and secure-mqtt
_host_name = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_ipv6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?")


class Address(msgspec.Struct, frozen=True):
    """A broker's place. ``str()`` is what the person wrote, with the port always named."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """``mqtt://localhost`` → port 1883, ``mqtts://`` → TLS on 8883; IPv6 stands in brackets.

    ValueError says what is wrong with the address and what to write. It never repeats a password.
    """
    example = "write mqtt://host:1883, or mqtts://host:8883 for TLS"
    scheme, separator, rest = text.strip().partition("://")
    if "@" in text:
        # Not repeated in the text: what stands before the @ is most likely a password.
        raise ValueError("a broker address holds no login; give it by the options username and password")
    if not separator:
        raise ValueError(f"{text!r} is not a broker address; {example}")
    if scheme.lower() not in PORTS:
        raise ValueError(f"{scheme!r} is not a scheme of MQTT; {example}")
    rest = rest.removesuffix("/")
    if any(sign in rest for sign in "/?#"):
        raise ValueError(f"{text!r} has a path; a broker address ends with its port; {example}")
    host, port_text = _split(rest, text)
    port = PORTS[scheme.lower()]
    if port_text is not None:
        port = int(port_text) if re.fullmatch(r"[0-9]{1,5}", port_text) else 0
        if not 0 < port < 65536:
            raise ValueError(f"{port_text!r} is not a port; it is a number from 1 to 65535")
    return Address(host, port, tls=scheme.lower() == "mqtts")


def _split(rest: str, text: str) -> tuple[str, str | None]:
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or not _ipv6.fullmatch(host) or (tail and not tail.startswith(":")):
            raise ValueError(f"{text!r} has no IPv6 address in its brackets; write like mqtt://[::1]:1883")
        return host, tail[1:] if tail else None
    if rest.count(":") > 1:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, like mqtt://[::1]:1883")
    host, colon, tail = rest.partition(":")
    if not host:
        raise ValueError(f"{text!r} names no host; write like mqtt://localhost:1883")
    if not _host_name.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name; write a name or an IP address")
    return host, tail if colon else None
