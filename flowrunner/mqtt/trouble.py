"""Why a connection failed, as sentences for people: the thing, the place, the next step. No secrets."""

from __future__ import annotations

import errno
import socket
import ssl

from .settings import Settings

_REFUSED = f"[Errno {errno.ECONNREFUSED}]"  # where a name has several addresses, asyncio joins the texts of all

_NOT_BY_A_MESSAGE = {
    "Session taken over", "Server shutting down", "Server busy", "Keep alive timeout", "Administrative action",
    "Use another server", "Server moved", "Maximum connect time",
}  # fmt: skip
_CLOSED_BY_PEER = (ConnectionResetError, BrokenPipeError, ssl.SSLError)


def cannot_connect(error: BaseException | None, settings: Settings) -> str:
    """Before the broker said yes; None: the other side closed the connection."""
    return f"{settings.address}: {_cause(error, settings)}"


def broke(error: BaseException | None, settings: Settings) -> str:
    """After it had worked."""
    if isinstance(error, OSError):
        return f"{settings.address}: the connection broke ({error.strerror or error})"
    if error is not None:
        return cannot_connect(error, settings)
    hint = (
        f"; if it repeats, does another client use the client id {settings.client_id!r}?" if settings.client_id else ""
    )
    return f"{settings.address}: the broker closed the connection{hint}"


def refused(reason: str, settings: Settings) -> str:
    """The broker answered, and said no. ``reason`` is the name of its reason code."""
    who = f"user {settings.username!r}" if settings.username else "a client without a username"
    match reason:
        case "Bad user name or password" | "Not authorized" | "Bad authentication method":
            text = f"the broker refuses {who} ({reason}); check username and password"
        case "Unsupported protocol version":
            other = "3.1.1" if settings.protocol == "5" else "5"
            text = f'the broker does not speak MQTT {settings.protocol}; set protocol: "{other}"'
        case "Client identifier not valid":
            text = f"the broker refuses the client id {settings.client_id!r}; choose another client_id"
        case "Session taken over":
            text = (
                f"another client connected with the client id {settings.client_id!r}; "
                "give each client a client_id of its own"
            )
        case _:
            text = f"the broker closed the connection ({reason})"
    return f"{settings.address}: {text}"


def innocent(said: str, error: BaseException | None) -> bool:
    """Whether a connection that had worked ended for a reason that no message of ours can have given: the broker
    said so (``said``), or the line broke rather than the other side closed it."""
    return said in _NOT_BY_A_MESSAGE or (error is not None and not isinstance(error, _CLOSED_BY_PEER))


def refused_subscription(pattern: str, reason: str, settings: Settings) -> str:
    return f"{settings.address}: the broker refuses the subscription to {pattern!r} ({reason}); check its access list"


def refused_message(topic: str, reason: str, settings: Settings) -> str:
    return f"{settings.address}: the broker refuses the message on {topic!r} ({reason})"


def _cause(error: BaseException | None, settings: Settings) -> str:
    match error:
        case None | ConnectionResetError() | BrokenPipeError():
            hint = "" if settings.address.tls else "; if its port speaks TLS, write mqtts://"
            if settings.address.tls and settings.cert_file is None:
                # TLS 1.3 says so after the handshake, and a reset can overtake the words
                hint = "; if it asks for a client certificate, give it by cert_file and key_file"
            return f"the broker closed the connection without an answer{hint}"
        case ssl.SSLCertVerificationError():
            return f"the broker's certificate is not trusted ({error.verify_message}); give its authority by ca_file"
        case ssl.SSLError() if "CERTIFICATE_REQUIRED" in str(error) or "HANDSHAKE_FAILURE" in str(error):
            return "the broker asks for a client certificate; give it by cert_file and key_file"
        case ssl.SSLError():
            cause = getattr(error, "reason", None) or error
            return f"no TLS connection ({cause}); check the port and the certificate files"
        case TimeoutError():
            return "no answer in time; check host, port and firewall"
        case OSError() if isinstance(error, ConnectionRefusedError) or _REFUSED in str(error):
            return "connection refused; is the broker running, and is the port right?"
        case socket.gaierror():
            return "the host name is not known; check the address of the broker"
        case OSError():
            return f"no connection ({error.strerror or error})"
        case _:
            return f"the broker sent what is not MQTT {settings.protocol} ({error})"
