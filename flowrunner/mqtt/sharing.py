"""Who shares a client: nodes with equal settings. One client id with two settings is refused."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from flowrunner.errors import NotConnected

from .client import Client
from .settings import Settings

Shared = Callable[[Hashable, Callable[[], Any]], Any]
"""The connection at a key, made by the first who asks: ``Context.shared``."""


class _Name:
    """A client id in use at a broker. Shared like a connection, so that it is free when its last user goes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def close(self) -> None:
        """Nothing is held but the name."""


def shared_client(shared: Shared, settings: Settings) -> Client:
    """NotConnected while others use the client id with other settings: the broker would end the connection of each
    whenever the other connects, for ever."""
    # The client before its name: what is shared first is closed first, in the same step as its nodes leave.
    client: Client = shared(settings, lambda: Client(settings))
    address, client_id = settings.address, settings.client_id
    if client_id:
        name: _Name = shared(("mqtt-client-id", address.host, address.port, client_id), lambda: _Name(settings))
        if name.settings != settings:
            raise NotConnected(
                f"{address}: another node uses the client id {client_id!r} with other settings "
                f"({', '.join(_differing(name.settings, settings))}); make them equal, or give each a client_id"
            )
    return client


def _differing(one: Settings, other: Settings) -> list[str]:
    """Names only: values may be secret."""
    return [field for field in Settings.__struct_fields__ if getattr(one, field) != getattr(other, field)]
