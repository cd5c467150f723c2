"""Files that are read whole: whatever stands in the place of one, the reader is neither held up nor filled."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from flowrunner.envfile import read_env_file
from flowrunner.errors import UsageError
from flowrunner.files import flow_files, read_files
from flowrunner.flowfile.loader import MAX_NODES, load
from flowrunner.graph import check_flows
from flowrunner.reading import MAX_BYTES, read_regular, text_of
from flowrunner.registry import BrokenType, Registry
from tests.peers.program import GOOD, run


def pipe(file: Path) -> None:
    """One that nobody writes to: opening it as usual would never return."""
    os.mkfifo(file)


def a_socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(file))


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def large(file: Path) -> None:
    """It takes no place on the disk."""
    with file.open("wb") as opened:
        opened.truncate(MAX_BYTES + 1_000_000)


INSTEAD: list[tuple[Callable[[Path], None], str]] = [
    (pipe, "it is a pipe and no file; put a file in its place, or remove it"),
    (a_socket, "it is a socket and no file; put a file in its place, or remove it"),
    (endless, "it is a device and no file; put a file in its place, or remove it"),
    (Path.mkdir, "it is a folder and no file; put a file in its place, or remove it"),
    (large, "at most 4 MB are read, and it has 5.0 MB; divide it"),
]
KINDS = [make.__name__ for make, _ in INSTEAD]


@pytest.mark.parametrize(("make", "says"), INSTEAD, ids=KINDS)
def test_what_is_no_file_is_refused_with_the_next_step(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    make(file := tmp_path / "x")
    with pytest.raises(OSError, match=re.escape(says)):
        read_regular(file)


def test_what_fits_is_read_whole_and_what_is_away_is_told_as_ever(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"a" * MAX_BYTES)
    assert len(read_regular(file)) == MAX_BYTES
    file.unlink()
    with pytest.raises(FileNotFoundError):
        read_regular(file)


def test_a_file_that_does_not_tell_its_size() -> None:
    assert b"PPid:" in read_regular(Path("/proc/self/status"))


def test_lines_end_as_everywhere() -> None:
    assert text_of(b"a\r\nb\rc\n") == "a\nb\nc\n"


@pytest.mark.parametrize("make", [pipe, a_socket, endless, large])
def test_every_reader_of_files_refuses_it(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Flows, node files, the environment's file, secrets."""
    for name in ("site.yaml", "mine.py", "env", "password"):
        make(tmp_path / name)
    with pytest.raises(UsageError, match=r"site\.yaml cannot be read: (it is|at most)"):
        read_files(flow_files([tmp_path]))
    with pytest.raises(BrokenType, match=r"mine\.py cannot be read: (it is|at most)"):
        Registry([tmp_path]).get("mine")
    with pytest.raises(UsageError, match=r"env cannot be read: (it is|at most)"):
        read_env_file(tmp_path / "env", wait=False)
    flow = GOOD.replace("payload: 1", 'payload: "${secret:password}"')
    checked = check_flows({"f.yaml": flow}, {"FLOWRUNNER_SECRETS": str(tmp_path)}, Registry())
    (problem,) = checked.problems
    assert "the secret 'password' cannot be read: " in problem.message
    assert "it is " in problem.message or "at most" in problem.message


def test_validate_says_it_too(tmp_path: Path) -> None:
    pipe(tmp_path / "site.yaml")
    done = run("validate", tmp_path)
    assert (done.returncode, done.stderr.count("site.yaml cannot be read: it is a pipe")) == (2, 1)


def test_more_values_than_a_flow_may_have_are_not_built() -> None:
    """Four megabytes can be millions of values."""
    text = "a: [" + "1," * (MAX_NODES + 1) + "1]\n"
    document = load(text, "f.yaml")
    (problem,) = document.problems
    assert problem.message == f"the file has more than {MAX_NODES} values: it is read down to here"
    assert document.root.items == {}


# ---- which files of a folder are meant ---------------------------------------------------------------------------


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder as editors and systems leave it: locks that are links to nowhere, binary companions, folders."""
    for end, text in ((".yaml", GOOD), (".py", "")):
        (tmp_path / f"site{end}").write_text(text)
        (tmp_path / f".#site{end}").symlink_to("person@machine.1234:1700000000")
        (tmp_path / f"._site{end}").write_bytes(b"\x00\x05\x16\x07\x00\xff")
        (tmp_path / f"folder{end}").mkdir()
    return tmp_path


def test_hidden_files_and_folders_are_no_flows(crowded: Path) -> None:
    assert flow_files([crowded]) == [crowded / "site.yaml"]


def test_hidden_files_and_folders_are_no_node_types(crowded: Path) -> None:
    assert set(Registry([crowded]).names) - set(Registry().names) == {"site"}


def test_a_link_that_leads_nowhere_is_said_and_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").symlink_to("away.yaml")
    with pytest.raises(UsageError, match=r"site\.yaml cannot be read: No such file"):
        read_files(flow_files([tmp_path]))


# ---- what is told of a file that is none of ours ---------------------------------------------------------------------


def test_a_file_of_passwords_does_not_come_into_the_log(tmp_path: Path) -> None:
    hashed = "$y$j9T$" + "saltsaltsaltsaltsalts" + "$" + "h" * 43
    (tmp_path / "shadow").write_text(f"root:{hashed}:19769:0:99999:7:::\nother:{hashed}:19769:0:99999:7:::\n")
    (tmp_path / "site.yaml").symlink_to(tmp_path / "shadow")
    texts, _ = read_files(flow_files([tmp_path / "site.yaml"]))
    told = "\n".join(map(str, check_flows(texts, {}, Registry()).problems))
    assert "root:$y$" in told
    assert hashed not in told
    assert "…" in told


@pytest.mark.parametrize(
    "text",
    ["flow: f\nnodes:\n  a: {type: LONG}\n", "flow: LONG\nnodes: {}\n", "flow: f\nnodes:\n  LONG: 1\n",
     "flow: f\nnodes:\n  a: {type: inject, every: LONG, payload: 1}\n", "LONG: 1\nLONG: 2\n", "LONG\n"],
)  # fmt: skip
def test_long_keys_and_values_are_shortened(text: str) -> None:
    long = "it's" + "x" * 300
    checked = check_flows({"f.yaml": text.replace("LONG", long)}, {}, Registry())
    assert checked.graph is None
    assert not [one for one in checked.problems if "x" * 61 in str(one)]
