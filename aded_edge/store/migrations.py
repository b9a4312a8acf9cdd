"""The schema of the store, as numbered migration steps.

Knows tables and columns. Does not know how a file is opened, nor what its rows mean to others.

A new step gets the next number and a name that says what it adds. Never change the SQL of a
released step: existing files were made with it.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database, Migrations

from .tokens import SYMBOLS
from .word_index import fill

APPLICATION_ID = 0x61646564
"""`PRAGMA application_id` of a store ("aded"): distinguishes it from other programs' databases."""

MIGRATIONS = Migrations("aded-edge")

_Step = Callable[[Database], None]

_NOW = "(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))"

NAMES: list[str] = []
"""The names of all steps, oldest first."""


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
    # AUTOINCREMENT: an id must never be used again, or `ModelParts.replace` could delete a part
    # that its caller has not read. `place`: position of a sum among the parts, if not its own id.
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
    # Not WITHOUT ROWID: large blobs would be stored in the pages of the index.
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
    # Texts that a model was taught on purpose. Their content identifies them; each counts once.
    db.execute(f"""
        CREATE TABLE learned_texts (
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            sha256 TEXT NOT NULL,
            path TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW},
            PRIMARY KEY (model, sha256)
        ) WITHOUT ROWID""")


@_step("0003_conversations")
def _conversations(db: Database) -> None:
    # The four functions below are this step: their SQL must not change either.
    _conversations_and_messages(db)
    _memories(db)
    _notes(db)
    _sources_of_parts(db)


@_step("0004_proofs")
def _proofs(db: Database) -> None:
    # Which widths give the bits of width 1. No foreign key: like a cost curve, a proof belongs to
    # a model on a machine under settings, all of which its key stands for.
    db.execute(f"""
        CREATE TABLE proofs (
            key TEXT PRIMARY KEY NOT NULL,
            proof TEXT NOT NULL,
            conditions TEXT NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW},
            updated TEXT NOT NULL DEFAULT {_NOW}
        )""")


@_step("0005_search")
def _search(db: Database) -> None:
    # The indexes hold tokens (tokens.py), and text of their own to be able to delete them. No
    # trigger adds rows: it would need a function of Python, which other tools do not have.
    for table, column in (("messages", "content"), ("memories", "text"), ("passages", "text")):
        for trigger in ("ai", "ad", "au"):
            db.execute(f"DROP TRIGGER {table}_{trigger}")
        db.execute(f"DROP TABLE {table}_fts")
        db.execute(f"""
            CREATE VIRTUAL TABLE {table}_fts USING fts5(
                {column}, tokenize="ascii tokenchars '{SYMBOLS}'"
            )""")
        old = f"DELETE FROM {table}_fts WHERE rowid = old.id"
        db.execute(f"CREATE TRIGGER {table}_ad AFTER DELETE ON {table} BEGIN {old}; END")
        db.execute(
            f"CREATE TRIGGER {table}_au AFTER UPDATE OF {column} ON {table} BEGIN {old}; END"
        )
        fill(db.conn, table, column)


def _conversations_and_messages(db: Database) -> None:
    # `uid` identifies a conversation in every store, so that an exported one is recognised.
    # `summary` replaces the first `summarized` messages in the model's context.
    db.execute(f"""
        CREATE TABLE conversations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            uid TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL,
            model TEXT NOT NULL,
            persona TEXT,
            system TEXT NOT NULL DEFAULT '',
            summary TEXT NOT NULL DEFAULT '',
            summarized INTEGER NOT NULL DEFAULT 0,
            created TEXT NOT NULL DEFAULT {_NOW},
            updated TEXT NOT NULL DEFAULT {_NOW}
        )""")
    db.execute("CREATE INDEX conversations_by_update ON conversations(updated, id)")
    # AUTOINCREMENT: messages are ordered by id, so the id of an undone message must not be reused.
    db.execute(f"""
        CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation INTEGER NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            content TEXT NOT NULL,
            given TEXT,
            cut TEXT,
            model TEXT,
            tokens INTEGER NOT NULL DEFAULT 0,
            stats TEXT,
            sources TEXT,
            created TEXT NOT NULL DEFAULT {_NOW}
        )""")
    db.execute("CREATE INDEX messages_by_conversation ON messages(conversation, id)")
    db.execute("CREATE INDEX messages_by_time ON messages(created)")
    _searchable(db, "messages", "content")


def _memories(db: Database) -> None:
    db.execute(f"""
        CREATE TABLE memories (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            text TEXT NOT NULL UNIQUE,
            created TEXT NOT NULL DEFAULT {_NOW}
        )""")
    _searchable(db, "memories", "text")


def _notes(db: Database) -> None:
    # `note_roots`: files and folders that the user added. `documents`: the files found in them.
    db.execute(f"""
        CREATE TABLE note_roots (
            path TEXT PRIMARY KEY NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW}
        ) WITHOUT ROWID""")
    db.execute(f"""
        CREATE TABLE documents (
            id INTEGER PRIMARY KEY,
            path TEXT NOT NULL UNIQUE,
            sha256 TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            mtime INTEGER NOT NULL,
            created TEXT NOT NULL DEFAULT {_NOW}
        )""")
    db.execute("""
        CREATE TABLE passages (
            id INTEGER PRIMARY KEY,
            document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
            line INTEGER NOT NULL,
            text TEXT NOT NULL
        )""")
    db.execute("CREATE INDEX passages_by_document ON passages(document)")
    _searchable(db, "passages", "text")


def _sources_of_parts(db: Database) -> None:
    # A part that was learned in a conversation can be deleted with it, until it is folded into a
    # sum of parts. `folded_sources`: conversations whose parts were folded.
    db.execute("ALTER TABLE parts ADD COLUMN source TEXT")
    db.execute("CREATE INDEX parts_by_source ON parts(source) WHERE source IS NOT NULL")
    db.execute("""
        CREATE TABLE folded_sources (
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            source TEXT NOT NULL,
            PRIMARY KEY (model, source)
        ) WITHOUT ROWID""")


def _searchable(db: Database, table: str, column: str) -> None:
    # Not sqlite-utils' enable_fts: its script would commit the migration's transaction.
    index = f"{table}_fts"
    db.execute(f"""
        CREATE VIRTUAL TABLE {index} USING fts5(
            {column}, content='{table}', content_rowid='id',
            tokenize='porter unicode61 remove_diacritics 2'
        )""")
    new = f"INSERT INTO {index}(rowid, {column}) VALUES (new.id, new.{column})"
    old = f"INSERT INTO {index}({index}, rowid, {column}) VALUES ('delete', old.id, old.{column})"
    db.execute(f"CREATE TRIGGER {table}_ai AFTER INSERT ON {table} BEGIN {new}; END")
    db.execute(f"CREATE TRIGGER {table}_ad AFTER DELETE ON {table} BEGIN {old}; END")
    db.execute(
        f"CREATE TRIGGER {table}_au AFTER UPDATE OF {column} ON {table} BEGIN {old}; {new}; END"
    )
