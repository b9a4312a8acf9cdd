"""Notes: documents cut into passages, found by their words.

Knows rows of documents, passages and the places that they came from. Does not know files, nor
how a text is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .database import StoreFile


@dataclass(frozen=True)
class Document:
    """A file as it was when it was last read.

    Attributes:
        path: absolute.
        sha256: hex digest of its bytes.
        bytes: its size.
        mtime: nanoseconds of its last change.
    """

    path: str
    sha256: str
    bytes: int
    mtime: int


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    Attributes:
        path: of the document.
        line: its first line, counted from 1.
        text: the piece.
    """

    path: str
    line: int
    text: str


class Notes:
    """All documents of a store. Every method raises StoreError where SQLite reports a fault.

    Args:
        file: the open store.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def add_root(self, path: str) -> None:
        """Notes a file or folder that stays searchable."""
        with self._file.writing() as conn:
            conn.execute("INSERT INTO note_roots (path) VALUES (?) ON CONFLICT DO NOTHING", (path,))

    def roots(self) -> list[str]:
        """All of them, by name."""
        with self._file.reading() as conn:
            return [path for (path,) in conn.execute("SELECT path FROM note_roots ORDER BY path")]

    def remove_root(self, path: str) -> bool:
        """Takes a place back; its documents go with the next refresh. False if it is unknown."""
        with self._file.writing() as conn:
            return bool(conn.execute("DELETE FROM note_roots WHERE path = ?", (path,)).rowcount)

    def documents(self) -> dict[str, Document]:
        """All documents by their paths."""
        with self._file.reading() as conn:
            rows = conn.execute("SELECT path, sha256, bytes, mtime FROM documents ORDER BY path")
            return {row[0]: Document(*row) for row in rows}

    def put(self, document: Document, passages: Sequence[tuple[int, str]] | None) -> None:
        """Keeps a document in the place of an earlier state of it.

        Args:
            document: the new state.
            passages: first line and text of each piece; None if the text is what it was.
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

    def remove(self, paths: Sequence[str]) -> None:
        """Forgets documents."""
        with self._file.writing() as conn:
            conn.executemany("DELETE FROM documents WHERE path = ?", [(path,) for path in paths])

    def match(self, query: str, limit: int) -> list[Passage]:
        """Passages that a query of FTS5 finds, best first (BM25); "" finds nothing."""
        if not query:
            return []
        with self._file.reading() as conn:
            return [Passage(*row) for row in conn.execute(_MATCH, (query, limit))]


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
