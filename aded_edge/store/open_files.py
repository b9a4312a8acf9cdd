"""The store files that this process has open: replaced ones are noticed, and a fork is survived.

SQLite goes on writing into a file that was moved or deleted, and into a write-ahead log that was
deleted. What is written then is lost. So every transaction first compares the files at the path
with those that were opened. If they differ, all connections of this process to that path are closed
and opened again together, because SQLite shares its locks between the connections of a process.

A connection must not be used in a child that `os.fork` made, not even be closed there. So all are
closed before a fork; parent and child open their own.

Knows files, their identities and locks. Does not know SQL.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from aded_edge import private

log = logging.getLogger("aded_edge")

SETTLE_SECONDS = 0.1
"""After a removal was noticed, the files are made anew only so much later: `rm` removes one file
after the other by its name, and would remove the log of the new file."""

FORK_SECONDS = 10.0
"""A fork waits this long for a running transaction."""

_Node = tuple[int, int]


class Identity(NamedTuple):
    """Device and inode of a store's files; None for one that does not exist.

    Attributes:
        file, wal, shm: the database, its write-ahead log, and the index of that log.
    """

    file: _Node | None
    wal: _Node | None
    shm: _Node | None

    def continues(self, earlier: Identity) -> bool:
        """Whether these are the same files; a log may have been made since."""
        return all(old in (None, now) for old, now in zip(earlier, self, strict=True))


class OpenFile(Protocol):
    """A store file as this module sees it."""

    path: Path
    lock: threading.Lock
    identity: Identity | None

    def connect(self) -> None:
        """Open the connection, if it is not open."""

    def disconnect(self, *, checkpoint: bool) -> None:
        """Close the connection; with `checkpoint`, first move the log into the database."""

    def renewed(self) -> None:
        """Note that what was read from the file before does not hold any more."""


def identify(path: Path) -> Identity:
    """The identity of the files at a path."""
    real = os.path.realpath(path)  # SQLite names the log after the file that a link leads to
    return Identity(*(_node(real + suffix) for suffix in ("", "-wal", "-shm")))


def make(path: Path) -> None:
    """Make an empty private file, or tighten the one that exists and its log.

    Raises:
        OSError: it cannot be made.
    """
    # SQLite gives the log and its index the mode of the database. The gate: closing a descriptor
    # of a file drops all locks that this process has on it, so no other thread may open it yet.
    with _gate:
        private.make_file(path)
    for suffix in ("-wal", "-shm"):
        private.tighten(Path(os.path.realpath(path) + suffix))


def add(file: OpenFile) -> None:
    """Watch a file from now on. Files of the same path that were replaced are opened again."""
    renew(file.path)
    with _gate:
        _files.add(file)


def remove(file: OpenFile) -> None:
    """Watch a file no longer."""
    with _gate:
        _files.discard(file)


def changed(file: OpenFile) -> bool:
    """Whether the files at the path are no longer those that were opened."""
    return file.identity is not None and identify(file.path) != file.identity


def renew(path: Path) -> None:
    """Open all files of a path again, if they were removed or replaced; says so in one line.

    Raises:
        StoreError: the file that is there now cannot be used.
    """
    with _gate, ExitStack() as stack:
        same = [file for file in _files if file.path == path]
        if not any(map(changed, same)):
            return
        for file in same:
            stack.enter_context(file.lock)
        old = next((file.identity for file in same if changed(file)), None)
        if old is None:
            return
        if identify(path).file != old.file:
            _remove_old_log(path, old)
        time.sleep(SETTLE_SECONDS)
        now = identify(path)
        # A log or index of the same database that others made: the log may be newer, and the locks
        # are not shared, so this process must not write into the database any more.
        alone = now.wal in (None, old.wal) and now.shm in (None, old.shm)
        safe = now.file != old.file or alone
        for file in same:
            file.disconnect(checkpoint=safe)
        for file in same:
            file.renewed()
        log.warning("%s", _told(path, old, now))
        for file in same:
            file.connect()


def _remove_old_log(path: Path, old: Identity) -> None:
    """Remove the log of the file that was here: SQLite would take it for that of the new one.

    The old files must be open still: once they are closed, the log of a new store, which another
    process makes, may get the same inode.
    """
    real = os.path.realpath(path)
    for suffix, node in (("-wal", old.wal), ("-shm", old.shm)):
        if node is not None and _node(real + suffix) == node:
            with suppress(OSError):
                os.unlink(real + suffix)


def _told(path: Path, old: Identity, now: Identity) -> str:
    if now.file is None:
        return f"{path} was removed while it was in use: a new file is made in its place"
    if now.file != old.file:
        return f"{path} was replaced while it was in use: the new file is used from now on"
    return f"the write-ahead log of {path} was removed while it was in use: it is made anew"


def _node(path: str) -> _Node | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


_gate = threading.RLock()
_files: weakref.WeakSet[OpenFile] = weakref.WeakSet()
_held: list[OpenFile] = []


def _before_fork() -> None:
    _gate.acquire()
    for file in list(_files):
        # A thread that forks in the middle of a transaction must not wait for itself.
        if file.lock.acquire(timeout=FORK_SECONDS):
            _held.append(file)
            with suppress(Exception):
                file.disconnect(checkpoint=False)


def _after_fork_in_parent() -> None:
    for file in _held:
        # At once: while no process has the file open, its inode could be given to another one.
        with suppress(Exception):
            file.connect()
        file.lock.release()
    _held.clear()
    _gate.release()


def _after_fork_in_child() -> None:
    global _gate
    _gate = threading.RLock()
    for file in list(_files):
        file.lock = threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
