"""Dockerfile, Compose file and the broker's set-up: what can be known of them without building an image."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {"FLOWRUNNER_API_KEY", "BESS_API_KEY", "EXCHANGE_API_KEY", "BESS_MQTT_USERNAME", "BESS_MQTT_PASSWORD"}
"""Variables of docker-compose.yml that have no default: secrets, and the user that goes with one."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return document


# ---- docker-compose.yml -------------------------------------------------------------------------------


def test_compose_demands_every_secret_and_says_where_to_put_it() -> None:
    text = read("docker-compose.yml")
    demanded = dict(re.findall(r"\$\{(\w+):\?([^}]*)\}", text))
    assert set(demanded) == REQUIRED
    assert all("in .env" in sentence for sentence in demanded.values())
    # Used once with a demand and once without would start with an empty secret.
    assert not [used for used in re.findall(r"\$\{?(\w+)(?!\w|:\?)", text) if used in REQUIRED]


def schema_findings(compose_file: Path) -> str:
    """What the schema of the Compose specification has to say; empty when nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", compose_file],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def test_compose_file_is_what_the_compose_specification_allows(tmp_path: Path) -> None:
    assert schema_findings(ROOT / "docker-compose.yml") == ""
    typo = tmp_path / "docker-compose.yml"
    typo.write_text(read("docker-compose.yml").replace("read_only: true", "readonly: true"))
    assert "'readonly' was unexpected" in schema_findings(typo)


def test_compose_services_are_shut_tight(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"flowrunner", "mosquitto", "plant"}
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert "privileged" not in service, name


def test_compose_uses_only_volumes_it_declares_and_folders_that_exist(compose: dict[str, Any]) -> None:
    used = [volume.split(":") for service in compose["services"].values() for volume in service.get("volumes", [])]
    assert {name for name, *_ in used if not name.startswith(".")} == set(compose["volumes"])
    for folder, _, mode in (volume for volume in used if volume[0].startswith(".")):
        assert (ROOT / folder).is_dir()
        assert mode == "ro"


def test_compose_hands_on_every_variable_of_the_shipped_flows(compose: dict[str, Any]) -> None:
    """A variable in .env that never reaches the flow would be a setting without effect, and nobody is told."""
    handed = set(compose["services"]["flowrunner"]["environment"])
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "flows").glob("*.yaml")]
    flows = "\n".join(line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert set(re.findall(r"(?<!\$)\$\{([A-Z]\w*)", flows)) - handed == set()


def test_without_settings_the_flow_meets_the_simulated_plant_on_paper(compose: dict[str, Any]) -> None:
    plant = dict(word.removeprefix("--").split("=") for word in compose["services"]["plant"]["command"][2:])
    handed = compose["services"]["flowrunner"]["environment"]
    default = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", text) for name, text in handed.items() if text}
    assert default["BESS_MODBUS_HOST"] == "plant"
    assert f"${{BESS_MODBUS_PORT:-{plant['modbus-port']}}}" in read("flows/bess.yaml")
    assert default["EXCHANGE_URL"] == f"http://plant:{plant['exchange-port']}"
    assert plant["mqtt-broker"] == f"mqtt://{default['BESS_MQTT_BROKER']}:{default['BESS_MQTT_PORT']}"
    assert default["BESS_TRADING_MODE"] == "paper"
    assert "flowrunner" not in compose["services"]["plant"].get("depends_on", {})
    assert "depends_on" not in compose["services"]["flowrunner"]  # a real plant is met by leaving this one away


def test_plant_takes_the_options_that_it_is_given(compose: dict[str, Any]) -> None:
    program, verb, *options = compose["services"]["plant"]["command"]
    assert program == "flowrunner"
    usage = subprocess.run(
        [sys.executable, "-m", "flowrunner", verb, "--help"], capture_output=True, text=True, check=False
    )
    known = set(re.findall(r"--[\w-]+", usage.stdout))
    assert {option.partition("=")[0] for option in options} - known == set(), usage.stderr


def test_plant_is_asked_for_its_health_at_the_ports_it_is_told(compose: dict[str, Any]) -> None:
    plant = compose["services"]["plant"]
    *_, program = plant["healthcheck"]["test"]
    compile(program, "healthcheck", "exec")
    told = {int(port) for port in re.findall(r"--\w+-port=(\d+)", " ".join(plant["command"]))}
    assert len(told) == 2
    asked = re.search(r"in \(([\d, ]+)\)", program)
    assert asked
    assert {int(port) for port in asked[1].split(",")} == told
    assert plant["sysctls"]["net.ipv4.ip_unprivileged_port_start"] <= min(told)


# ---- Dockerfile ---------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def last(word: str) -> str:
    return [rest for instruction, rest in instructions() if instruction == word][-1]


def test_image_runs_as_a_numbered_user_and_is_asked_for_its_health() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))
    assert "/health/live" in last("HEALTHCHECK")
    assert last("VOLUME") == "/data"
    assert [rest for word, rest in instructions() if word == "FROM"] == ["${BASE} AS build", "${BASE}"]
    command = yaml.safe_load(last("CMD"))
    assert command == ["flowrunner", "run", "/flows/bess.yaml", "--host", "0.0.0.0", "--data", "/data", "--log", "json"]


def test_image_keeps_nothing_of_its_builder() -> None:
    """A package index or a proxy is handed to one step of the first stage; nothing of it may stay."""
    assert [rest for word, rest in instructions() if word == "ARG"] == ["BASE=python:3.11-slim-bookworm"]
    assert not re.search(r"(?i)pip|proxy|index", last("ENV"))
    installs = [rest for word, rest in instructions() if word == "RUN" and " install " in rest and "$pip" in rest]
    assert installs[0].startswith("--mount=type=secret,id=pip,target=/etc/pip.conf ")
    assert "required" not in installs[0].split()[0]
    assert installs[0].count("$pip") == installs[0].count("--require-hashes") == installs[0].count("--only-binary") == 2
    assert all("--no-index" in rest for rest in installs[1:])


def test_health_check_is_a_program() -> None:
    *_, program = yaml.safe_load(last("HEALTHCHECK").partition("CMD ")[2])
    compile(program, "HEALTHCHECK", "exec")


def test_everything_that_the_image_copies_passes_dockerignore() -> None:
    ignore = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    passed = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        name
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    }
    assert copied == passed
    assert all((ROOT / name).exists() for name in copied)


# ---- the broker ---------------------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """A mosquitto as Compose starts it; only its folders and its port are moved to free ones."""
    assert shutil.which("mosquitto"), "mosquitto is missing; './x test' says how to install it"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    moved = {
        "/run/broker": str(tmp_path),
        "/mosquitto/data": str(tmp_path),
        "/deploy": str(tmp_path),
        "listener 1883": f"listener {port} 127.0.0.1",
    }
    for name in ("mosquitto.conf", "mosquitto.sh"):
        text = read(f"deploy/{name}")
        for old, new in moved.items():
            text = text.replace(old, new)
        (tmp_path / name).write_text(text, encoding="utf-8")
    if os.geteuid() == 0:  # there mosquitto gives up root, and has to reach its files all the same
        with (tmp_path / "mosquitto.conf").open("a", encoding="utf-8") as config:
            config.write("user root\n")
    process = subprocess.Popen(
        ["sh", tmp_path / "mosquitto.sh"],
        env={"PATH": os.environ["PATH"], "BESS_MQTT_USERNAME": "bess", "BESS_MQTT_PASSWORD": "a b'c$d:e"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "running" in line:
                break
        else:
            pytest.fail("the broker did not start:\n" + "".join(said))
        yield port
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def answer_to(port: int, username: str | None = None, password: str | None = None) -> str:
    """What the broker answers to a CONNECT."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(username, password)
    answers: list[str] = []
    client.on_connect = lambda client, userdata, flags, reason_code, properties: answers.append(str(reason_code))
    client.connect("127.0.0.1", port)
    while not answers and client.loop(timeout=5) == mqtt.MQTT_ERR_SUCCESS:
        pass
    client.disconnect()
    return answers[0] if answers else "connection closed"


def test_broker_of_compose_lets_in_its_user_and_nobody_else(broker: int, tmp_path: Path) -> None:
    assert answer_to(broker, "bess", "a b'c$d:e") == "Success"
    assert answer_to(broker) == "Not authorized"
    assert answer_to(broker, "bess", "guess") == "Not authorized"
    assert "a b'c$d:e" not in (tmp_path / "passwords").read_text(encoding="utf-8")
