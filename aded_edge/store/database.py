"""One SQLite file: opening it, transactions on it, and its faults as StoreError.

Knows paths, locks, WAL, the version of the schema and how SQLite reports a fault. Does not know
what the tables hold.

A file that cannot be used is never overwritten, moved or deleted.
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

from aded_edge import private
from aded_edge.errors import StoreError

from . import open_files
from .migrations import APPLICATION_ID, MIGRATIONS, NAMES

JOURNAL_BYTES = 4 << 20
"""SQLite truncates a larger write-ahead log after its content was moved into the file."""

_OPENINGS = 5
"""So often a file is opened that others replace at the same time."""

IN_MEMORY = Path(":memory:")
"""Opens a database in memory, which is lost when its connection is closed."""

# Recognised by SQLite's wording, because Python 3.10 does not expose error codes. The first match
# counts. (sign in the message, cause, remedy)
_FAULTS = (
    ("not a database", "is not a SQLite database", "it was left as it is: give another path"),
    ("locked", "is locked by another process", "try again when that process has finished"),
    ("readonly", "is read-only", "make the file and its folder writable, or give another path"),
    ("is full", "cannot grow: the disk is full", "free some space"),
    ("unable to open", "cannot be opened", "check that it exists and that you may use its folder"),
    ("disk i/o", "cannot be read or written", "check the disk"),
    ("closed", "was closed already", "open the store again"),
)
# UnicodeDecodeError: Python cannot decode SQLite's message if it quotes a damaged schema.
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
    """The StoreError for an error of SQLite: the file, the cause and the remedy."""
    text = " ".join(str(error).split())  # one line, even if SQLite quotes a schema
    if any(sign in text.lower() for sign in _DAMAGED):
        return StoreError(
            f"{path} is damaged ({text}); it was not repaired: move it away to start a new one"
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
    """An open store file. Any thread may use it, one transaction at a time.

    Args:
        path: the file; it and its folders are created unless `read_only`.
        read_only: change nothing.
        busy_timeout: seconds to wait for a lock that another process holds.

    Attributes:
        path: the file.
        read_only: as given, or True because the file or its folder is not writable.
        warnings: damaged rows that were ignored, in words for the user.
        generation: counts how often the file was replaced by another one; numbers of rows hold
            only within one generation.

    Raises:
        StoreError: the file cannot be used; the message names the cause and the remedy.
    """

    def __init__(self, path: Path, *, read_only: bool = False, busy_timeout: float = 5.0) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.generation = 0
        self.identity: open_files.Identity | None = None
        self.lock = threading.Lock()
        self._asked_read_only = self.read_only = read_only
        self._busy_timeout = busy_timeout
        self._conn: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._closed = False
        if path != IN_MEMORY:
            open_files.add(self)
        try:
            with self.lock:
                self.connect()
        except BaseException:
            open_files.remove(self)
            raise

    def connect(self) -> None:
        """Open the connection, if it is not open; the caller holds the lock."""
        if self._conn is not None or self._closed:
            return
        for _ in range(_OPENINGS):
            if self._open():
                return
        raise fault(self.path, sqlite3.OperationalError("unable to open: replaced while opened"))

    def _open(self) -> bool:
        """Open the connection; False if the file was removed or replaced meanwhile."""
        path, asked = self.path, self._asked_read_only
        exists = path == IN_MEMORY or _look_at(path, create=not asked)
        # access() also detects read-only mounts, where not even root may write.
        writable = (
            path == IN_MEMORY
            or not exists
            or all(os.access(p, os.W_OK) for p in (path, path.parent))
        )
        self.read_only = asked or not writable
        mode = ("rw" if asked else "rwc") if writable else _unwritable_mode(path)
        if not asked and path != IN_MEMORY:
            _make_private(path, exists)
        before = open_files.identify(path)
        with _in_words(path):
            conn = _connect(path, mode, self._busy_timeout)
            try:
                # SQLite opens the log by its name, and only now: it could be that of another file.
                same = open_files.identify(path).file == before.file
                if same:
                    opened = self._prepare(conn)
                    found = open_files.identify(path)
                    same = opened.file == before.file and found.continues(opened)
            except BaseException as error:
                conn.close()
                gone = open_files.identify(path).file != before.file
                if gone and isinstance(error, (*_ERRORS, StoreError)):
                    return False
                raise
        if not same:
            conn.close()
            return False
        self._conn, self._pid = conn, os.getpid()
        if path != IN_MEMORY:
            if self.identity is not None and self.identity.file != found.file:
                self.generation += 1
            self.identity = found
        return True

    def disconnect(self, *, checkpoint: bool) -> None:
        """Close the connection; with `checkpoint`, first move the log into the database."""
        conn, self._conn = self._conn, None
        if conn is None:
            return
        if checkpoint:
            with suppress(sqlite3.Error):
                conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        conn.close()

    def renewed(self) -> None:
        """Note that numbers of rows that were read before do not hold any more."""
        self.generation += 1
        self.identity = None

    def _prepare(self, conn: sqlite3.Connection) -> open_files.Identity:
        """Check and migrate the file; return the identity of its log as soon as that is open."""
        self.db = sqlite_utils.Database(conn, recursive_triggers=False, execute_plugins=False)
        # One transaction, because another process may be creating the file at the same time.
        with _inside(conn, "BEGIN"):
            _check_owner(conn, self.path)
            _check_schema(self.db, self.path)
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.execute("PRAGMA secure_delete = ON")  # overwrite deleted content
        conn.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        if self.read_only:
            conn.execute("PRAGMA query_only = ON")
        else:
            _use_wal(conn, self._busy_timeout)
        conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
        opened = open_files.identify(self.path)
        if MIGRATIONS.pending(self.db):
            if self.read_only:
                raise StoreError(
                    f"{self.path} was made by an older aded-edge and is read-only: make it "
                    "writable once, so that it can be brought up to date"
                )
            # Lock first: another process may be migrating the same file at the same time.
            with _inside(conn, "BEGIN IMMEDIATE"):
                MIGRATIONS.apply(self.db)
        return opened

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that sees one state of the file, even while others write.

        Raises:
            StoreError: SQLite reported a fault.
        """
        with self._transaction("BEGIN") as conn:
            yield conn

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that takes effect completely, or not at all.

        Raises:
            StoreError: the file is read-only, or SQLite reported a fault.
        """
        if self.read_only:
            raise fault(self.path, sqlite3.OperationalError("opened as a readonly database"))
        # IMMEDIATE takes the write lock at once. A transaction that reads first cannot wait for the
        # lock later: SQLite fails at once if another process wrote meanwhile.
        with self._transaction("BEGIN IMMEDIATE") as conn:
            yield conn

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        if open_files.changed(self):
            open_files.renew(self.path)
        with self.lock, _in_words(self.path):
            if self._conn is not None and self._pid != os.getpid() and self.path != IN_MEMORY:
                raise StoreError(
                    f"{self.path} was in use while this process was forked: open it again here"
                )
            self.connect()
            if self._conn is None:
                raise sqlite3.ProgrammingError("closed")
            with _inside(self._conn, begin):
                yield self._conn

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the file and empty it, unless a reader still needs it.

        Returns:
            Whether the log is empty now.
        """
        # A failure loses nothing: the log keeps its content, and the next checkpoint tries again.
        with self.lock, suppress(sqlite3.Error):
            if self._conn is not None:
                return _empty_log(self._conn)
        return False

    def scrub(self) -> bool:
        """Write the file anew, without remnants of what was deleted, and empty the log.

        secure_delete overwrites deleted rows, but not the copies that SQLite leaves behind in a
        page when it moves rows to another page.

        Returns:
            False if the file or its log may still hold remnants, because another process uses it.
        """
        with self.lock, suppress(sqlite3.Error):
            if self._conn is not None:
                self._conn.execute("VACUUM")
                return _empty_log(self._conn)
        return False

    def warn(self, text: str) -> None:
        """Add a warning about a fault that was ignored, unless it was added before."""
        if text not in self.warnings:
            self.warnings.append(text)

    def close(self) -> None:
        """Close the file after the running transaction. Closing twice is no error."""
        open_files.remove(self)
        with self.lock:
            self._closed = True
            if self._pid == os.getpid():  # a connection of the parent is not even closed here
                self.disconnect(checkpoint=False)


@contextmanager
def _inside(conn: sqlite3.Connection, begin: str) -> Iterator[None]:
    """A transaction; it is rolled back unless it ends without an exception."""
    try:
        conn.execute(begin)
        yield
        conn.execute("COMMIT")
    finally:
        # The failure may already have ended the transaction, or closed the connection.
        with suppress(sqlite3.Error):
            if conn.in_transaction:
                conn.execute("ROLLBACK")


def _empty_log(conn: sqlite3.Connection) -> bool:
    (busy, *_) = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _make_private(path: Path, exists: bool) -> None:
    try:
        open_files.make(path)
    except OSError as error:
        if not exists:
            raise fault(
                path, sqlite3.OperationalError(f"unable to open: {error.strerror}")
            ) from error


def _look_at(path: Path, *, create: bool) -> bool:
    """Return whether the file exists; with `create`, create the folders above it."""
    try:
        if path.is_dir():
            raise StoreError(f"{path} is a folder; give the path of a file inside it")
        if path.exists() and not path.is_file():
            raise StoreError(f"{path} is not a regular file; give another path")
        if create:
            private.make_folder(path.parent)
        return path.exists()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be reached or created ({error.strerror or error}); give a path in a "
            "folder that you may write to"
        ) from error


def _unwritable_mode(path: Path) -> str:
    # A reader of a database in WAL mode creates files beside it. That is impossible in a read-only
    # folder, and elsewhere the files would stay behind. `immutable` avoids them; it is safe if
    # there is no -wal file, because then no process has the database open for writing.
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
    # A new file has at most one page. More pages without a table mean a damaged file.
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
    # SQLite does not wait for a lock here: two processes that switch a new file to WAL at the same
    # time can get "locked" at once.
    deadline = time.monotonic() + seconds
    while True:
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
