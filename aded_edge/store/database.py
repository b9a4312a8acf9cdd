"""One SQLite file: opening it with care, transactions on it, and faults in plain words.

Knows paths, locks, WAL, the schema's number and how SQLite reports a fault. Does not know what
the tables hold: `matrix.py` and `costs.py` do.

A file that cannot be used is left exactly as it is: never overwritten, moved or deleted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlite_utils

from aded_edge.errors import StoreError

from .migrations import APPLICATION_ID, MIGRATIONS, NAMES

JOURNAL_BYTES = 4 << 20
"""A write-ahead log that grew beyond this is cut back once its content is in the file."""

IN_MEMORY = Path(":memory:")
"""Stands for no file: what is kept there is gone with the connection."""

# SQLite's own wording decides: Python 3.10 does not tell the error code. First match counts.
_FAULTS = (
    ("not a database", "is not a SQLite database", "it was left as it is: give another path"),
    ("locked", "is locked by another process", "try again when that process has finished"),
    ("readonly", "is read-only", "make the file and its folder writable, or give another path"),
    ("is full", "cannot grow: the disk is full", "free some space"),
    ("unable to open", "cannot be opened", "check that it exists and that you may use its folder"),
    ("disk i/o", "cannot be read or written", "check the disk"),
    ("closed", "was closed already", "open the store again"),
)
# Python fails to decode SQLite's message where it quotes a damaged schema.
_ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError)
_DAMAGED = (
    "malformed",
    "corrupt",
    "could not decode",
    "codec can't",
    "unsupported file",
    "no such ",
)


def fault(path: Path, error: Exception) -> StoreError:
    """Says what an error of SQLite means for the user: file, cause and remedy."""
    text = " ".join(str(error).split())  # one line, even where SQLite quotes a schema
    if any(sign in text.lower() for sign in _DAMAGED):
        return StoreError(
            f"{path} is damaged ({text}); it was left as it is: move it away to start a new one"
        )
    for sign, cause, remedy in _FAULTS:
        if sign in text.lower():
            return StoreError(f"{path} {cause} ({text}); {remedy}")
    return StoreError(f"{path} cannot be used ({text}); give another path")


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        raise fault(path, error) from error


class StoreFile:
    """An open file. Any thread may use it, one transaction at a time.

    Args:
        path: where it lies; folders and file are created unless `read_only`.
        read_only: change nothing. Also set where the file or its folder cannot be written.
        busy_timeout: seconds to wait for a lock that another process holds.

    Attributes:
        warnings: what was found damaged and passed over, in words for the user.

    Raises:
        StoreError: the file cannot be used; the text says why, and what helps.
    """

    def __init__(self, path: Path, *, read_only: bool = False, busy_timeout: float = 5.0) -> None:
        self.path = path
        self.warnings: list[str] = []
        self._lock = threading.Lock()
        exists = _look_at(path, create=not read_only)
        # access() also knows read-only mounts, where root may write no more than others.
        writable = not exists or all(os.access(p, os.W_OK) for p in (path, path.parent))
        self.read_only = read_only or not writable
        mode = ("rw" if read_only else "rwc") if writable else _unwritable_mode(path)
        with _in_words(path):
            self._conn = _connect(path, mode, busy_timeout)
            try:
                self.db = sqlite_utils.Database(
                    self._conn, recursive_triggers=False, execute_plugins=False
                )
                self._prepare(busy_timeout)
            except BaseException:
                self._conn.close()
                raise

    def _prepare(self, busy_timeout: float) -> None:
        # One transaction: another process may be making the file right now.
        with self.reading() as conn:
            _check_owner(conn, self.path)
            _check_schema(self.db, self.path)
        self._conn.execute("PRAGMA foreign_keys = ON")
        self._conn.execute("PRAGMA synchronous = NORMAL")
        self._conn.execute("PRAGMA secure_delete = ON")  # what was deleted is no longer there
        self._conn.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        if self.read_only:
            self._conn.execute("PRAGMA query_only = ON")
        else:
            _use_wal(self._conn, busy_timeout)
        if MIGRATIONS.pending(self.db):
            if self.read_only:
                raise StoreError(
                    f"{self.path} was made by an older aded-edge and is read-only: make it "
                    "writable once, so that it can be brought up to date"
                )
            # The lock first: another process may be migrating the same file right now.
            with self.writing():
                MIGRATIONS.apply(self.db)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the file throughout.

        Raises:
            StoreError: SQLite reported a fault.
        """
        with self._transaction("BEGIN") as conn:
            yield conn

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that takes effect as a whole, or not at all.

        Raises:
            StoreError: the file is read-only, or SQLite reported a fault.
        """
        if self.read_only:
            raise fault(self.path, sqlite3.OperationalError("opened as a readonly database"))
        # IMMEDIATE: a transaction that reads first and then finds itself outrun cannot wait.
        with self._transaction("BEGIN IMMEDIATE") as conn:
            yield conn

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, _in_words(self.path):
            try:
                self._conn.execute(begin)
                yield self._conn
                self._conn.execute("COMMIT")
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        # What failed may have ended the transaction already, or closed the connection.
        with suppress(sqlite3.Error):
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the file and empties it, if no reader is in the way."""
        # Nothing is lost if this fails: the log holds everything, and the next one tries again.
        with self._lock, suppress(sqlite3.Error):
            self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def warn(self, text: str) -> None:
        """Notes a fault that was passed over, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def close(self) -> None:
        """Closes the file, after the transaction that is running. Closing twice is no fault."""
        with self._lock:
            self._conn.close()


def _look_at(path: Path, *, create: bool) -> bool:
    """Whether there is a file; makes its folders if there is none and `create`."""
    try:
        if path.is_dir():
            raise StoreError(f"{path} is a folder; give the path of a file inside it")
        if path.exists() and not path.is_file():
            raise StoreError(f"{path} is not a regular file; give another path")
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path.exists()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be reached or created ({error.strerror or error}); give a path in a "
            "folder that you may write to"
        ) from error


def _unwritable_mode(path: Path) -> str:
    # Even readers of a WAL file write files beside it: impossible in a read-only folder, and
    # elsewhere they would be left behind. Where no -wal file says that somebody is at work, the
    # file may be read as one that does not change.
    return "ro" if path.with_name(path.name + "-wal").exists() else "ro&immutable=1"


def _connect(path: Path, mode: str, busy_timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        ":memory:" if path == IN_MEMORY else f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,  # StoreFile holds the lock
    )


def _check_owner(conn: sqlite3.Connection, path: Path) -> None:
    (owner,) = conn.execute("PRAGMA application_id").fetchone()
    (tables,) = conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (pages,) = conn.execute("PRAGMA page_count").fetchone()
    if owner == APPLICATION_ID and not tables:
        raise fault(path, sqlite3.DatabaseError("no such table: all are gone"))
    # A new file has a header at most. Many pages without a table are not new, but damaged.
    if owner != APPLICATION_ID and (tables or pages > 1):
        raise StoreError(
            f"{path} is a database of another program; it was left as it is: give another path"
        )


def _check_schema(db: sqlite_utils.Database, path: Path) -> None:
    try:
        applied = [str(migration.name) for migration in MIGRATIONS.applied(db)]
    except KeyError as error:
        raise fault(path, sqlite3.DatabaseError(f"no such column: {error}")) from error
    if not set(applied) <= set(NAMES):
        newest, known = (name.partition("_")[0] for name in (max(applied), max(NAMES)))
        raise StoreError(
            f"{path} was made by a newer aded-edge (schema {newest} > {known}); it was left as "
            "it is: update aded-edge"
        )


def _use_wal(conn: sqlite3.Connection, seconds: float) -> None:
    # Two processes that switch a new file at once can get "locked" without any waiting.
    deadline = time.monotonic() + seconds
    while True:
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
