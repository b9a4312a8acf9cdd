"""Store files that are removed or replaced while they are open, and processes that fork."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aded_edge.errors import StoreError
from aded_edge.store import Conversation, Elsewhere, Store, working_copy
from aded_edge.store.database import StoreFile
from aded_edge.store.open_files import Identity
from tests.store.samples import in_child, joined, ledger, numbers
from tests.store.test_conversations import begin, turn
from tests.store.test_processes import start
from tests.store.test_working_copy import Window, on_disk

REMOVALS: dict[str, Callable[[Path], object]] = {
    "the folder is removed": lambda path: shutil.rmtree(path.parent),
    "the folder is moved": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "the file is removed": lambda path: path.unlink(),
    "the file is moved": lambda path: path.rename(path.with_name("old.db")),
    "all files are removed": lambda path: [p.unlink() for p in path.parent.iterdir()],
    "the log is removed": lambda path: path.with_name(path.name + "-wal").unlink(),
    "the index of the log is removed": lambda path: path.with_name(path.name + "-shm").unlink(),
    "log and index are removed": lambda path: [
        path.with_name(path.name + suffix).unlink() for suffix in ("-wal", "-shm")
    ],
}

REMOVED = 4
"""So often a store is removed while several processes write."""


@pytest.fixture
def window(store: Store) -> Window:
    """A conversation of two turns."""
    window = Window(store, store.begin(Conversation(0, "u1", "one", "m")))
    window.ask("one")
    window.ask("two")
    return window


def sound(path: Path) -> list[str]:
    """Let another process check the file and read the questions of its newest conversation."""
    code = (
        "import sys; from pathlib import Path; from aded_edge.store import Store\n"
        "with Store.open(Path(sys.argv[1])) as store:\n"
        "    with store._file.reading() as conn:\n"
        "        assert conn.execute('PRAGMA integrity_check').fetchone() == ('ok',)\n"
        "    copy = store.take_up()\n"
        "    print(*[m.content for m in copy.messages if m.role == 'user'], sep='\\n')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.parametrize("removal", REMOVALS)
def test_what_is_removed_is_written_anew(
    window: Window, store: Store, path: Path, caplog: pytest.LogCaptureFixture, removal: str
) -> None:
    other = Store.open(path)  # as the model's own connection to what it learned
    model = other.model("f", "m")
    model.add(ledger(1))
    REMOVALS[removal](path)
    with caplog.at_level(logging.WARNING):
        window.ask("three")
        model.add(ledger(2))
        window.ask("four")
    assert sum("while it was in use" in line for line in caplog.messages) == 1
    assert sound(path) == ["one", "two", "three", "four"] == on_disk(window)[::2]
    found = numbers(Store.open(path).model("f", "m").load()[0])
    assert found == ([1, 2] if "log" in removal else [2])
    window.undo()
    assert sound(path) == ["one", "two", "three"]
    other.close()


@pytest.mark.parametrize("whose", ["a backup", "a longer one", "another store", "another one's"])
def test_what_is_in_its_place_is_continued(
    window: Window, store: Store, path: Path, tmp_path: Path, whose: str
) -> None:
    new = tmp_path / "new.db"
    with Store.open(new) as other:
        if whose in ("a backup", "a longer one"):
            begin(other, "u0", "zero", "ZERO")  # so that the numbers differ
            kept = begin(other, "u1", "one", "ONE")
        if whose == "a longer one":
            other.conversations.add(kept, [*turn("two", "TWO"), *turn("theirs", "THEIRS")])
        if whose == "another one's":
            begin(other, "u9", "zero", "ZERO")
    os.replace(new, path)  # the log of the old file stays
    window.ask("three")
    window.undo()
    window.ask("four")
    theirs = ["theirs"] if whose == "a longer one" else []
    assert on_disk(window, window.conversation.id)[::2] == ["one", "two", *theirs, "four"]
    assert sound(path) == ["one", "two", *theirs, "four"]
    if whose != "another store":
        first = store.conversations.get(1)
        assert first is not None
        assert [m.content for m in store.conversations.messages(first)] == ["zero", "ZERO"]


def test_a_file_that_was_moved_keeps_everything(window: Window, path: Path) -> None:
    path.rename(path.with_name("old.db"))
    window.ask("three")
    assert sound(path.with_name("old.db")) == ["one", "two"]


def test_one_that_cannot_be_used_is_tried_again(window: Window, path: Path) -> None:
    path.unlink()
    path.mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match="is a folder"):
            window.ask("three")
        window.messages = window.messages[:-2]
    path.rmdir()
    window.ask("four")
    assert sound(path) == ["one", "two", "four"]


def test_parts_of_another_file_are_not_folded(store: Store, path: Path) -> None:
    model = store.model("f", "m")
    ids = [model.add(ledger(n)) for n in (1, 2)]
    path.unlink()
    with Store.open(path) as other:
        theirs = other.model("f", "m")
        for number in (3, 4):
            theirs.add(ledger(number))
    assert model.replace([id for id in ids if id is not None], ledger(9)) is None
    parts, ids_now = model.load()
    assert numbers(parts) == [3, 4]
    assert model.replace(ids_now, joined(parts)) is not None


# Not the log: processes that write at the very moment at which it is removed do not see each
# other's locks, and SQLite cannot exclude damage then.
@pytest.mark.parametrize("removal", ["the folder is removed", "all files are removed"])
def test_several_processes_notice_it(path: Path, removal: str) -> None:
    Store.open(path).close()
    talking = [start("talk", path, number) for number in range(3)]
    read = [0] * len(talking)
    for _ in range(REMOVED):
        for number in itertools.cycle(range(len(talking))):
            stdout = talking[number].stdout
            assert stdout is not None
            assert stdout.readline() == "NOTHING\n"
            read[number] += 1
            if min(read) and path.exists():
                break
        with contextlib.suppress(OSError):  # a new file was made in the folder meanwhile
            REMOVALS[removal](path)
    lines = []
    for process in talking:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        # Not communicate(): it ignores the lines that readline() has already buffered.
        lines.append(process.stdout.read().split())
        assert process.wait(120) == 0
        process.stdout.close()
    with Store.open(path) as store:
        for number, more in enumerate(lines):
            found = store.conversations.by_uid(f"{number:032x}")
            assert found is not None
            kept = [m.content for m in store.conversations.messages(found)][::2]
            assert kept == [f"q{2 * n}" for n in range(read[number] + len(more))]
        assert store._file.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_removed_while_it_is_opened_is_opened_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = StoreFile._prepare
    removals = iter([shutil.rmtree])

    def prepared(file: StoreFile, conn: sqlite3.Connection) -> Identity:
        opened = prepare(file, conn)
        for remove in removals:
            remove(path.parent)
            Store.open(path).close()  # another process makes it anew
        return opened

    monkeypatch.setattr(StoreFile, "_prepare", prepared)
    with Store.open(path) as store:
        begin(store, "u1", "one", "ONE")
    assert sound(path) == ["one"]


def test_a_turn_is_written_anew_if_the_file_was_removed_before_its_end(
    window: Window, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = working_copy.insert_messages
    removals = iter([shutil.rmtree])

    def inserted(*values: Any) -> list[int]:
        for remove in removals:
            remove(path.parent)
        return insert(*values)

    monkeypatch.setattr(working_copy, "insert_messages", inserted)
    window.ask("three")
    assert sound(path) == ["one", "two", "three"]
    window.undo()
    assert sound(path) == ["one", "two"]


def test_a_file_that_is_removed_all_the_time_ends_the_write(
    window: Window, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, scrub = working_copy.insert_messages, StoreFile.scrub
    writes = []

    def inserted(*values: Any) -> list[int]:
        writes.append(len(writes))
        if len(writes) < 20:  # so that the test ends even without a bound
            shutil.rmtree(path.parent)
        return insert(*values)

    def scrubbed(file: StoreFile) -> bool:
        return scrub(file) and bool(len(writes) > 1)

    monkeypatch.setattr(working_copy, "insert_messages", inserted)
    monkeypatch.setattr(StoreFile, "scrub", scrubbed)
    window.messages = window.messages[:-2]
    written = window.copy.write(window.conversation, window.messages)
    assert len(writes) == 4
    assert written.remnants  # of the first write, which took back a turn
    assert [m.content for m in written.messages] == ["one", "ONE"]
    monkeypatch.undo()
    window.ask("three")
    assert sound(path) == ["one", "three"]


def test_what_a_repeated_write_found_is_told(
    window: Window, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new.db"
    with Store.open(new) as other:
        kept = begin(other, "u1", "one", "ONE")
        other.conversations.add(kept, [*turn("two", "TWO"), *turn("theirs", "THEIRS")])
    insert = working_copy.insert_messages
    files = iter([new])

    def inserted(*values: Any) -> list[int]:
        for file in files:
            os.replace(file, path)
        return insert(*values)

    monkeypatch.setattr(working_copy, "insert_messages", inserted)
    window.ask("three")
    assert window.elsewhere is Elsewhere.WENT_ON
    assert on_disk(window)[::2] == ["one", "two", "theirs", "three"]


def test_the_log_of_a_new_file_is_not_taken_for_the_old_one(
    window: Window, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The inode of the old log can be given to that of a new file as soon as the old one is closed.
    log = path.with_name(path.name + "-wal")
    path.unlink()
    left = []
    disconnect = StoreFile.disconnect

    def disconnected(file: StoreFile, *, checkpoint: bool) -> None:
        left.append(log.exists())
        disconnect(file, checkpoint=checkpoint)

    monkeypatch.setattr(StoreFile, "disconnect", disconnected)
    window.ask("three")
    assert left == [False]


def test_a_store_opened_beside_a_removed_log_is_sound(window: Window, path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    with Store.open(path) as other:  # in the same process, whose connections share their locks
        begin(other, "u2", "other", "OTHER")
        window.ask("three")
    assert sound(path) == ["other"]  # the newest by its number
    assert on_disk(window)[::2] == ["one", "two", "three"]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
def test_a_child_has_its_own_connection(window: Window, path: Path) -> None:
    in_child(lambda: window.ask("child"))
    window.ask("parent")
    assert sound(path) == ["one", "two", "child", "parent"]


@needs_fork
def test_parent_and_children_write_at_once(store: Store, path: Path) -> None:
    model = store.model("f", "m")

    def write(start: int) -> None:
        for number in range(start, start + 20):
            model.add(ledger(number))

    writing = threading.Thread(target=write, args=(0,))
    writing.start()  # so that the lock is often held while the process forks
    children = []
    for number in range(1, 6):
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            try:
                write(100 * number)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    writing.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
    expected = [100 * i + n for i in range(6) for n in range(20)]
    assert sorted(numbers(model.load()[0])) == expected


@needs_fork
def test_a_child_may_close_what_it_inherited(window: Window, store: Store, path: Path) -> None:
    in_child(store.close)
    window.ask("three")
    assert sound(path) == ["one", "two", "three"]


@needs_fork
def test_a_fork_waits_for_no_lock_of_another_process(window: Window, path: Path) -> None:
    process = start("hold", path, "BEGIN IMMEDIATE")
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    in_child(lambda: None)
    process.stdin.close()
    process.wait(60)
    process.stdout.close()
    window.ask("three")


@needs_fork
def test_a_store_in_memory_is_copied(store: Store) -> None:
    with Store.in_memory() as one:
        begin(one, "u1", "one", "1")

        def use() -> None:
            begin(one, "u2", "two", "2")
            assert one.conversations.count() == 2

        in_child(use)
        assert one.conversations.count() == 1
