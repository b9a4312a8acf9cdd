"""Memories: short texts that the user wants remembered.

Knows rows of texts. Does not know to whom they are given.
"""

from __future__ import annotations

from dataclasses import dataclass

from .conversations import storable
from .database import StoreFile


@dataclass(frozen=True)
class MemoryNote:
    """A memory.

    Attributes:
        id: its number.
        text: what is remembered.
        created: since when, UTC.
    """

    id: int
    text: str
    created: str


class Memories:
    """All memories of a store. Every method raises StoreError where SQLite reports a fault.

    Args:
        file: the open store.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def add(self, text: str) -> MemoryNote:
        """Remembers a text; one that is remembered already is not doubled."""
        text = storable(text)
        with self._file.writing() as conn:
            conn.execute("INSERT INTO memories (text) VALUES (?) ON CONFLICT DO NOTHING", (text,))
            return MemoryNote(*conn.execute(f"{_MEMORIES} WHERE text = ?", (text,)).fetchone())

    def remove(self, number: int) -> bool:
        """Forgets a memory, also where models were given it; False if there is none.

        What the user himself said in a conversation is that conversation's.
        """
        with self._file.writing() as conn:
            row = conn.execute(_GIVEN, (number,)).fetchone()
            if row is not None:
                conn.execute("DELETE FROM memories WHERE id = ?", (number,))
                conn.execute(_UNGIVE, (*row, *row))
                # Until its pieces are merged the index holds the words of what was deleted.
                conn.execute("INSERT INTO memories_fts(memories_fts) VALUES ('optimize')")
        self._file.checkpoint()  # what was forgotten shall not stay in the log
        return row is not None

    def all(self) -> list[MemoryNote]:
        """All of them, oldest first."""
        with self._file.reading() as conn:
            return [MemoryNote(*row) for row in conn.execute(f"{_MEMORIES} ORDER BY id")]

    def match(self, query: str, limit: int) -> list[MemoryNote]:
        """Those that a query of FTS5 finds, best first (BM25); "" finds nothing."""
        if not query:
            return []
        with self._file.reading() as conn:
            return [MemoryNote(*row) for row in conn.execute(_MATCH, (query, limit))]


_MEMORIES = "SELECT id, text, created FROM memories"

# The line in which a model was given it, as `recall` writes it.
_GIVEN = """
    SELECT '[remembered, ' || substr(created, 1, 10) || '] ' || text || char(10)
    FROM memories WHERE id = ?"""

_UNGIVE = """
    UPDATE messages SET given = replace(given, ?, '(forgotten)' || char(10))
    WHERE given IS NOT NULL AND instr(given, ?) > 0"""

_MATCH = """
    SELECT m.id, m.text, m.created FROM memories_fts JOIN memories AS m ON m.id = memories_fts.rowid
    WHERE memories_fts MATCH ? ORDER BY memories_fts.rank LIMIT ?"""
