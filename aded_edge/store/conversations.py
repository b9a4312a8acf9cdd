"""Conversations: kept turn by turn, and found again by their words.

Knows the rows of conversations and messages. Does not know who answers, nor what fits into a
model's context.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .answer_totals import AnswerTotals, totals_by_conversation, totals_by_day
from .database import StoreFile
from .forgetting import Deleted, forget_messages, forget_part, unlearn
from .full_text import all_of

EVERY_MESSAGE = -1
"""For `Conversations.add(replaces=...)`: replace all messages of the conversation."""

TITLE = 80
"""Length of the longest title, in characters."""

RANKED = 2000
"""A query that matches more messages than this is not ranked by relevance; the newest matches
are returned. Ranking reads every match, which is slow for a word that most messages contain."""

SNIPPET_TOKENS = 24
"""Length of the excerpt shown for a hit, in words."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: "user" or "assistant".
        content: the text that was typed or answered.
        given: the text that the model was given instead of `content`, with recalled texts and
            attached files in front of it; None if it was the content itself.
        cut: why an answer ended early: "stopped" (by the user) or "limit" (of tokens); else None.
        model: name of the model that answered; None for a question.
        tokens: length of the answer in tokens.
        stats: figures of the answer.
        sources: files that the answer drew on.
        created: time in UTC, like "2026-01-31T18:00:00Z"; "" until the store sets it.
    """

    role: str
    content: str
    given: str | None = None
    cut: str | None = None
    model: str | None = None
    tokens: int = 0
    stats: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    created: str = ""


@dataclass(frozen=True)
class Conversation:
    """What is known about a conversation, without its messages.

    Attributes:
        id: its number in this store; 0 until it is kept.
        uid: its identifier in every store, 32 hexadecimal digits.
        title: its first question, in one line.
        model: name of the model that answers.
        persona: name of the persona that it was started with, or None.
        system: its system message, "" for none.
        summary: replaces the first `summarized` messages in the model's context; "" if those are
            left out without a summary.
        summarized: how many of the oldest messages the model is no longer given.
        messages: how many messages it has.
        created, updated: times in UTC.
    """

    id: int
    uid: str
    title: str
    model: str
    persona: str | None = None
    system: str = ""
    summary: str = ""
    summarized: int = 0
    messages: int = 0
    created: str = ""
    updated: str = ""


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

    def add(
        self, conversation: Conversation, messages: Sequence[Message], replaces: int = 0
    ) -> Conversation:
        """Write new messages and the state of their conversation, all or nothing.

        A conversation that the store does not know yet (by its uid) is created.

        Args:
            conversation: its current state, summary included.
            messages: the new messages.
            replaces: how many of the last messages to delete first, or EVERY_MESSAGE.

        Returns:
            The conversation as the store has it now.
        """
        with self._file.writing() as conn:
            number = self._keep(conn, conversation)
            if replaces:
                conn.execute(_DROP, (number, replaces))
                unlearn(conn, conversation.uid)
                # FTS5 keeps deleted words in its index until the index's segments are merged.
                conn.execute("INSERT INTO messages_fts(messages_fts) VALUES ('optimize')")
            conn.executemany(_MESSAGE, [_row(number, message) for message in messages])
            row = conn.execute(f"{_CONVERSATIONS} WHERE c.id = ?", (number,)).fetchone()
        if replaces:
            self._file.scrub()
        return Conversation(*row)

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
            return [_message(row) for row in conn.execute(_MESSAGES, (conversation.id,))]

    def search(self, text: str, limit: int = 20) -> list[Hit]:
        """Find messages that contain every word of a text.

        Args:
            text: the words; the last one may be the beginning of a word.
            limit: the most hits to return.

        Returns:
            The best hits first (BM25); the newest first if more than RANKED messages match.
        """
        query = all_of(text)
        if not query:
            return []
        with self._file.reading() as conn:
            (many,) = conn.execute(_MANY, (query,)).fetchone()
            values = {"query": query, "exclude": 0, "limit": limit}
            return [Hit(*row) for row in conn.execute(_NEWEST if many else _BEST, values)]

    def match(self, query: str, limit: int = 20, exclude: int = 0) -> list[Hit]:
        """Find messages by an FTS5 query, best first (BM25).

        Args:
            query: made by `full_text.any_of` or `all_of`; "" finds nothing.
            limit: the most hits to return.
            exclude: number of a conversation whose messages are left out.
        """
        if not query:
            return []
        with self._file.reading() as conn:
            values = {"query": query, "exclude": exclude, "limit": limit}
            return [Hit(*row) for row in conn.execute(_BEST, values)]

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

    def unlearn(self, conversation: Conversation) -> None:
        """Delete what the matrix learned since the last message, of an unanswered question."""
        with self._file.writing() as conn:
            unlearn(conn, conversation.uid)
        self._file.scrub()

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
            rows = conn.execute(f"{_CONVERSATIONS} {which}", values)
            return [Conversation(*row) for row in rows]

    def _keep(self, conn: sqlite3.Connection, c: Conversation) -> int:
        texts = [storable(text) for text in (c.title, c.model, c.system, c.summary)]
        title, model, system, summary = texts
        # Not an upsert: with AUTOINCREMENT each upsert would use up a number.
        values = (title, model, c.persona, system, summary, c.summarized, c.uid)
        row = conn.execute(_UPDATE, values).fetchone()
        if row is None:
            row = conn.execute(_INSERT, (*values, c.created, c.updated)).fetchone()
        return int(row[0])


def title_of(text: str) -> str:
    """The title of a conversation that starts with this question: one line, at most TITLE long."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE else line[: TITLE - 1].rstrip() + "…"


def storable(text: str) -> str:
    """The text with lone surrogates, which SQLite cannot store, replaced by "?"."""
    return text.encode("utf-8", "replace").decode()


def _row(conversation: int, message: Message) -> tuple[object, ...]:
    return (
        conversation,
        message.role,
        storable(message.content),
        None if message.given is None else storable(message.given),
        message.cut,
        message.model,
        message.tokens,
        json.dumps(dict(message.stats)) if message.stats else None,
        json.dumps(list(message.sources)) if message.sources else None,
        message.created or None,
    )


def _message(row: Iterable[Any]) -> Message:
    role, content, given, cut, model, tokens, stats, sources, created = row
    return Message(
        role,
        content,
        given,
        cut,
        model,
        tokens,
        json.loads(stats) if stats else {},
        tuple(json.loads(sources)) if sources else (),
        created,
    )


_NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"

_CONVERSATIONS = """
    SELECT c.id, c.uid, c.title, c.model, c.persona, c.system, c.summary, c.summarized,
        (SELECT count(*) FROM messages WHERE conversation = c.id), c.created, c.updated
    FROM conversations AS c"""

_UPDATE = f"""
    UPDATE conversations
    SET title = ?, model = ?, persona = ?, system = ?, summary = ?, summarized = ?, updated = {_NOW}
    WHERE uid = ? RETURNING id"""

_INSERT = f"""
    INSERT INTO conversations
        (title, model, persona, system, summary, summarized, uid, created, updated)
    VALUES (?, ?, ?, ?, ?, ?, ?, coalesce(nullif(?, ''), {_NOW}), coalesce(nullif(?, ''), {_NOW}))
    RETURNING id"""

_MESSAGE = f"""
    INSERT INTO messages
        (conversation, role, content, given, cut, model, tokens, stats, sources, created)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce(?, {_NOW}))"""

_MESSAGES = """
    SELECT role, content, given, cut, model, tokens, stats, sources, created
    FROM messages WHERE conversation = ? ORDER BY id"""

_QUESTIONS = "SELECT content FROM messages WHERE role = 'user' ORDER BY id DESC LIMIT ?"

_DROP = """
    DELETE FROM messages WHERE id IN
        (SELECT id FROM messages WHERE conversation = ? ORDER BY id DESC LIMIT ?)"""

# FTS5 yields the hits in order, so messages are read and excerpts cut only up to the limit.
_HITS = f"""
    SELECT c.id, c.title, m.role, m.content,
        replace(snippet(messages_fts, 0, '', '', ' … ', {SNIPPET_TOKENS}), char(10), ' '),
        m.created
    FROM messages_fts
    JOIN messages AS m ON m.id = messages_fts.rowid
    JOIN conversations AS c ON c.id = m.conversation
    WHERE messages_fts MATCH :query AND c.id != :exclude"""

_BEST = f"{_HITS} ORDER BY messages_fts.rank LIMIT :limit"

_NEWEST = f"{_HITS} ORDER BY messages_fts.rowid DESC LIMIT :limit"

_MANY = f"""
    SELECT count(*) > {RANKED} FROM
        (SELECT 1 FROM messages_fts WHERE messages_fts MATCH ? LIMIT {RANKED} + 1)"""
