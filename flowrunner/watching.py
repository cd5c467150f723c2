"""Watching files by their content, in a thread: woken by the system's file events, and once a second without any.

Not every folder has events (a folder that a container shares with its host, a network drive), and none tells whether
a file's content is another one, or whether it is all there yet. So an event, and every second the file's state, only
say when to look; what is told are new contents that nobody writes at any more.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import watchfiles

from flowrunner.errors import UsageError
from flowrunner.files import flow_files
from flowrunner.reading import read_regular
from flowrunner.registry import node_files

LOOK_S = 1.0
"""Between two looks at the files where no event comes."""
STEP_MS = 50
"""The library looks this often whether there were events."""
SETTLE_S = 0.05
"""A file that has not changed for so long is taken."""
SUSPICIOUS_S = 0.5
"""The same where a file is away, or shorter than before and written in place: somebody may be in the middle of it."""
FRESH_S = 3.0
"""So long after a change contents are compared whatever the files' times say: some count in whole seconds."""
REPAIR_S = 60.0
"""Events that cannot be had are asked for again after so many seconds."""
CLOSE_S = 2.0
log = logging.getLogger("flowrunner.watch")


class State(NamedTuple):
    """What the system says of a file; another one where anything was done to it."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class Watch:
    """Watches flow files, folders of them, folders of node files, and further ``files`` that need not exist.

    What is told is every content that differs from the one before, beginning with what there was when this was made.
    """

    def __init__(
        self,
        flows: Sequence[Path],
        *,
        nodes: Sequence[Path] = (),
        files: Sequence[Path] = (),
        look_s: float = LOOK_S,
    ) -> None:
        """``look_s``: seconds between two looks where no event comes."""
        self._look_s = look_s
        self._flows, self._nodes, self._more = tuple(flows), tuple(nodes), tuple(files)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._tell: Callable[[], object] = lambda: None
        self._events: Generator[set[tuple[watchfiles.Change, str]], None, None] | None = None
        self._listens_at: Mapping[Path, tuple[int, int]] = {}
        self._repair_at = 0.0
        self._states = self._look()
        """As they were when the contents were taken."""
        self._contents = _contents(self._states)
        self._fresh_until = time.monotonic() + FRESH_S

    def start(self, tell: Callable[[], object]) -> None:
        """Begin; ``tell`` is called in the thread after each change."""
        self._tell = tell
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nothing is told any more when this returns. Safe to repeat, and before ``start``."""
        self._stop.set()
        self._tell = lambda: None
        if self._thread is not None:
            self._thread.join(CLOSE_S)  # a drive that does not answer holds nobody up

    # ---- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failed = False
        while not self._stop.is_set():
            try:
                self._turn()
                failed = False
            except Exception as error:  # whatever it is: the files are looked at again, as long as the program runs
                if not failed:
                    log.exception("watching the files failed (%r); they are looked at again every second", error)
                failed = True
                self._stop.wait(self._look_s)
        self._let_go()

    def _turn(self) -> None:
        heard = self._wait()
        if not self._stop.is_set() and self.changed(heard):
            self._tell()

    def changed(self, heard: bool = True) -> bool:
        """Take what is new and whole; whether it differs from before. Waits while somebody writes.

        ``heard``: there was an event; without one unchanged times and sizes are believed.
        """
        states = self._look()
        now = time.monotonic()
        if states != self._states:
            self._fresh_until = now + FRESH_S
        elif not heard and now >= self._fresh_until:
            return False
        states = self._settled(states)
        if self._stop.is_set():
            return False
        contents = _contents(states)
        if self._look() != states:
            return False  # it was written at while it was read: `_states` differs, so the next turn comes here again
        self._states = states
        known, self._contents = self._contents, contents
        return contents != known

    def _settled(self, states: Mapping[Path, State | None]) -> Mapping[Path, State | None]:
        """The files' states when nobody writes at them any more."""
        if states == self._states:
            return states
        since = time.monotonic()
        while not self._stop.wait(SETTLE_S / 5):
            now, before = time.monotonic(), states
            states = self._look()
            if states != before:
                since = now
            elif now - since >= (SUSPICIOUS_S if self._is_suspicious(states) else SETTLE_S):
                break
        return states

    def _is_suspicious(self, states: Mapping[Path, State | None]) -> bool:
        """Whether a file looks as in the middle of being saved."""
        for path, before in self._states.items():
            after = states.get(path)
            if before is not None and (after is None or (after[:2] == before[:2] and after.size < before.size)):
                return True
        return False

    # ---- what is looked at --------------------------------------------------------------------------------------

    def _files(self) -> Iterable[Path]:
        for path in self._flows:
            try:
                yield from flow_files([path])
            except (UsageError, OSError):
                yield path
        for folder in self._nodes:
            yield from node_files(folder)
        yield from self._more

    def _look(self) -> Mapping[Path, State | None]:
        return {path: _state(path) for path in self._files()}

    def _places(self) -> Mapping[Path, tuple[int, int]]:
        """The folders whose events count, each with its identity: one that is made anew is another one.

        Those of the files as they are called and as they are: a link may be put elsewhere, what it leads to saved.
        """
        folders: dict[Path, None] = {}
        for path in [*self._flows, *self._nodes, *self._more]:
            absolute = path.absolute()
            real = _real(absolute)
            folders |= dict.fromkeys((absolute.parent, _real(absolute.parent), real.parent))
            if real.is_dir():
                folders[real] = None
                linked = (one for one in self._states if one.parent == path and one.is_symlink())
                folders |= dict.fromkeys(_real(one).parent for one in linked)
        found = {folder: _state(folder) for folder in folders if folder.is_dir()}
        return {folder: (state.device, state.inode) for folder, state in found.items() if state is not None}

    # ---- events -------------------------------------------------------------------------------------------------

    def _wait(self) -> bool:
        """Until the next event or the next look; whether one of the files is among the events."""
        self._listen()
        if self._events is None:
            self._stop.wait(self._look_s)
            return False
        try:
            found = next(self._events, None)
        except Exception as error:  # no handles left, a folder that went away in this moment, what the library has
            self._deaf(error)
            return False
        if found is None:  # it was told to stop
            self._events = None
            return False
        names = {path.name for path in self._states}
        return any(Path(name).name in names for _, name in found)

    def _listen(self) -> None:
        """Ask for the events of the folders that there are now."""
        places = self._places()
        if places == self._listens_at and (self._events is not None or time.monotonic() < self._repair_at):
            return
        self._let_go()
        self._listens_at = places
        if places:
            self._events = watchfiles.watch(
                *places, watch_filter=None, debounce=STEP_MS, step=STEP_MS, stop_event=self._stop,
                rust_timeout=int(self._look_s * 1000), yield_on_timeout=True, recursive=False,
                ignore_permission_denied=True,
            )  # fmt: skip

    def _deaf(self, error: Exception) -> None:
        self._let_go()
        if self._repair_at == 0.0:
            log.warning("no file events (%s): the files are looked at once a second instead", error)
        self._repair_at = time.monotonic() + REPAIR_S

    def _let_go(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # it knows what to do with links in a circle


def _state(path: Path) -> State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _contents(paths: Iterable[Path]) -> Mapping[Path, bytes | str]:
    """Hashes; why, of what cannot be read."""
    return {path: _content(path) for path in paths}


def _content(path: Path) -> bytes | str:
    try:
        return hashlib.sha256(read_regular(path)).digest()
    except OSError as error:
        return str(error.strerror)
