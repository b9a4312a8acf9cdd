"""Conversations: kept turn by turn, and found again by their words.

Knows the rows of conversations and messages. Does not know who answers, nor what fits into a
model's context.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .answer_totals import AnswerTotals, totals_by_conversation, totals_by_day
from .database import StoreFile
from .forgetting import Deleted, forget_messages, forget_part
from .full_text import all_of, any_of, excerpt
from .messages import (
    CONVERSATIONS,
    UPDATE,
    Conversation,
    Message,
    fields,
    insert_conversation,
    insert_messages,
    read_messages,
    storable,
)
from .taking_in import Taken, take_in
from .tokens import phrases
from .word_index import rarest

RANKED = 2000
"""A query that matches more messages than this is not ranked by relevance; the newest matches
are returned. Ranking reads every match, which is slow for a word that most messages contain."""


@dataclass(frozen=True)
class Hit:
    """A message that a search found.

    Attributes:
        conversation: number of its conversation.
        title: title of its conversation.
        role: "user" or "assistant".
        content: the whole message.
        snippet: the matching excerpt, in one line.
        created: time of the message, UTC.
    """

    conversation: int
    title: str
    role: str
    content: str
    snippet: str
    created: str


class Conversations:
    """All conversations of a store. Every method raises StoreError if SQLite reports a fault.

    Args:
        file: the open store.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def add(self, conversation: Conversation, messages: Sequence[Message]) -> Conversation:
        """Write a conversation, or append to the one with this uid, all or nothing.

        A conversation that goes on while others may write to it is a `WorkingCopy`.

        Args:
            conversation: its current state, summary included.
            messages: the new messages.

        Returns:
            The conversation as the store has it now.
        """
        with self._file.writing() as conn:
            number = self._keep(conn, conversation)
            insert_messages(conn, number, messages)
            row = conn.execute(f"{CONVERSATIONS} WHERE c.id = ?", (number,)).fetchone()
        return Conversation(*row)

    def take_in(self, conversation: Conversation, messages: Sequence[Message]) -> Taken:
        """Import a conversation: nothing that the store has is changed or lost.

        See `taking_in`: a longer one is continued, one that differs is kept beside.
        """
        with self._file.writing() as conn:
            return take_in(conn, conversation, messages)

    def latest(self) -> Conversation | None:
        """The most recently updated conversation, or None if there is none."""
        found = self.recent(1)
        return found[0] if found else None

    def recent(self, limit: int = 20, offset: int = 0) -> list[Conversation]:
        """Conversations by their last update, newest first."""
        return self._conversations(
            "ORDER BY c.updated DESC, c.id DESC LIMIT ? OFFSET ?", limit, offset
        )

    def get(self, number: int) -> Conversation | None:
        """The conversation with this number, or None."""
        found = self._conversations("WHERE c.id = ?", number)
        return found[0] if found else None

    def by_uid(self, uid: str) -> Conversation | None:
        """The conversation with this uid, or None."""
        found = self._conversations("WHERE c.uid = ?", uid)
        return found[0] if found else None

    def count(self) -> int:
        """The number of conversations."""
        with self._file.reading() as conn:
            return int(conn.execute("SELECT count(*) FROM conversations").fetchone()[0])

    def messages(self, conversation: Conversation) -> list[Message]:
        """All messages of a conversation, oldest first."""
        with self._file.reading() as conn:
            return [message for _, message in read_messages(conn, conversation.id)]

    def search(self, text: str, limit: int = 20) -> list[Hit]:
        """Find messages that contain every word of a text.

        Args:
            text: the words; they may be beginnings of words.
            limit: the most hits to return.

        Returns:
            The best hits first (BM25); the newest first if more than RANKED messages match, or if
            the text is punctuation only, which must occur as it is.
        """
        text = storable(text).strip()
        words = phrases(text)
        with self._file.reading() as conn:
            if not words:
                values: dict[str, object] = {"text": text, "limit": limit}
                return _hits(conn.execute(_LITERAL, values), [text])
            query = all_of(words)
            (many,) = conn.execute(_MANY, (query,)).fetchone()
            values = {"query": query, "exclude": 0, "limit": limit}
            return _hits(conn.execute(_NEWEST if many else _BEST, values), words)

    def match(self, words: Sequence[str], limit: int = 20, exclude: int = 0) -> list[Hit]:
        """Find messages that contain one of the words, best first (BM25).

        Args:
            words: made by `full_text.terms`; of many the rarest are searched for.
            limit: the most hits to return.
            exclude: number of a conversation whose messages are left out.
        """
        with self._file.reading() as conn:
            words = rarest(conn, "messages", words)
            if not words:
                return []
            values = {"query": any_of(words), "exclude": exclude, "limit": limit}
            return _hits(conn.execute(_BEST, values), words)

    def delete(self, conversation: Conversation) -> Deleted:
        """Delete a conversation, what was learned from it, and copies that others were given."""
        with self._file.writing() as conn:
            given = forget_messages(conn, conversation.id)
            conn.execute("DELETE FROM conversations WHERE id = ?", (conversation.id,))
            merged = forget_part(conn, conversation.uid)
            # FTS5 keeps deleted words in its index until the segments of the index are merged.
            conn.execute("INSERT INTO messages_fts(messages_fts) VALUES ('optimize')")
        remnants = not self._file.scrub()
        return Deleted(given, merged or any(one.merged for one in given), remnants)

    def questions(self, limit: int = 1000) -> list[str]:
        """The last questions of all conversations, oldest first."""
        with self._file.reading() as conn:
            return [text for (text,) in conn.execute(_QUESTIONS, (limit,))][::-1]

    def by_day(self, days: int = 30) -> list[AnswerTotals]:
        """Totals of the last days on which there were answers, oldest first."""
        return totals_by_day(self._file, days)

    def by_conversation(self, conversations: int = 10) -> list[AnswerTotals]:
        """Totals of the most recently updated conversations, oldest first."""
        return totals_by_conversation(self._file, conversations)

    def _conversations(self, which: str, *values: object) -> list[Conversation]:
        with self._file.reading() as conn:
            rows = conn.execute(f"{CONVERSATIONS} {which}", values)
            return [Conversation(*row) for row in rows]

    def _keep(self, conn: sqlite3.Connection, c: Conversation) -> int:
        # Not an upsert: with AUTOINCREMENT each upsert would use up a number.
        row = conn.execute(UPDATE, (*fields(c), c.uid)).fetchone()
        return int(row[0]) if row is not None else insert_conversation(conn, c)


def _hits(rows: Iterable[Sequence[Any]], words: Sequence[str]) -> list[Hit]:
    return [
        Hit(number, title, role, content, excerpt(content, words), created)
        for number, title, role, content, created in rows
    ]


_COLUMNS = "SELECT c.id, c.title, m.role, m.content, m.created"

_QUESTIONS = "SELECT content FROM messages WHERE role = 'user' ORDER BY id DESC LIMIT ?"

# FTS5 yields the hits in order, so messages are read only up to the limit.
_HITS = f"""
    {_COLUMNS}
    FROM messages_fts
    JOIN messages AS m ON m.id = messages_fts.rowid
    JOIN conversations AS c ON c.id = m.conversation
    WHERE messages_fts MATCH :query AND c.id != :exclude"""

# instr finds "" everywhere.
_LITERAL = f"""
    {_COLUMNS}
    FROM messages AS m JOIN conversations AS c ON c.id = m.conversation
    WHERE :text != '' AND instr(m.content, :text) ORDER BY m.id DESC LIMIT :limit"""

_BEST = f"{_HITS} ORDER BY messages_fts.rank LIMIT :limit"

_NEWEST = f"{_HITS} ORDER BY messages_fts.rowid DESC LIMIT :limit"

_MANY = f"""
    SELECT count(*) > {RANKED} FROM
        (SELECT 1 FROM messages_fts WHERE messages_fts MATCH ? LIMIT {RANKED} + 1)"""
