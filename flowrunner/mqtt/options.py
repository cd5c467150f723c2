"""The options by which a flow file names a broker, and the settings that they make."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.schema import Secret

from .address import parse_address
from .settings import Settings


class BrokerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes with equal options share one connection."""

    broker: Annotated[
        str, Meta(description="mqtt://host:port, or mqtts:// with TLS.", examples=["mqtt://localhost:1883"])
    ]
    username: Annotated[str, Meta(description="User at the broker.")] = ""
    password: Annotated[Secret, Meta(description="The user's password.")] = ""
    client_id: Annotated[str, Meta(description="Stable name at the broker; a persistent session needs one.")] = ""
    protocol: Annotated[Literal["3.1.1", "5"], Meta(description="MQTT version.")] = "5"
    persistent: Annotated[bool, Meta(description="The broker keeps messages while the flow is away.")] = False
    ca_file: Annotated[str, Meta(description="PEM file of the authority that signed the broker's certificate.")] = ""
    cert_file: Annotated[str, Meta(description="PEM file of the client's certificate.")] = ""
    key_file: Annotated[str, Meta(description="PEM file of the client's key.")] = ""

    def settings(self) -> Settings:
        """ValueError with a sentence when the options contradict each other."""
        return Settings(
            address=parse_address(self.broker),
            username=self.username or None,
            password=self.password or None,
            client_id=self.client_id,
            protocol=self.protocol,
            persistent=self.persistent,
            ca_file=self.ca_file or None,
            cert_file=self.cert_file or None,
            key_file=self.key_file or None,
        )
