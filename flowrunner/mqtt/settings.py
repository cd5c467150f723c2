"""What a connection to a broker is made from. Equal settings may share one connection."""

from __future__ import annotations

import ssl
from typing import Literal

import msgspec

from .address import Address
from .topic import check_topic


class Announcement(msgspec.Struct, frozen=True):
    """A message about the client itself: the birth, or the last will that the broker sends in its place."""

    topic: str
    payload: bytes
    qos: Literal[0, 1, 2] = 0
    retain: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Hashable. ValueError when options contradict each other. ``repr`` never shows the password."""

    address: Address
    username: str | None = None
    password: str | None = None
    client_id: str = ""
    """Stable and used by one client only; ``""``: a new one for every client."""
    protocol: Literal["3.1.1", "5"] = "5"
    persistent: bool = False
    """The broker keeps subscriptions and messages (QoS 1 and 2) while the client is away."""
    keepalive: int = 30
    """Seconds. A broker that is silent for one and a half times as long is taken for dead."""
    session_expiry_s: int = 86_400
    """MQTT 5, persistent: how long the broker keeps the session; 0xFFFFFFFF: for ever."""
    ca_file: str | None = None
    """PEM; None: the authorities that the system trusts."""
    cert_file: str | None = None
    key_file: str | None = None
    """Client certificate and its key, PEM; without a key file the key stands in the certificate's."""
    will: Announcement | None = None
    birth: Announcement | None = None
    """Published at each connect."""

    def __post_init__(self) -> None:
        if self.persistent and not self.client_id:
            raise ValueError("persistent needs a client_id: the broker knows the session by it")
        if self.password is not None and not self.username:
            raise ValueError("password without username; MQTT brokers ask for both")
        if not 1 <= self.keepalive <= 65535:
            raise ValueError(f"keepalive is {self.keepalive}; it is 1 to 65535 seconds")
        if not 0 <= self.session_expiry_s <= 0xFFFFFFFF:
            raise ValueError(f"session_expiry_s is {self.session_expiry_s}; it is 0 to 4294967295 seconds")
        if not self.address.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError(f"certificates need TLS; write mqtts:// instead of {self.address}")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file without cert_file; a client certificate needs both")
        for announcement in (self.will, self.birth):
            if announcement is not None:
                check_topic(announcement.topic)

    @property
    def session(self) -> tuple[Address, str] | None:
        """By what a broker knows this client; without a client id each connection is another one."""
        return (self.address, self.client_id) if self.client_id else None

    def __repr__(self) -> str:
        shown = [
            f"{name}={'***' if name == 'password' and value else repr(value)}"
            for name, value in msgspec.structs.asdict(self).items()
        ]
        return f"Settings({', '.join(shown)})"

    def tls_context(self) -> ssl.SSLContext | None:
        """Made anew for every connection, so that renewed certificates count. OSError: a file cannot be used."""
        if not self.address.tls:
            return None
        name, file = "ca_file", self.ca_file
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file:
                name, file = "cert_file", self.cert_file
                # The callable keeps OpenSSL from asking for the key's pass phrase on the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password=lambda: b"")
        except (OSError, ValueError) as error:  # OpenSSL's own texts name no file
            cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise OSError(f"{name} {file} cannot be used: {cause}") from None
        return context
