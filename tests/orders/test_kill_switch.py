"""The kill switch: a file that stops whatever it holds, survives, and is never taken away by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowrunner.orders import STOP_FILE, Refusal, Stop, Switch, SwitchStuck, Trading
from flowrunner.store import Store
from flowrunner.units import parse_instant
from tests.peers.program import ROOT, environment

NOW = parse_instant("2026-03-02T12:00:00Z")
MINUTE = 60 * 10**9
SAID = "trading is stopped since 2026-03-02T12:00:00.000Z by risk desk: storm"
CAPS = {"by": 100, "reason": 500}
"""What the command and the API let through."""


def stop(switch: Switch, by: str = "risk desk", reason: str = "storm") -> Stop:
    return switch.stop(by=by, reason=reason, now=NOW)


def look(switch: Switch) -> Stop | None:
    """As it is now: a type checker takes a property for something that stays."""
    return switch.stopped


# ---- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
def test_stop_and_resume(tmp_path: Path, kept: bool) -> None:
    switch = Switch(tmp_path if kept else None)
    assert (look(switch), switch.resume()) == (None, None)
    stopped = stop(switch)
    assert stopped == Stop(by="risk desk", at="2026-03-02T12:00:00.000Z", reason="storm") == look(switch)
    assert (str(stopped), stopped.since) == (SAID, NOW)
    assert switch.stop(by="other", reason="other", now=NOW + MINUTE) == stopped, "who was first stays noted"
    assert look(switch) == stopped
    assert str(switch.resume()) == SAID
    assert look(switch) is None
    assert [*tmp_path.iterdir()] == []


def test_all_who_look_at_the_folder_see_it(tmp_path: Path) -> None:
    mine, other = Switch(tmp_path), Switch(tmp_path)
    stop(mine)
    assert str(other.stopped) == SAID
    assert [one.name for one in tmp_path.iterdir()] == [STOP_FILE]
    other.resume()
    assert mine.stopped is None


@given(content=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_file_it_stops(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STOP_FILE).write_bytes(content)
    switch = Switch(tmp_path)
    assert switch.stopped is not None
    stop(switch)
    assert (tmp_path / STOP_FILE).read_bytes() == content
    assert switch.resume() is not None
    assert switch.stopped is None


@pytest.mark.parametrize(
    "content",
    [b"", b"maintenance\n", b"null", b"[]", b'{"by": 1}', b'{"at": "soon"}', b"\xff\xfe", b"[" * 100_000, b"\0" * 5000,
     b'{"a":' + b"[" * 4090, b'{"reason":' * 400],
)  # fmt: skip
def test_what_a_hand_or_a_broken_disk_left_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STOP_FILE).write_bytes(content)
    found = Switch(tmp_path).stopped
    assert found is not None
    assert found.since is None
    assert str(found).startswith("trading is stopped")


def test_what_cannot_be_read_stops_too_and_stays(tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).mkdir()
    switch = Switch(tmp_path)
    assert str(switch.stopped) == f"trading is stopped: {tmp_path / STOP_FILE} cannot be read: Is a directory"
    with pytest.raises(SwitchStuck, match=r"STOP-TRADING cannot be removed \(.+\): trading stays stopped; remove it"):
        switch.resume()
    assert switch.stopped is not None


@given(by=st.text(max_size=CAPS["by"]), reason=st.text(max_size=CAPS["reason"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_said_is_read_again(tmp_path: Path, by: str, reason: str) -> None:
    switch = Switch(tmp_path)
    assert stop(switch, by, reason) == Switch(tmp_path).stopped
    switch.resume()


@pytest.mark.parametrize("character", ['"', "\\", "\x01", "𝄞"])
def test_the_longest_reasons_fit(tmp_path: Path, character: str) -> None:
    said = {name: character * most for name, most in CAPS.items()}
    assert stop(Switch(tmp_path), **said) == Switch(tmp_path).stopped


# ---- a stop while somebody resumes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("stopped_before", [True, False])
def test_a_stop_since_the_mark_is_not_ended(tmp_path: Path, kept: bool, stopped_before: bool) -> None:
    switch = Switch(tmp_path if kept else None)
    if stopped_before:
        stop(switch)
    mark = switch.mark()
    assert switch.mark() == mark
    stop(switch, "other", "fire")
    told = SAID if stopped_before else "trading is stopped since 2026-03-02T12:00:00.000Z by other: fire"
    with pytest.raises(SwitchStuck) as stuck:
        switch.resume(mark)
    assert str(stuck.value) == f"somebody stopped it meanwhile: {told}; ask them, then resume again"
    assert str(look(switch)) == told
    assert switch.resume(switch.mark()) is not None
    assert look(switch) is None
    assert [*tmp_path.iterdir()] == []


def by_hand(folder: Path) -> None:
    file = folder / STOP_FILE
    file.unlink()
    file.touch()


@pytest.mark.parametrize("again", [lambda folder: stop(Switch(folder)), by_hand], ids=["command", "by-hand"])
def test_a_stop_of_another_process_is_not_ended(tmp_path: Path, again: Callable[[Path], object]) -> None:
    """However fast it comes after the first: nothing here waits for a clock to move on."""
    switch = Switch(tmp_path)
    for _ in range(20):
        stop(Switch(tmp_path))
        mark = switch.mark()
        again(tmp_path)
        with pytest.raises(SwitchStuck, match="somebody stopped it meanwhile"):
            switch.resume(mark)
        assert look(switch) is not None
        switch.resume()


def test_what_somebody_else_let_go_on_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    mine = Switch(tmp_path)
    stop(mine)
    mark = mine.mark()
    Switch(tmp_path).resume()
    assert mine.resume(mark) is None


def test_a_link_to_a_file_and_one_to_nothing(tmp_path: Path) -> None:
    """A mark follows the link; what leads nowhere stops nothing, and goes."""
    (tmp_path / "told").touch()
    (tmp_path / STOP_FILE).symlink_to(tmp_path / "told")
    switch = Switch(tmp_path)
    mark = switch.mark()
    stop(Switch(tmp_path))
    with pytest.raises(SwitchStuck, match="meanwhile"):
        switch.resume(mark)
    (tmp_path / "told").unlink()
    assert switch.resume(switch.mark()) is None
    assert [*tmp_path.iterdir()] == []


PULLED = """
import sys
from pathlib import Path
from flowrunner.orders import Switch
switch, told = Switch(Path(sys.argv[1])), 0
print("ready", flush=True)
for line in sys.stdin:
    switch.stop(by="desk", reason="storm", now=1772452800 * 10**9)
    print("stopped", flush=True)
"""


def test_a_stop_at_the_same_moment_as_a_resume(tmp_path: Path) -> None:
    """Whoever is first: when a stop has been told, and the resume that began before it is over, it is stopped."""
    switch = Switch(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", PULLED, tmp_path], env=environment(), cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        for round_ in range(60):
            stop(switch)
            mark = switch.mark()
            other.stdin.write("go\n")
            other.stdin.flush()
            for _ in range(round_ * 250):  # so that the two meet at every place
                pass
            with suppress(SwitchStuck):
                switch.resume(mark)
            assert other.stdout.readline() == "stopped\n"
            assert look(switch) is not None
            switch.resume()
        other.stdin.close()
    assert [*tmp_path.iterdir()] == []


# ---- a file that cannot be made ------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_made_stops_this_process_and_says_so(tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).symlink_to(tmp_path / "away" / "nothing")  # root, too, cannot write there
    switch = Switch(tmp_path)
    with pytest.raises(SwitchStuck, match=r"stopped in this process, but .+ \(No such file.+\): after a restart"):
        stop(switch)
    assert str(switch.stopped) == SAID
    assert Switch(tmp_path).stopped is None
    with pytest.raises(SwitchStuck):
        stop(switch, "other", "again")
    (tmp_path / STOP_FILE).unlink()
    assert str(stop(switch, "other", "at last")) == SAID, "it is stopped since the first time"
    assert str(Switch(tmp_path).stopped) == SAID


def test_resuming_ends_what_only_this_process_knew(tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).symlink_to(tmp_path / "away" / "nothing")
    switch = Switch(tmp_path)
    with pytest.raises(SwitchStuck):
        stop(switch)
    assert str(switch.resume()) == SAID
    assert switch.stopped is None


FULL = """
import resource, sys
from pathlib import Path
from flowrunner.orders import Switch
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
print(Switch(Path(sys.argv[1])).stop(by="risk desk", reason="storm", now=1772452800 * 10**9))
"""


def test_on_a_full_disk_it_is_stopped_and_only_why_is_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], env=environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{SAID}\n"
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [(STOP_FILE, b"")]
    assert str(Switch(tmp_path).stopped) == f"trading is stopped: there is a file {tmp_path / STOP_FILE}"


MANY = """
import sys
from pathlib import Path
from flowrunner.orders import Switch
sys.stdin.readline()
for round in range(20):
    Switch(Path(sys.argv[1])).stop(by=sys.argv[2], reason="storm " * 50, now=1772452800 * 10**9)
"""


def test_many_at_once(tmp_path: Path) -> None:
    """From the first moment on nobody sees it gone, and what is in the file in the end is what one of them said."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, tmp_path, f"desk {number}"], env=environment(), cwd=ROOT, stdin=subprocess.PIPE
        )
        for number in range(4)
    ]
    for one in writers:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.close()
    switch, seen = Switch(tmp_path), 0
    while any(one.poll() is None for one in writers):
        found = switch.stopped
        assert found is not None or not seen
        seen += found is not None
    assert [one.wait() for one in writers] == [0] * 4
    assert seen
    assert switch.stopped is not None
    assert switch.stopped.by in {f"desk {number}" for number in range(4)}
    assert [one.name for one in tmp_path.iterdir()] == [STOP_FILE]


# ---- an engine's trading -------------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def trading(store: Store) -> Trading:
    return Trading(store)


def steps(trading: Trading) -> list[tuple[bool, str, str]]:
    """Oldest first."""
    return [(one.stopped, one.by, one.reason) for one in trading.journal.switch_steps()[::-1]]


@pytest.mark.anyio
async def test_a_stop_comes_before_all_that_is_held_against_a_market(trading: Trading) -> None:
    hold = Refusal("clock-drift", "the exchange's clock is away")
    assert trading.refusal("AT") is None
    trading.hold("site/exchange", "AT", hold)
    assert (trading.refusal("AT"), trading.refusal("DE")) == (hold, None)
    stop(trading.switch)
    assert trading.refusal("AT") == trading.refusal("DE") == Refusal("trading-stopped", SAID)
    trading.switch.resume()
    trading.release("site/exchange")
    trading.release("site/exchange")
    assert trading.refusal("AT") is None


@pytest.mark.anyio
async def test_each_change_is_kept_once(trading: Trading, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flowrunner.trading")
    await trading.look(NOW)
    assert steps(trading) == []
    (tmp_path / STOP_FILE).touch()
    for _ in range(3):
        await trading.look(NOW)
    (tmp_path / STOP_FILE).unlink()
    await trading.look(NOW + MINUTE)
    assert caplog.messages == [
        f"trading is stopped: there is a file {tmp_path / STOP_FILE}; `flowrunner resume-trading` lets it go on",
        "trading goes on",
    ]
    assert steps(trading) == [(True, "", f"there is a file {tmp_path / STOP_FILE}"), (False, "", "")]


@pytest.mark.anyio
async def test_a_persons_word_lets_it_go_on(trading: Trading, store: Store, tmp_path: Path) -> None:
    stop(trading.switch)
    await trading.look(NOW)
    await Trading(store).look(NOW)  # as after a restart
    before = await trading.resume(by="risk desk", reason="over", now=NOW + MINUTE)
    assert str(before) == SAID
    await trading.look(NOW + MINUTE)
    assert steps(trading) == [(True, "risk desk", "storm"), (False, "risk desk", "over")]
    assert not (tmp_path / STOP_FILE).exists()


@pytest.mark.anyio
async def test_where_the_file_stays_the_journal_says_so_again(trading: Trading, tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).mkdir()
    await trading.look(NOW)
    with pytest.raises(SwitchStuck):
        await trading.resume(by="risk desk", reason="over", now=NOW + MINUTE)
    assert trading.refusal("AT") is not None
    await trading.look(NOW + MINUTE)
    assert [one[0] for one in steps(trading)] == [True, False, True]


@pytest.mark.anyio
async def test_live_orders_on_a_new_journal_wait_for_a_person(trading: Trading) -> None:
    await trading.begin(NOW, None)
    assert trading.refusal("AT") is None
    await trading.begin(NOW, ["AT"])
    refusal = trading.refusal("AT")
    assert refusal is not None
    assert "by flowrunner: live orders with a journal that has never seen any" in refusal.text
    await trading.begin(NOW, ["AT"])
    assert trading.refusal("AT") == refusal, "a restart does not let it go on"
    await trading.resume(by="risk desk", reason="compared", now=NOW)
    await trading.begin(NOW, ["AT"])
    assert trading.refusal("AT") is None
    assert [one[:2] for one in steps(trading)] == [(True, "flowrunner"), (False, "risk desk")]


@pytest.mark.anyio
async def test_resuming_settles_a_clock_that_was_wrong(trading: Trading) -> None:
    await trading.journal.decide(lambda book: book.see(NOW + 1000 * MINUTE))
    await trading.resume(by="risk desk", reason="the clock was wrong", now=NOW)
    assert await trading.journal.decide(lambda book: book.latest()) == 0
