"""A disk that is full, read-only, locked or changed by others while a chat goes on.

In each case an assistant asks before, while and after something is wrong. What must hold: no
traceback; every question is answered; what could not be written is written later; and what was
there before stays.

Knows what happens to a disk. Does not know what a store's tables mean.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from aded_edge.store import Store
from tests.faults.children import Journal, fork
from tests.faults.damage import build, judge, use
from tests.faults.scenes import check_sound, expect, store_in
from tests.faults.talk import open_assistant

Case = Callable[[Path, Path], None]
"""(model, empty folder): makes the fault; raises Violation if something does not hold."""

_FULL_BYTES = 2 << 20
_QUESTIONS = 3
_WAIT = 0.2  # seconds that a store waits for a lock here


def cases(moved: bool) -> dict[str, Case]:
    """All cases by their names.

    Args:
        moved: also those in which the store is replaced or removed while it is open.
    """
    found: dict[str, Case] = {
        "full disk": full_disk,
        "file size limit": size_limit,
        "read-only file": partial(read_only, 0o444, 0o755),
        "read-only folder": partial(read_only, 0o444, 0o555),
        "locked": locked,
        "removed WAL": partial(_changed, _remove_wal, False),
    }
    if moved:
        found["removed folder"] = partial(_changed, shutil.rmtree, True)
        found["replaced store"] = partial(_changed, _replace, True)
    return found


def full_disk(model: Path, folder: Path) -> None:
    """The disk is full for some questions; a small tmpfs if one may be mounted, else nothing."""
    with _tmpfs(folder) as place:
        if place is not None:
            filler = place / "filler"
            _chat(model, place, folder, partial(_fill, filler), filler.unlink)
            _expect_warning(folder)


def size_limit(model: Path, folder: Path) -> None:
    """No file may grow for some questions (RLIMIT_FSIZE)."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def begin() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, most))

    def end() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    _chat(model, folder, folder, begin, end)
    _expect_warning(folder)


def locked(model: Path, folder: Path) -> None:
    """Another process holds the store's lock for longer than a chat waits for it."""
    flag = folder / "hold"

    def hold(journal: Journal) -> None:
        while not flag.exists():
            time.sleep(0.01)
        with closing(sqlite3.connect(store_in(folder), timeout=60)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            journal(holds=True)
            while flag.exists():
                time.sleep(0.01)

    holder = fork(hold, folder / "holder")

    def begin() -> None:
        flag.touch()
        holder_notes = folder / "holder.journal"
        while not holder_notes.exists() or not holder_notes.read_bytes():
            time.sleep(0.01)

    try:
        _chat(model, folder, folder, begin, flag.unlink)
    finally:
        flag.unlink(missing_ok=True)
        holder.kill()
    _expect_warning(folder)


def read_only(mode: int, folder_mode: int, model: Path, folder: Path) -> None:
    """The file, or its folder too, may not be written; the commands run as nobody if as root."""
    base, place = folder / "base", folder / "store"
    base.mkdir()
    build(model, base)
    place.mkdir()
    shutil.copy(store_in(base), store_in(place))
    (folder / "user").mkdir()
    store_in(place).chmod(mode)
    for above in (folder, folder.parent):
        above.chmod(0o711)
    place.chmod(folder_mode)
    before = store_in(place).read_bytes()
    child = use(model, place, base, user=folder / "user", log=folder / "use", as_nobody=True)
    place.chmod(0o755)
    judge(child, store_in(place), before, f"mode {mode:o}")
    expect(store_in(place).read_bytes() == before, "a read-only store was changed")


def _changed(change: Callable[[Path], object], kept: bool, model: Path, folder: Path) -> None:
    """Something happens to the files while they are open.

    Args:
        change: does it; is given the folder of the store.
        kept: everything said afterwards must be on the disk.
        model, folder: as in every case.
    """
    place = folder / "data"
    place.mkdir()
    _chat(model, place, folder, partial(change, place), lambda: None, kept)


def _chat(
    model: Path,
    place: Path,
    log: Path,
    begin: Callable[[], object],
    end: Callable[[], object],
    kept: bool = True,
) -> None:
    """Ask before, while and after a fault, in a child; then check what is on the disk.

    Args:
        model: the tiny model's file.
        place: folder of the store.
        log: folder of the child's journal and output.
        begin, end: make the fault, and mend it; called in the child.
        kept: everything that was said must be on the disk.
    """

    def ask(journal: Journal) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        Store.open.__func__.__kwdefaults__["busy_timeout"] = _WAIT  # type: ignore[attr-defined]
        with open_assistant(model, place) as assistant:
            for number in range(3 * _QUESTIONS):
                if number == _QUESTIONS:
                    assistant.llama.wait_for_store()
                    begin()
                if number == 2 * _QUESTIONS:
                    end()
                list(assistant.ask(f"question {number}"))
                expect(len(assistant.messages) == 2 * number + 2, "no answer")
            said = [[message.role, message.content] for message in assistant.messages]
            uid = assistant.conversation.uid
        journal(uid=uid, said=said)

    child = fork(ask, log / "chat")
    child.wait()
    child.check(0)
    entry = child.entries()[-1]
    if not store_in(place).exists():
        expect(not kept, "the store is gone")
        return
    check_sound(store_in(place))
    with Store.open(store_in(place)) as store:
        about = store.conversations.by_uid(entry["uid"])
        found = [] if about is None else store.conversations.messages(about)
    texts = [[message.role, message.content] for message in found]
    same = texts == entry["said"]
    expect(same or not kept, f"of {len(entry['said'])} messages {len(texts)} are kept")


def _expect_warning(log: Path) -> None:
    said = (log / "chat.said").read_text(encoding="utf-8")
    expect("going on without" in said, f"the fault made no difference: {said}")


@contextmanager
def _tmpfs(folder: Path) -> Iterator[Path | None]:
    place = folder / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_FULL_BYTES}", "tmpfs", str(place)]
    may = sys.platform == "linux" and os.geteuid() == 0
    if not may or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _remove_wal(folder: Path) -> None:
    for name in ("-wal", "-shm"):
        store_in(folder).with_name(store_in(folder).name + name).unlink(missing_ok=True)


def _replace(folder: Path) -> None:
    path = store_in(folder)
    with Store.open(folder / "other.db") as other:
        other.memories.add("of another store")
    _remove_wal(folder)
    os.replace(folder / "other.db", path)
