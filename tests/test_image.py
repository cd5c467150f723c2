"""The image, built for real and run as its own user. No engine is needed for it, but root and Debian's buildah are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import httpx2
import paho.mqtt.client as mqtt
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from tests.peers import buildah
from tests.peers.buildah import Buildah, Contained
from tests.peers.mosquitto import Mosquitto
from tests.peers.program import PATIENCE_S, ROOT
from tests.peers.until import until_elsewhere

pytestmark = [
    pytest.mark.slow,  # builds a Debian, and an image on it
    pytest.mark.skipif(bool(buildah.missing()), reason=buildah.missing()),
]

KEYS = {
    "FLOWRUNNER_API_KEY": "made up for a test",
    "BESS_API_KEY": "made up for a test, too",
    "EXCHANGE_API_KEY": "and a third one of these",
}
MOUNTED = """
flow: bess
nodes:
  ask: {type: http-in, route: GET /mounted, api_key: "${BESS_API_KEY}", reply: {json: {flow: the mounted one}}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Buildah]:
    """A store with the image in it."""
    folder = tmp_path_factory.mktemp("buildah")
    assert pytestconfig.cache is not None
    try:
        store = Buildah(folder)
        store.take_base(buildah.debian(pytestconfig.cache.mkdir("debian")))
        store.build(ROOT, buildah.pip_configuration(folder / "pip.conf"))
        yield store
    finally:
        shutil.rmtree(folder)  # some hundred megabytes, that pytest would keep for three runs


@pytest.fixture(scope="module")
def container(store: Buildah) -> str:
    """A container of the image; it is only looked at, what is written goes to a mounted folder."""
    return store.container()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The flows folder as a person has it, and a volume for the data as an engine makes it of the image's folder."""
    shutil.copytree(ROOT / "flows", tmp_path / "flows")
    (tmp_path / "data").mkdir(mode=0o750)
    os.chown(tmp_path / "data", 10001, 10001)
    return tmp_path


LOGIN = {"BESS_MQTT_USERNAME": "bess", "BESS_MQTT_PASSWORD": "made up as well"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """One that lets in nobody without a password, as that of Compose."""
    with Mosquitto(tmp_path / "broker", users={LOGIN["BESS_MQTT_USERNAME"]: LOGIN["BESS_MQTT_PASSWORD"]}) as broker:
        yield broker


@contextmanager
def listening(broker: Mosquitto, topic: str) -> Iterator[Queue[bytes]]:
    """What is published at ``topic``."""
    heard: Queue[bytes] = Queue()
    subscribed = Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(*LOGIN.values())
    client.on_connect = lambda client, userdata, flags, reason_code, properties: client.subscribe(topic)
    client.on_subscribe = lambda client, userdata, mid, reason_codes, properties: subscribed.set()
    client.on_message = lambda client, userdata, message: heard.put(bytes(message.payload))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert subscribed.wait(PATIENCE_S)
        yield heard
    finally:
        client.loop_stop()
        client.disconnect()


def settings(store: Buildah) -> dict[str, Any]:
    """How the image is to be run."""
    found: dict[str, Any] = store.image()["Docker"]["config"]
    return found


def ask(url: str, key: str = "") -> tuple[int, Any]:
    answer = httpx2.get(url, headers={"X-API-KEY": key}, trust_env=False, timeout=10)
    return answer.status_code, answer.json()


def health_check(store: Buildah, port: str) -> list[str]:
    """The image's own, at the port that the program got."""
    word, *command = settings(store)["Healthcheck"]["Test"]
    assert word == "CMD"
    assert ":9000/" in command[-1]
    return [*command[:-1], command[-1].replace(":9000/", f":{port}/")]


# ---- what is in it ------------------------------------------------------------------------------------


def test_it_says_how_it_is_run(store: Buildah) -> None:
    said = settings(store)
    assert said["User"] == "10001:10001"
    assert list(said["Volumes"]) == ["/data"]
    assert list(said["ExposedPorts"]) == ["9000/tcp"]
    assert said["Cmd"][:3] == ["flowrunner", "run", "/flows/bess.yaml"]


def test_its_user_can_write_its_data_and_nothing_of_the_program(store: Buildah, container: str) -> None:
    look = "find / -xdev -path /proc -prune -o -path /dev -prune -o ! -type l -writable -print -prune 2>/dev/null"
    said = buildah.said(*store.within(container, "sh", "-c", f"id -u; id -g; {look}; true")).split()
    assert said[:2] == ["10001", "10001"]
    everybodys = {"/tmp", "/var/tmp", "/run/lock"}  # noqa: S108  # what any Debian lets everybody write
    assert set(said[2:]) - everybodys == {"/data"}


def test_nothing_of_the_building_is_left(store: Buildah, container: str) -> None:
    root = Path(store.do("mount", container))
    assert not (root / "etc" / "pip.conf").exists()
    assert not (root / "src").exists()
    assert not list((root / "opt").glob("build*"))
    assert not list((root / "opt" / "flowrunner").rglob("pip"))
    told = json.dumps(store.image())
    assert "pip.conf" not in told
    assert "PIP_" not in told


def test_flows_in_it_are_valid_there(store: Buildah, container: str) -> None:
    for path in (ROOT / "flows").glob("*.yaml"):
        buildah.said(*store.within(container, "flowrunner", "validate", f"/flows/{path.name}"))


# ---- running ------------------------------------------------------------------------------------------


def test_it_runs_the_mounted_flow_as_its_own_user(store: Buildah, container: str, place: Path) -> None:
    (place / "flows" / "bess.yaml").write_text(MOUNTED, encoding="utf-8")
    command = store.within(container, *settings(store)["Cmd"], "--port", "0", place=place, env=KEYS)
    with Contained(command) as program:
        port: str = program.url.rpartition(":")[2]
        url = f"http://127.0.0.1:{port}"
        assert ask(f"{url}/health/live") == (200, {"status": "live"})
        assert ask(f"{url}/health/ready") == (200, {"status": "ready"})
        assert ask(f"{url}/mounted", KEYS["BESS_API_KEY"]) == (200, {"flow": "the mounted one"})

        status = (Path("/proc") / str(program.within) / "status").read_text()
        told = dict(line.split(":\t", 1) for line in status.splitlines())
        assert set(told["Uid"].split()) == set(told["Gid"].split()) == {"10001"}
        assert int(told["CapEff"], 16) == 0

        check = store.within(container, *health_check(store, port))
        assert subprocess.run(check, capture_output=True, check=False).returncode == 0
        assert program.end() == 0
        assert subprocess.run(check, capture_output=True, check=False).returncode != 0
    assert {path.stat().st_uid for path in (place / "data").iterdir()} == {10001}


def test_it_runs_the_shipped_flow(store: Buildah, container: str, place: Path) -> None:
    command = store.within(container, *settings(store)["Cmd"], "--port", "0", place=place, env=KEYS)
    with Contained(command) as program:
        url = f"http://127.0.0.1:{program.url.rpartition(':')[2]}"
        assert ask(f"{url}/health/live") == (200, {"status": "live"})
        assert ask(f"{url}/api/bess/status")[0] == 401
        assert program.end() == 0
    assert all(entry["level"] != "error" for entry in program.entries())


def test_beyond_loopback_it_wants_its_keys(store: Buildah, container: str, place: Path) -> None:
    command = store.within(container, *settings(store)["Cmd"], "--port", "0", place=place)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "FLOWRUNNER_API_KEY" in done.stderr


def test_flow_and_plant_of_compose_meet(store: Buildah, container: str, place: Path, broker: Mosquitto) -> None:
    """Both in the image, each started by its own words, and the broker between them; only ports and names differ."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    words = " ".join(services["plant"]["command"])
    words = re.sub(r"(-port)=\d+", r"\1=0", words).replace("mosquitto:1883", f"127.0.0.1:{broker.port}")
    with (
        listening(broker, "bess/soc") as heard,
        buildah.plant(store.within(store.container(), *words.split(), env=KEYS | LOGIN)) as world,
    ):
        *command, program = services["plant"]["healthcheck"]["test"][1:]
        assert "(502, 9100)" in program
        ports = f"({world['BESS_MODBUS_PORT']}, {world['EXCHANGE_URL'].rpartition(':')[2]})"
        buildah.said(*store.within(container, *command, program.replace("(502, 9100)", ports)))
        assert json.loads(heard.get(timeout=2 * PATIENCE_S))["unit"] == "%"

        env = world | KEYS | LOGIN | {"BESS_UPDATE_INTERVAL": "1"}
        flow = store.within(container, *settings(store)["Cmd"], "--port", "0", place=place, env=env)
        with Contained(flow) as runner:
            url = f"http://127.0.0.1:{runner.url.rpartition(':')[2]}"
            ready = f"{url}/health/ready"  # battery, broker and exchange are all reached
            until_elsewhere(lambda: ask(ready)[0] == 200, lambda: ask(ready), PATIENCE_S)
            status = ask(f"{url}/api/bess/status", KEYS["BESS_API_KEY"])[1]
            assert status["status"] == "online"
            assert 10 < status["soc_percent"] < 90  # what its site makes of it at this time of day
            assert runner.end() == 0


# ---- building -----------------------------------------------------------------------------------------


def test_a_file_with_another_hash_ends_the_build(store: Buildah, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns(".*", "tests", "__pycache__")
    context = shutil.copytree(ROOT, tmp_path / "context", ignore=ignored)
    lock = context / "deploy" / "build.lock"
    lock.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", lock.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(AssertionError, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        store.build(context, buildah.pip_configuration(tmp_path / "pip.conf"))


def test_the_pip_configuration_that_a_build_is_handed_counts(store: Buildah, tmp_path: Path) -> None:
    nowhere = tmp_path / "pip.conf"
    nowhere.write_text("[global]\nindex-url = http://127.0.0.1:9/nowhere\nretries = 0\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="No matching distribution found for hatchling"):
        store.build(ROOT, nowhere)
