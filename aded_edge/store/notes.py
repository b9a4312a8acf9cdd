"""Notes: the user's documents, cut into passages that are found by their words.

Knows the rows of documents, of passages and of roots (the files and folders that the user added).
Does not read files, nor know how a text is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .database import StoreFile
from .forgetting import Deleted, forget_text
from .full_text import all_of, any_of
from .messages import storable
from .tokens import phrases
from .word_index import fill, rarest


@dataclass(frozen=True)
class Document:
    """A file in the state in which it was last read.

    Attributes:
        path: absolute path.
        sha256: SHA-256 of its bytes, in hexadecimal.
        bytes: its size in bytes.
        mtime: time of its last change, in nanoseconds since 1970.
    """

    path: str
    sha256: str
    bytes: int
    mtime: int


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    Attributes:
        path: path of the document.
        line: number of its first line, counted from 1.
        text: its text.
    """

    path: str
    line: int
    text: str


class Notes:
    """All documents of a store. Every method raises StoreError if SQLite reports a fault.

    Args:
        file: the open store.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def add_root(self, path: str) -> None:
        """Add a file or folder whose documents are to be searched."""
        with self._file.writing() as conn:
            conn.execute("INSERT INTO note_roots (path) VALUES (?) ON CONFLICT DO NOTHING", (path,))

    def roots(self) -> list[str]:
        """All added files and folders, sorted."""
        with self._file.reading() as conn:
            return [path for (path,) in conn.execute("SELECT path FROM note_roots ORDER BY path")]

    def remove_root(self, path: str) -> bool:
        """Remove an added file or folder; return False if it was not added.

        Its documents stay until `documents.refresh` runs the next time.
        """
        with self._file.writing() as conn:
            return bool(conn.execute("DELETE FROM note_roots WHERE path = ?", (path,)).rowcount)

    def documents(self) -> dict[str, Document]:
        """All documents, by path."""
        with self._file.reading() as conn:
            rows = conn.execute("SELECT path, sha256, bytes, mtime FROM documents ORDER BY path")
            return {row[0]: Document(*row) for row in rows}

    def put(self, document: Document, passages: Sequence[tuple[int, str]] | None) -> None:
        """Save a document; it replaces an earlier state of the same path.

        Args:
            document: the new state.
            passages: (first line, text) of each passage; None keeps the passages of the earlier
                state, for a file whose content did not change.
        """
        with self._file.writing() as conn:
            values = (document.path, document.sha256, document.bytes, document.mtime)
            (number,) = conn.execute(_PUT, values).fetchone()
            if passages is not None:
                conn.execute("DELETE FROM passages WHERE document = ?", (number,))
                rows = [(number, line, text) for line, text in passages]
                conn.executemany(
                    "INSERT INTO passages (document, line, text) VALUES (?, ?, ?)", rows
                )
                fill(conn, "passages", "text")

    def remove(self, paths: Sequence[str]) -> None:
        """Delete documents and their passages; what conversations were given of them stays."""
        with self._file.writing() as conn:
            conn.executemany("DELETE FROM documents WHERE path = ?", [(path,) for path in paths])

    def forget(self, paths: Sequence[str]) -> Deleted:
        """Delete documents, also from what conversations were given."""
        with self._file.writing() as conn:
            conn.executemany("DELETE FROM documents WHERE path = ?", [(path,) for path in paths])
            # The form in which a model was given a passage: `assistant.recall.Recalled.__str__`.
            given = forget_text(conn, [f"[file, {path}:" for path in paths])
            # FTS5 keeps deleted words in its index until the index's segments are merged.
            conn.execute("INSERT INTO passages_fts(passages_fts) VALUES ('optimize')")
        return Deleted(given, any(one.merged for one in given), not self._file.scrub())

    def search(self, text: str, limit: int) -> list[Passage]:
        """Find passages that contain every word of a text or its beginning, best first (BM25).

        Punctuation alone must occur as it is.
        """
        text = storable(text).strip()
        query = all_of(phrases(text))
        with self._file.reading() as conn:
            values = (query, limit) if query else (text, text, limit)
            return [Passage(*row) for row in conn.execute(_MATCH if query else _LITERAL, values)]

    def match(self, words: Sequence[str], limit: int) -> list[Passage]:
        """Find passages that contain one of the words (`full_text.terms`), best first (BM25)."""
        with self._file.reading() as conn:
            query = any_of(rarest(conn, "passages", words))
            rows = conn.execute(_MATCH, (query, limit)) if query else ()
            return [Passage(*row) for row in rows]


_PUT = """
    INSERT INTO documents (path, sha256, bytes, mtime) VALUES (?, ?, ?, ?)
    ON CONFLICT (path) DO UPDATE SET
        sha256 = excluded.sha256, bytes = excluded.bytes, mtime = excluded.mtime
    RETURNING id"""

_MATCH = """
    SELECT d.path, p.line, p.text
    FROM passages_fts
    JOIN passages AS p ON p.id = passages_fts.rowid
    JOIN documents AS d ON d.id = p.document
    WHERE passages_fts MATCH ? ORDER BY passages_fts.rank LIMIT ?"""

_LITERAL = """
    SELECT d.path, p.line, p.text FROM passages AS p JOIN documents AS d ON d.id = p.document
    WHERE ? != '' AND instr(p.text, ?) LIMIT ?"""
