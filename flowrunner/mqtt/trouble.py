"""Why a connection failed, as sentences for people: the thing, the place, the next step. No secrets."""

from __future__ import annotations

import socket
import ssl

from .settings import Settings


def cannot_connect(error: BaseException | None, settings: Settings) -> str:
    """``error`` of connecting, or of a connection that broke; None: the other side closed it."""
    return f"{settings.address}: {_cause(error, settings)}"


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


def _cause(error: BaseException | None, settings: Settings) -> str:
    tls = settings.address.tls
    match error:
        case None | ConnectionResetError() | BrokenPipeError():
            hint = "" if tls else "; if its port speaks TLS, write mqtts://"
            return f"the broker closed the connection{hint}"
        case ssl.SSLCertVerificationError():
            return f"the broker's certificate is not trusted ({error.verify_message}); give its authority by ca_file"
        case ssl.SSLError() if "CERTIFICATE_REQUIRED" in str(error):
            return "the broker asks for a client certificate; give it by cert_file and key_file"
        case ssl.SSLError():
            return f"no TLS connection ({error.reason or error}); check the port and the certificate files"
        case TimeoutError():
            return "no answer in time; check host, port and firewall"
        case ConnectionRefusedError():
            return "connection refused; is the broker running, and is the port right?"
        case socket.gaierror():
            return "the host name is not known; check the address of the broker"
        case OSError() if error.filename:
            return f"cannot read {error.filename}: {error.strerror}"
        case OSError():
            return f"no connection ({error.strerror or error})"
        case _:
            return f"the broker sent what is not MQTT ({type(error).__name__}: {error})"
