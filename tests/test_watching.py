"""Watching files by their content: real folders, saved in all the ways that programs save."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowrunner.watching import SETTLE_S, SUSPICIOUS_S, Watch
from tests.peers.until import until_elsewhere

SOON_S = 0.1
LONG_LINE = "# a remark that makes the file long\n"


class Told:
    """Counts what a watch tells, and waits for it."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1

    def until(self, times: int) -> None:
        until_elsewhere(lambda: self.times >= times, lambda: f"{times} times told, {self.times} so far")
        assert self.times == times


@contextmanager
def watched(watch: Watch) -> Iterator[Told]:
    told = Told()
    watch.start(told)
    try:
        yield told
    finally:
        watch.close()


def by_rename(file: Path, text: str) -> None:
    """As vim, sed -i and most programs save."""
    new = file.with_name(f".{file.name}.swp")
    new.write_text(text)
    new.replace(file)


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def by_backup(file: Path, text: str) -> None:
    """The old file is moved away first, so for a moment there is none."""
    file.rename(file.with_name(f"{file.name}~"))
    file.write_text(text)


def by_removal(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    file = tmp_path / "flows" / "a.yaml"
    file.write_text("flow: a\n")
    return file


@pytest.mark.parametrize("save", [by_rename, in_place, by_backup, by_removal])
def test_however_it_is_saved(flow: Path, save: object) -> None:
    assert callable(save)
    with watched(Watch([flow], look_s=SOON_S)) as told:
        for number in range(1, 4):
            save(flow, f"flow: b{number}\n")
            told.until(number)


def test_the_same_content_is_nothing_new(flow: Path) -> None:
    watch = Watch([flow], look_s=SOON_S)
    assert not watch.changed()
    os.utime(flow, ns=(1, 1))
    assert not watch.changed()
    by_rename(flow, "flow: a\n")
    assert not watch.changed()
    by_rename(flow, "flow: b\n")
    assert watch.changed()
    assert not watch.changed()


def test_another_content_of_the_same_size_and_time(flow: Path) -> None:
    """Here by memory that is mapped, which changes a file's times at the first write only; some file systems count time
    in seconds."""
    watch = Watch([flow])
    with flow.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[6:7] = b"b"
        assert watch.changed(heard=False)
        before = flow.stat()
        memory[6:7] = b"c"
        assert flow.stat() == before
        assert watch.changed(heard=False)
        assert not watch.changed(heard=False)


def test_what_was_saved_before_the_start_is_told(flow: Path) -> None:
    watch = Watch([flow], look_s=SOON_S)
    by_rename(flow, "flow: b\n")
    with watched(watch) as told:
        told.until(1)


@contextmanager
def writing(file: Path, text: str, pause_s: float) -> Iterator[None]:
    """Somebody writes ``text`` in place, with a pause before each letter."""
    begun = threading.Event()

    def write() -> None:
        with file.open("w") as handle:
            for letter in text:
                until = time.monotonic() + pause_s
                while time.monotonic() < until:
                    pass  # as who computes what it writes
                handle.write(letter)
                handle.flush()
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    try:
        yield
    finally:
        writer.join()


def test_a_file_is_taken_when_it_is_whole(flow: Path) -> None:
    flow.write_text("")
    watch = Watch([flow])
    with writing(flow, "flow: a\n", SETTLE_S / 4):
        assert watch.changed()
        assert flow.read_text() == "flow: a\n"


def test_a_file_that_became_shorter_has_time(flow: Path) -> None:
    """It was emptied, and who did that is slow."""
    flow.write_text("flow: a\n" + LONG_LINE)
    watch = Watch([flow], look_s=SOON_S)
    flow.write_text("")
    taken = threading.Event()

    def look() -> None:
        if watch.changed():
            taken.set()

    thread = threading.Thread(target=look)
    began = time.monotonic()
    thread.start()
    assert not taken.wait(4 * SETTLE_S)
    thread.join()
    assert taken.is_set(), "in the end it is as it is"
    assert time.monotonic() - began >= SUSPICIOUS_S


# ---- links -----------------------------------------------------------------------------------------------------------


def configmap(folder: Path, version: str, name: str, text: str) -> None:
    """A folder as Kubernetes makes it of a ConfigMap: file → ..data/file, ..data → the version's folder, swapped."""
    (folder / f"..{version}").mkdir(parents=True)
    (folder / f"..{version}" / name).write_text(text)
    (folder / "..data_tmp").symlink_to(f"..{version}")
    (folder / "..data_tmp").replace(folder / "..data")
    if not (folder / name).is_symlink():
        (folder / name).symlink_to(f"..data/{name}")
    for old in folder.glob("..2*"):
        if old.name != f"..{version}":
            shutil.rmtree(old)


@pytest.mark.parametrize("whole", [False, True])
def test_a_configmap(tmp_path: Path, whole: bool) -> None:
    folder = tmp_path / "flows"
    configmap(folder, "2025_01", "a.yaml", "flow: a\n")
    with watched(Watch([folder if whole else folder / "a.yaml"], look_s=SOON_S)) as told:
        for number in range(2, 5):
            configmap(folder, f"2025_0{number}", "a.yaml", f"flow: a{number}\n")
            told.until(number - 1)


@pytest.mark.parametrize("whole", [False, True])
def test_a_link_to_a_file_elsewhere(tmp_path: Path, flow: Path, whole: bool) -> None:
    (tmp_path / "run").mkdir()
    link = tmp_path / "run" / "flow.yaml"
    link.symlink_to(flow)
    other = tmp_path / "other.yaml"
    other.write_text("flow: other\n")
    with watched(Watch([link.parent if whole else link], look_s=SOON_S)) as told:
        by_rename(flow, "flow: b\n")
        told.until(1)
        (tmp_path / "run" / "new").symlink_to(other)
        (tmp_path / "run" / "new").replace(link)
        told.until(2)
        by_rename(other, "flow: c\n")
        told.until(3)


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_files_come_and_go(flow: Path) -> None:
    folder = flow.parent
    watch = Watch([folder], look_s=SOON_S)
    (folder / "notes.txt").write_text("x")
    (folder / "a.test.yaml").write_text("tests: []\n")
    assert not watch.changed()
    with watched(watch) as told:
        (folder / "b.yaml").write_text("flow: b\n")
        told.until(1)
        (folder / "b.yaml").rename(folder / "c.yml")
        told.until(2)
        (folder / "c.yml").unlink()
        told.until(3)


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_that_goes_and_comes_back(flow: Path, whole: bool) -> None:
    folder = flow.parent
    with watched(Watch([folder if whole else flow], look_s=SOON_S)) as told:
        folder.rename(folder.with_name("away"))
        told.until(1)
        folder.with_name("away").rename(folder)
        told.until(2)
        for number in (3, 4):
            by_rename(flow, f"flow: b{number}\n")
            told.until(number)


def test_another_folder_in_its_place(flow: Path) -> None:
    folder = flow.parent
    shutil.copytree(folder, folder.with_name("next"))
    with watched(Watch([flow], look_s=SOON_S)) as told:
        folder.rename(folder.with_name("away"))
        folder.with_name("next").rename(folder)
        by_rename(flow, "flow: b\n")
        told.until(1)
        by_rename(flow, "flow: c\n")
        told.until(2)


def test_node_files_and_the_environment(tmp_path: Path, flow: Path) -> None:
    nodes, env = tmp_path / "nodes", tmp_path / "etc" / "env"
    nodes.mkdir()
    (nodes / "_own.py").write_text("x = 1\n")
    with watched(Watch([flow], nodes=[nodes], files=[env], look_s=SOON_S)) as told:
        (nodes / "my_node.py").write_text("x = 1\n")
        told.until(1)
        by_rename(nodes / "my_node.py", "x = 2\n")
        told.until(2)
        env.parent.mkdir()
        by_rename(env, "A=1\n")
        told.until(3)
        by_rename(env, "A=2\n")
        told.until(4)


@pytest.mark.parametrize("folder", ["flows", "nodes"])
def test_a_pipe_among_the_files_holds_nothing_up(tmp_path: Path, flow: Path, folder: str) -> None:
    (tmp_path / "nodes").mkdir()
    nodes, env = tmp_path / "nodes", tmp_path / "env"
    os.mkfifo(env)
    with watched(Watch([flow.parent], nodes=[nodes], files=[env], look_s=SOON_S)) as told:
        os.mkfifo(tmp_path / folder / ("b.yaml" if folder == "flows" else "b.py"))
        told.until(1)
        by_rename(flow, "flow: b\n")
        told.until(2)
        by_rename(env, "A=1\n")
        told.until(3)


def test_what_editors_keep_beside_the_files_is_nothing_new(tmp_path: Path, flow: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    watch = Watch([flow.parent], nodes=[nodes])
    for folder, end in ((flow.parent, "yaml"), (nodes, "py")):
        (folder / f".#a.{end}").symlink_to("person@machine.1:2")
        (folder / f"._a.{end}").write_text("x")
        (folder / f"d.{end}").mkdir()
    assert not watch.changed()
    by_rename(flow, "flow: b\n")
    assert watch.changed()


# ---- trouble ---------------------------------------------------------------------------------------------------------

NO_HANDLES = """
import logging, os, resource, sys
from pathlib import Path
from flowrunner.watching import Watch

logging.basicConfig(format="%(levelname)s %(message)s")
watch = Watch([Path(sys.argv[1])], look_s=0.1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    os.close(held.pop())  # one is left: files can be read, events cannot be had
watch.start(lambda: print("told", flush=True))
sys.stdin.read()
watch.close()
"""


def test_without_events_it_looks_once_a_second(flow: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", NO_HANDLES, flow], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdin is not None
    assert program.stdout is not None
    assert program.stderr is not None
    with program:
        said = program.stderr.readline()
        for text in ("flow: b\n", "flow: c\n"):
            by_rename(flow, text)
            assert program.stdout.readline() == "told\n"
        program.stdin.close()
        assert program.stderr.read() == ""
    assert said.startswith("WARNING no file events (")
    assert said.endswith("): the files are looked at once a second instead\n")
    assert program.returncode == 0


def test_nothing_is_told_behind_the_end(flow: Path) -> None:
    watch = Watch([flow], look_s=SOON_S)
    with watched(watch) as told:
        by_rename(flow, "flow: b\n")
        told.until(1)
    watch.close()
    by_rename(flow, "flow: c\n")
    assert not watch.changed()
    assert told.times == 1
    assert "watch" not in [thread.name for thread in threading.enumerate()]
