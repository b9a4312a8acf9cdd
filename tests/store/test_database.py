"""Files that cannot be used, or only read: the error names cause and remedy, the file stays."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from aded_edge.errors import StoreError
from aded_edge.store import ModelParts, Store, default_store_path
from tests.store.samples import in_child, joined, ledger, numbers


def filled(path: Path, parts: int = 5) -> bytes:
    """Create a store, close it, and return its bytes."""
    with Store.open(path) as store:
        for number in range(parts):
            store.model("f", "name").add(ledger(number, 300))
    return path.read_bytes()


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def assert_refused(path: Path, *said: str, **options: float) -> None:
    """Check that opening fails with these words and the path in one line, and changes no file."""
    before = files_in(path.parent)
    with pytest.raises(StoreError) as caught:
        Store.open(path, **options)  # type: ignore[arg-type]
    for words in (str(path), *said):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_in(path.parent) == before


def test_folders_and_file_are_made(path: Path) -> None:
    with Store.open(path) as store:
        assert path.is_file()
        assert store.path == path
        assert not store.read_only
        with store._file.reading() as conn:
            assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert conn.execute("PRAGMA foreign_keys").fetchone() == (1,)
            assert conn.execute("PRAGMA synchronous").fetchone() == (1,)
    assert os.listdir(path.parent) == [path.name]


def test_default_path_is_in_the_users_data_folder() -> None:
    path = default_store_path()
    assert path.is_absolute()
    assert path.parts[-2:] == ("aded-edge", "store.db")


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store.open(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="was closed already"):
        store.model("f", "name").load()


def test_a_failed_transaction_leaves_nothing(model: ModelParts, store: Store) -> None:
    model.add(ledger(1))

    def interrupted() -> None:
        with store._file.writing() as conn:
            conn.execute("DELETE FROM parts")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert numbers(model.load()[0]) == [1]


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    filled(path)


# One byte is left out: SQLite treats such a file as empty.
@pytest.mark.parametrize("size", [2, 10, 99, 512, 4096, 100_000])
def test_random_bytes(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(random.Random(size).randbytes(size))
    assert_refused(path, "is not a SQLite database", "give another path")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated(path: Path, share: float) -> None:
    content = filled(path)
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path, "is damaged", "it was not repaired", "move it away")


def test_tables_gone(path: Path) -> None:
    content = bytearray(filled(path))
    content[103:105] = b"\0\0"  # number of rows on the first page: the schema looks empty
    path.write_bytes(content)
    assert_refused(path, "is damaged")


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_never_crashes(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray(filled(path))
    # Half of the damage hits the schema and the roots of the tables.
    end = len(content) if seed % 2 else 4096
    for _ in range(rng.choice([1, 3, 30])):
        content[rng.randrange(end)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    # Any damage must become a StoreError or a warning.
    with suppress(StoreError), Store.open(path) as store:
        model = store.model("f", "name")
        loaded, ids = model.load()
        store.load_costs("key")
        model.add(ledger(9))
        if loaded:
            model.replace(ids, joined(loaded))


def test_another_programs_database(path: Path) -> None:
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    assert_refused(path, "is a database of another program", "give another path")


def test_a_folder(path: Path) -> None:
    path.mkdir(parents=True)
    assert_refused(path, "is a folder", "give the path of a file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_no_regular_file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(StoreError, match="is not a regular file"):
        Store.open(path)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be reached or created"):
        Store.open(tmp_path / "file" / "store.db")


def test_disk_full(model: ModelParts, store: Store, path: Path) -> None:
    model.add(ledger(1))
    with store._file.reading() as conn:
        (pages,) = conn.execute("PRAGMA page_count").fetchone()
    store._file.db.execute(f"PRAGMA max_page_count = {pages + 5}")
    for write in (model.add, lambda large: model.replace([], large)):
        with pytest.raises(StoreError) as caught:
            write(ledger(2, 50_000))
        assert str(path) in str(caught.value)
        assert "the disk is full" in str(caught.value)
    store._file.db.execute("PRAGMA max_page_count = 1000000")
    model.add(ledger(3))
    assert numbers(model.load()[0]) == [1, 3]


def test_opened_read_only(path: Path) -> None:
    filled(path, 2)
    before = files_in(path.parent)
    with Store.open(path, read_only=True) as store:
        assert_loads_but_refuses_writing(store)
    assert files_in(path.parent) == before


def test_read_only_makes_nothing(path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be opened .* check that it exists"):
        Store.open(path, read_only=True)
    assert not path.parent.exists()


def assert_loads_but_refuses_writing(store: Store) -> None:
    assert store.read_only
    model = store.model("f", "name")
    loaded, ids = model.load()
    assert numbers(loaded) == [0, 1]
    assert store.load_costs("key") is None
    writes: list[Callable[[], object]] = [
        lambda: model.add(ledger(2)),
        lambda: model.replace(ids, joined(loaded)),
        lambda: store.save_costs("key", {1: 0.1}, {}),
    ]
    for write in writes:
        with pytest.raises(StoreError, match=r"is read-only .* make the file and its folder writ"):
            write()


def unprivileged(action: Callable[[], None]) -> None:
    """Run an action in a process that obeys permissions, even if the tests run as root."""

    def as_nobody() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        action()

    in_child(as_nobody)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("file_mode", "folder_mode"), [(0o444, 0o555), (0o444, 0o777), (0o666, 0o555)]
)
def test_without_permission_to_write(file_mode: int, folder_mode: int) -> None:
    # Not tmp_path: only its owner may enter that folder.
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "store.db"
        filled(path, 2)
        path.chmod(file_mode)
        folder.chmod(folder_mode)

        def use() -> None:
            with Store.open(path) as store:
                assert_loads_but_refuses_writing(store)
            if folder_mode == 0o555:
                with pytest.raises(StoreError, match="cannot be opened"):
                    Store.open(folder / "new.db")
                with pytest.raises(StoreError, match="cannot be reached or created"):
                    Store.open(folder / "new" / "store.db")

        before = files_in(folder)
        unprivileged(use)
        assert files_in(folder) == before
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_new_file_is_made_by_many_at_once(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def use(path: Path, number: int, barrier: threading.Barrier) -> None:
        barrier.wait()
        try:
            with Store.open(path, busy_timeout=60) as store:
                store.model("f", "name").add(ledger(number))
        except StoreError as error:
            failures.append(error)

    for attempt in range(15):
        path, barrier = tmp_path / f"{attempt}.db", threading.Barrier(6)
        threads = [threading.Thread(target=use, args=(path, n, barrier)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Store.open(path) as store:
            assert sorted(numbers(store.model("f", "name").load()[0])) == list(range(6))
    assert failures == []
