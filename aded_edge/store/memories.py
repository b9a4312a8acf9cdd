"""Memories: short texts that the user asked to remember.

Knows their rows, and how to remove their text from the messages that a model was given. Does not
know when a model is given a memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .database import StoreFile
from .forgetting import Deleted, clear
from .full_text import any_of
from .messages import storable
from .word_index import fill, rarest


@dataclass(frozen=True)
class Memory:
    """A text that the user asked to remember.

    Attributes:
        id: its number.
        text: the text.
        created: when it was added, UTC.
    """

    id: int
    text: str
    created: str


class Memories:
    """All memories of a store. Every method raises StoreError if SQLite reports a fault.

    Args:
        file: the open store.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def add(self, text: str) -> Memory:
        """Add a memory; return the existing one if the text is remembered already."""
        text = storable(text)
        with self._file.writing() as conn:
            conn.execute("INSERT INTO memories (text) VALUES (?) ON CONFLICT DO NOTHING", (text,))
            fill(conn, "memories", "text")
            return Memory(*conn.execute(f"{_MEMORIES} WHERE text = ?", (text,)).fetchone())

    def remove(self, number: int) -> Deleted | None:
        """Delete a memory, also from the messages in which a model was given it.

        The same words in what the user typed stay: they belong to the conversation.

        Returns:
            What is left of it, and the conversations since it was added. None if there is no memory
            with this number.
        """
        with self._file.writing() as conn:
            row = conn.execute(_GIVEN, (number,)).fetchone()
            if row is None:
                return None
            # It may have been part of every context since it was added. So summaries written since,
            # and what the matrix learned since, may hold it.
            since = conn.execute(_SINCE, (number,)).fetchall()
            given = clear(conn, {id for (id,) in since})
            conn.execute("DELETE FROM memories WHERE id = ?", (number,))
            conn.execute(_UNGIVE, (*row, *row))
            # FTS5 keeps deleted words in its index until the index's segments are merged.
            conn.execute("INSERT INTO memories_fts(memories_fts) VALUES ('optimize')")
        return Deleted(given, any(one.merged for one in given), not self._file.scrub())

    def all(self) -> list[Memory]:
        """All memories, oldest first."""
        with self._file.reading() as conn:
            return [Memory(*row) for row in conn.execute(f"{_MEMORIES} ORDER BY id")]

    def match(self, words: Sequence[str], limit: int) -> list[Memory]:
        """Find memories that contain one of the words (`full_text.terms`), best first (BM25)."""
        with self._file.reading() as conn:
            query = any_of(rarest(conn, "memories", words))
            rows = conn.execute(_MATCH, (query, limit)) if query else ()
            return [Memory(*row) for row in rows]


_MEMORIES = "SELECT id, text, created FROM memories"

# The line by which a model was given a memory; `assistant.recall.Recalled.__str__` writes it.
_GIVEN = """
    SELECT '[remembered, ' || substr(created, 1, 10) || '] ' || text || char(10)
    FROM memories WHERE id = ?"""

_UNGIVE = """
    UPDATE messages SET given = replace(given, ?, '(forgotten)' || char(10))
    WHERE given IS NOT NULL AND instr(given, ?) > 0"""

_SINCE = """
    SELECT id FROM conversations
    WHERE updated >= (SELECT created FROM memories WHERE id = ?)"""

_MATCH = """
    SELECT m.id, m.text, m.created FROM memories_fts JOIN memories AS m ON m.id = memories_fts.rowid
    WHERE memories_fts MATCH ? ORDER BY memories_fts.rank LIMIT ?"""
