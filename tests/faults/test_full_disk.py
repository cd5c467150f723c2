"""A disk that is really full: telemetry goes on in memory, the page says it, and with room again all is written."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from flowrunner.store import FILE_NAME
from tests.end_to_end.living import living
from tests.peers.program import Program, run
from tests.peers.until import until_elsewhere

FLOW = """
flow: site
nodes:
  meter: {type: http-in, route: POST /telemetry, body: {x: {}}, rate_limit: 100000/s}
  state: {type: merge, from: meter}
  keep: {type: store-out, from: state}
"""
POSTS = 200


class Disk:
    """A file system of its own, of 16 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """To the last byte."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return
        raise AssertionError("it has no end")

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(FLOW)
    return file


def post(http: httpx2.Client, first: int) -> None:
    for x in range(first, first + POSTS):
        assert http.post("/telemetry", json={"x": x}).status_code == 200


def stored(folder: Path) -> list[object]:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return [one for (one,) in connection.execute("SELECT json_extract(payload, '$.x') FROM history ORDER BY id")]


@pytest.mark.anyio
async def test_a_file_that_cannot_grow_stops_no_telemetry(tmp_path: Path) -> None:
    """What a full disk does to SQLite, also where no small disk can be mounted."""

    def fill_up(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1000000")

    def rows(sql: sqlite3.Connection) -> int:
        (count,) = sql.execute("SELECT count(*) FROM history").fetchone()
        return int(count)

    async with living(tmp_path / "data", text=FLOW) as flow:
        store = flow.engine.store
        await store.submit(fill_up)
        sent = 0
        while store.failed is None or sent < POSTS:  # it fills its last pages first
            assert (await flow.http.post("/telemetry", json={"x": sent})).status_code == 200
            sent += 1
        assert [one["node"] for one in (await flow.http.get("/health/ready")).json()["nodes"]] == ["store"]
        assert len(flow.seen["state"]) == sent
        await store.submit(make_room)
        assert (await flow.http.post("/telemetry", json={"x": sent})).status_code == 200
        await flow.until(lambda: store.failed is None and store.read(rows) == sent + 1, "all of it is stored")
        assert (await flow.http.get("/health/ready")).status_code == 200


def test_nothing_that_came_meanwhile_is_lost(disk: Disk, flow: Path) -> None:
    data = disk.folder / "data"
    with Program(flow, data=data) as program, httpx2.Client(base_url=program.url) as http:
        post(http, 0)
        until_elsewhere(lambda: len(stored(data)) == POSTS, "the first are stored")
        disk.fill()
        posted = POSTS

        def is_felt() -> bool:
            """What the file has taken up before has room for some yet."""
            nonlocal posted
            post(http, posted)
            posted += POSTS
            return http.get("/health/ready").status_code == 503

        until_elsewhere(is_felt, "it is not ready any more")
        program.until("disk is full")
        answer = http.get("/health/ready")
        assert answer.status_code == 503
        (waits,) = answer.json()["nodes"]
        assert waits["node"] == "store"
        assert "free some space" in waits["state"]
        assert http.get("/health/live").status_code == 200
        assert http.get("/api/v1/flows/site/nodes/state").json()["sent"] == posted, "values flow on"
        disk.make_room()
        post(http, posted)
        until_elsewhere(lambda: http.get("/health/ready").status_code == 200, "it is ready again", 40)
        program.until("is written again; nothing that waited was lost")
        assert program.end() == 0
    assert stored(data) == list(range(posted + POSTS))


def test_a_start_on_a_full_disk_says_so_and_leaves_nothing_half_done(disk: Disk, flow: Path) -> None:
    data = disk.folder / "data"
    data.mkdir()
    disk.fill()
    ended = run("run", flow, "--data", data, "--port", "0")
    assert ended.returncode == 2
    assert "No space left on device" in ended.stderr
    assert not (data / FILE_NAME).exists()
    disk.make_room()
    with Program(flow, data=data) as program:
        assert program.end() == 0


def test_a_start_on_a_disk_that_became_full_goes_on_when_there_is_room(disk: Disk, flow: Path) -> None:
    """After a crash: and that is no damage."""
    data = disk.folder / "data"
    with Program(flow, data=data) as program, httpx2.Client(base_url=program.url) as http:
        post(http, 0)
        until_elsewhere(lambda: len(stored(data)) == POSTS, "they are stored")
        disk.fill()
        program.end(signal.SIGKILL)
    with Program(flow, data=data) as program, httpx2.Client(base_url=program.url) as http:
        post(http, POSTS)
        disk.make_room()
        post(http, 2 * POSTS)
        until_elsewhere(lambda: http.get("/health/ready").status_code == 200, "it is ready", 40)
        assert program.end() == 0
    assert not [one for one in data.iterdir() if ".damaged-" in one.name]
    assert stored(data) == list(range(3 * POSTS))
