from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlite_utils import Database

from aded_edge.errors import StoreError
from aded_edge.store import Store
from aded_edge.store.migrations import MIGRATIONS, NAMES
from tests.store.samples import ledger, numbers
from tests.store.test_database import assert_refused, files_in


def schema(path: Path) -> list[tuple[str, str]]:
    database = Database(path)
    rows = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    database.close()
    return rows


def made_by(path: Path, version: int) -> None:
    """Create the file that version `version` of the schema created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = Database(path)
    later = NAMES[version:]
    MIGRATIONS.apply(database, stop_before=later[0] if later else None)
    database.close()


def test_steps_are_numbered_without_a_gap() -> None:
    assert [name[:5] for name in NAMES] == [f"{i + 1:04}_" for i in range(len(NAMES))]
    assert all(re.fullmatch(r"\d{4}_[a-z_]+", name) for name in NAMES)
    assert [step.name for step in MIGRATIONS.pending(Database(memory=True))] == NAMES


@pytest.mark.parametrize("version", range(1, len(NAMES) + 1))
def test_every_older_version_is_brought_up_to_date(path: Path, version: int) -> None:
    made_by(path, version)
    with Store.open(path) as store:
        store.model("f", "name").add(ledger(1))
        store.save_costs("key", {1: 0.1}, {})
    with Store.open(path) as store:
        assert numbers(store.model("f", "name").load()[0]) == [1]
    new = path.with_name("new.db")
    Store.open(new).close()
    assert schema(path) == schema(new)


def add_step(path: Path, name: str) -> None:
    Store.open(path).close()
    database = Database(path)
    database.table("_sqlite_migrations").insert(
        {"migration_set": "aded-edge", "name": name, "applied_at": "2030-01-01"}
    )
    database.close()


def test_a_newer_version_is_refused_before_anything_is_written(path: Path) -> None:
    add_step(path, "9999_from_the_future")
    assert_refused(path, "was made by a newer aded-edge", f"9999 > {len(NAMES):04}", "update")


def test_other_sets_of_migrations_do_not_matter(path: Path) -> None:
    Store.open(path).close()
    database = Database(path)
    database.table("_sqlite_migrations").insert(
        {"migration_set": "a plugin", "name": "9999_its_own", "applied_at": "2030-01-01"}
    )
    database.close()
    Store.open(path).close()


def test_an_older_version_that_is_read_only(path: Path) -> None:
    Store.open(path).close()
    database = Database(path)
    database.table("_sqlite_migrations").delete_where()
    database.close()
    before = files_in(path.parent)
    with pytest.raises(StoreError, match="made by an older aded-edge and is read-only"):
        Store.open(path, read_only=True)
    assert files_in(path.parent) == before


def test_a_step_that_fails_leaves_nothing(path: Path) -> None:
    add_step(path, "0000_x")
    database = Database(path)
    database.table("_sqlite_migrations").delete_where()
    database.close()
    # The first step is now pending although its tables are there.
    assert_refused(path, "table models already exists")
