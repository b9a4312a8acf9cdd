"""A store that cannot be used never stops an answer, and one line says so."""

import contextlib
import logging
import os
import sqlite3

import pytest

from aded_edge.store import Part, Store
from tests.runtime.helpers import ASKED, take


def not_a_database(path):
    path.write_bytes(b"no database at all " * 500)


def another_programs(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (thing TEXT)")
        database.commit()


def from_the_future(path):
    with Store.open(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('aded-edge', '9999_from_the_future', 'now')"
        )
        database.commit()


def read_only(path):
    with Store.open(path):
        pass


def cut_short(path):
    with Store.open(path) as store:
        store.model("fingerprint", "name").add(Part.empty())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def a_folder(path):
    path.mkdir()


BAD_STORES = [not_a_database, another_programs, from_the_future, read_only, cut_short, a_folder]


@pytest.mark.parametrize("make", BAD_STORES)
def test_a_bad_store_never_stops_an_answer(
    load_tiny, tiny_truth, tmp_path, caplog, monkeypatch, make
):
    path = tmp_path / "store.db"
    make(path)
    if make is read_only:  # simulated, because root may write to any file
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: mode != os.W_OK and real(p, mode))
    before = path.read_bytes() if path.is_file() else None
    with caplog.at_level(logging.WARNING, "aded_edge"), load_tiny(store=path) as llama:
        for _ in range(2):
            assert take(llama, ASKED, 20) == tiny_truth(ASKED, 20)
    assert_told_once(caplog, path)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("where", ["/proc/aded-edge/store.db", "/dev/full", "/dev/null/store"])
def test_a_store_that_cannot_be_made_never_stops_an_answer(load_tiny, tiny_truth, caplog, where):
    with caplog.at_level(logging.WARNING, "aded_edge"), load_tiny(store=where) as llama:
        assert take(llama, ASKED, 6) == tiny_truth(ASKED, 6)
    assert_told_once(caplog, where)


def assert_told_once(caplog, path):
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_store_that_breaks_while_it_is_used_never_stops_an_answer(
    load_tiny, tiny_truth, tmp_path, caplog
):
    path = tmp_path / "store.db"
    with caplog.at_level(logging.WARNING, "aded_edge"), load_tiny(store=path) as llama:
        take(llama, ASKED, 6)
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
            database.executescript("DROP TABLE arrays; DROP TABLE parts;")
        for _ in range(3):
            assert take(llama, ASKED, 20) == tiny_truth(ASKED, 20)
    assert str(path) in caplog.text
    assert len(caplog.records) <= 2
