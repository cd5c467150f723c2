"""Who may connect, and what a person reads when it fails. No text holds a secret."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from flowrunner.errors import Reject
from flowrunner.mqtt import trouble
from flowrunner.mqtt.address import parse_address
from flowrunner.mqtt.client import Announcement, Settings
from tests.mqtt.conftest import MakeClient, States, up
from tests.peers.mosquitto import Mosquitto, free_port


@pytest.mark.anyio
async def test_the_right_password(tmp_path: Path, client_of: MakeClient, protocol: str) -> None:
    with Mosquitto(tmp_path, users={"meter": "s3cret"}) as broker:
        client = client_of(broker, protocol=protocol, username="meter", password="s3cret")
        await up(client)
        await client.publish("a", b"1", 1)


@pytest.mark.anyio
async def test_a_wrong_password_and_none(tmp_path: Path, client_of: MakeClient, protocol: str) -> None:
    with Mosquitto(tmp_path, users={"meter": "s3cret"}) as broker:
        for login, who in (({"username": "meter", "password": "wr0ng"}, "user 'meter'"), ({}, "a client without")):
            client = client_of(broker, protocol=protocol, **login)
            states = States(client)
            client.start()
            reason = await states.until(False)
            assert reason.startswith(f"{broker.url}: the broker refuses {who}")
            assert "check username and password" in reason
            assert "wr0ng" not in reason
            assert client.last_error == reason
            assert not client.connected


@pytest.mark.anyio
async def test_a_message_that_the_broker_does_not_take(tmp_path: Path, client_of: MakeClient) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic read secret\ntopic readwrite open\n")
    with Mosquitto(tmp_path, lines=[f"acl_file {rules}"]) as broker:
        client = client_of(broker)
        await up(client)
        for qos in (2, 1):
            with pytest.raises(Reject, match="refuses the message on 'secret'"):
                await client.publish("secret", b"1", qos)
        await client.publish("open", b"1", 1)


@pytest.mark.anyio
async def test_tls(tmp_path: Path, client_of: MakeClient, protocol: str) -> None:
    with Mosquitto(tmp_path, tls=True) as broker:
        client = client_of(broker, protocol=protocol, ca_file=str(broker.ca_file))
        await up(client)
        await client.publish("a", b"x" * 300_000, 1)


@pytest.mark.anyio
async def test_tls_with_a_client_certificate(tmp_path: Path, client_of: MakeClient) -> None:
    with Mosquitto(tmp_path, tls=True, client_certificates=True) as broker:
        ca_file = str(broker.ca_file)
        await up(client_of(broker, ca_file=ca_file, cert_file=str(broker.cert_file)))
        without = client_of(broker, ca_file=ca_file)
        states = States(without)
        without.start()
        reason = await states.until(False)
        assert "asks for a client certificate" in reason
        assert "give it by cert_file" in reason


@pytest.mark.anyio
async def test_an_authority_that_is_not_trusted(tmp_path: Path, client_of: MakeClient) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with Mosquitto(tmp_path, tls=True) as broker:
        for ca_file in (None, str(other)):
            client = client_of(broker, ca_file=ca_file)
            states = States(client)
            client.start()
            reason = await states.until(False)
            assert "the broker's certificate is not trusted (" in reason
            assert "give its authority by ca_file" in reason


@pytest.mark.anyio
async def test_tls_where_there_is_none_and_none_where_there_is(tmp_path: Path, client_of: MakeClient) -> None:
    with Mosquitto(tmp_path / "plain") as plain, Mosquitto(tmp_path / "tls", tls=True) as tls:
        for url, text in (
            (plain.url.replace("mqtt:", "mqtts:"), "broker closed the connection|no TLS connection"),
            (tls.url.replace("mqtts:", "mqtt:"), "if its port speaks TLS, write mqtts://"),
        ):
            client = client_of(url)
            states = States(client)
            client.start()
            reason = await states.until(False)
            assert any(part in reason for part in text.split("|")), reason


@pytest.mark.anyio
async def test_certificate_files_that_cannot_be_used(tmp_path: Path, client_of: MakeClient) -> None:
    url, missing, empty = f"mqtts://127.0.0.1:{free_port()}", str(tmp_path / "none.pem"), tmp_path / "empty.pem"
    empty.write_text("")
    for options in ({"ca_file": missing}, {"cert_file": missing}, {"ca_file": str(empty)}, {"cert_file": str(empty)}):
        client = client_of(url, **options)
        states = States(client)
        client.start()
        (name, file), reason = *options.items(), await states.until(False)
        assert f"{name} {file}" in reason, reason


def test_texts_for_people() -> None:
    settings = Settings(address=parse_address("mqtts://plant:8883"), username="u", password="s3cret", client_id="c")
    refused = OSError(
        "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed"
    )
    texts = [
        trouble.cannot_connect(error, settings)
        for error in (
            None,
            socket.gaierror(-2, "Name or service not known"),
            TimeoutError(),
            refused,
            OSError(errno.EHOSTUNREACH, "No route to host"),
            ssl.SSLError(1, "wrong version number"),
        )
    ]
    assert [text.removeprefix("mqtts://plant:8883: ") for text in texts] == [
        "the broker closed the connection without an answer; if it asks for a client certificate, give it by cert_file"
        " and key_file",
        "the host name is not known; check the address of the broker",
        "no answer in time; check host, port and firewall",
        "connection refused; is the broker running, and is the port right?",
        "no connection (No route to host)",
        "no TLS connection (wrong version number); check the port and the certificate files",
    ]
    assert 'does not speak MQTT 5; set protocol: "3.1.1"' in trouble.refused("Unsupported protocol version", settings)
    assert "refuses the client id 'c'" in trouble.refused("Client identifier not valid", settings)
    assert "give each client a client_id of its own" in trouble.refused("Session taken over", settings)
    assert "closed the connection (Server busy)" in trouble.refused("Server busy", settings)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"persistent": True}, "persistent needs a client_id"),
        ({"password": "s3cret"}, "password without username"),
        ({"keepalive": 0}, "keepalive is 0"),
        ({"session_expiry_s": -1}, "session_expiry_s is -1"),
        ({"ca_file": "ca.pem"}, "write mqtts:// instead of mqtt://h:1883"),
        ({"will": Announcement("a/#", b"")}, "stand only in filters"),
    ],
)
def test_settings_that_contradict_each_other(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        Settings(address=parse_address("mqtt://h"), **options)  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(ValueError, match="key_file without cert_file"):
        Settings(address=parse_address("mqtts://h"), key_file="key.pem")


def test_equal_settings_are_one_key_and_never_show_the_password() -> None:
    one, two = (
        Settings(address=parse_address("mqtt://h"), username="u", password="s3cret", client_id="c") for _ in range(2)
    )
    assert len({one, two}) == 1
    assert "s3cret" not in f"{one!r} {one}"
    assert "username='u', password=***" in repr(one)
