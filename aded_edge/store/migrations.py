"""The schema of the matrix store, as numbered steps that are only ever added to.

Knows tables and columns. Does not know how a file is opened, nor what its rows mean to others.

A new step gets the next number and a name that says what it brings. A step that was released is
never changed: files made with it exist.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database, Migrations

APPLICATION_ID = 0x61646564
"""`PRAGMA application_id` of a matrix store ("aded"): tells it from other programs' files."""

MIGRATIONS = Migrations("aded-edge")

_Step = Callable[[Database], None]

_NOW = "(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))"


NAMES: list[str] = []
"""Every step that this version knows, oldest first."""


def _step(name: str) -> Callable[[_Step], _Step]:
    NAMES.append(name)
    return MIGRATIONS(name=name)


@_step("0001_matrix_and_costs")
def _matrix_and_costs(db: Database) -> None:
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"""
        CREATE TABLE models (
            id INTEGER PRIMARY KEY,
            fingerprint TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW}
        )""")
    # AUTOINCREMENT: an id must never come back, or `replace` could delete a part that the
    # caller has not seen. `place`: where a sum stands among the parts, if not at its own id.
    db.execute(f"""
        CREATE TABLE parts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            place INTEGER,
            contexts INTEGER NOT NULL,
            successors INTEGER NOT NULL,
            tokens INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW}
        )""")
    db.execute("CREATE INDEX parts_by_model ON parts(model)")
    # Not WITHOUT ROWID: large blobs would sit inside the index's own pages.
    db.execute("""
        CREATE TABLE arrays (
            part INTEGER NOT NULL REFERENCES parts(id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            piece INTEGER NOT NULL,
            dtype TEXT NOT NULL,
            crc32 INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (part, name, piece)
        )""")
    db.execute(f"""
        CREATE TABLE cost_curves (
            key TEXT PRIMARY KEY NOT NULL,
            curve TEXT NOT NULL,
            conditions TEXT NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW},
            updated TEXT NOT NULL DEFAULT {_NOW}
        )""")


@_step("0002_learned_texts")
def _learned_texts(db: Database) -> None:
    # Which texts were fed to a model on purpose, by their content: each counts once.
    db.execute(f"""
        CREATE TABLE learned_texts (
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            sha256 TEXT NOT NULL,
            path TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW},
            PRIMARY KEY (model, sha256)
        ) WITHOUT ROWID""")
