"""Conversations: what was said, kept turn by turn, found again by its words.

Knows rows of conversations and messages. Does not know who answers, nor what a context holds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .database import StoreFile
from .full_text import all_of

EVERY_MESSAGE = -1
"""As many messages as there are."""

TITLE = 80
"""Characters of a title."""

RANKED = 2000
"""What stands in more messages than these is not ranked: the newest are shown."""

SNIPPET_TOKENS = 24
"""Words around a hit that are shown."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        role: "user" or "assistant".
        content: what was said.
        given: what the model was given in its place, where that held more; else None.
        cut: why an answer ends early: "stopped" by the user, at the "limit"; else None.
        model: who answered, None for a question.
        tokens: how many the answer has.
        stats: figures of the answer.
        sources: files that the answer drew on.
        created: when, UTC, like "2026-01-31T18:00:00Z"; "" before it is kept.
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
    """What is known of a conversation beside its messages.

    Attributes:
        id: its number in this store, 0 while it is not kept.
        uid: its name in every store.
        title: its first question, in one line.
        model: who answers.
        persona: the persona it was begun with, if any.
        system: its system message, "" for none.
        summary: stands in the context for the first `summarized` messages; "" if they are left out.
        messages: how many it has.
        created, updated: UTC.
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
    """A message that was found.

    Attributes:
        conversation: its number.
        title: of the conversation.
        role: who said it.
        content: all of it.
        snippet: the place in it, in one line.
        created: when it was said, UTC.
    """

    conversation: int
    title: str
    role: str
    content: str
    snippet: str
    created: str


@dataclass(frozen=True)
class AnswerTotals:
    """Figures of one day's answers, or of one conversation's.

    Attributes:
        label: the date, or the number of the conversation.
        title: of the conversation, "" for a day.
        answers, tokens, steps, accepted: counts.
        seconds: time of the steps.
        seconds_plain: what plain decoding would have taken, by the cost curve.
    """

    label: str
    title: str
    answers: int
    tokens: int
    steps: int
    accepted: int
    seconds: float
    seconds_plain: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens of the steps per second."""
        return (self.steps + self.accepted) / self.seconds if self.seconds > 0 else 0.0

    @property
    def mat(self) -> float:
        """Mean accepted tokens per step, bonus included; plain decoding = 1.0."""
        return 1.0 + self.accepted / self.steps if self.steps else 1.0

    @property
    def speedup(self) -> float | None:
        """Over plain decoding, by the cost curve; None without one."""
        if self.seconds <= 0 or self.seconds_plain <= 0:
            return None
        return self.seconds_plain / self.seconds


class Conversations:
    """All conversations of a store. Every method raises StoreError where SQLite reports a fault.

    Args:
        file: the open store.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def add(
        self, conversation: Conversation, messages: Sequence[Message], replaces: int = 0
    ) -> Conversation:
        """Keeps new messages, and the conversation itself if it is new, as a whole or not at all.

        Args:
            conversation: as it stands now; its summary is kept too.
            messages: the new ones.
            replaces: how many of the last messages they stand in the place of, or EVERY_MESSAGE.

        Returns:
            The conversation as it is kept.
        """
        with self._file.writing() as conn:
            number = self._keep(conn, conversation)
            if replaces:
                conn.execute(_DROP, (number, replaces))
            conn.executemany(_MESSAGE, [_row(number, message) for message in messages])
            row = conn.execute(f"{_CONVERSATIONS} WHERE c.id = ?", (number,)).fetchone()
        return Conversation(*row)

    def latest(self) -> Conversation | None:
        """The one that was talked in last."""
        found = self.recent(1)
        return found[0] if found else None

    def recent(self, limit: int = 20, offset: int = 0) -> list[Conversation]:
        """Those talked in last, first."""
        return self._conversations(
            "ORDER BY c.updated DESC, c.id DESC LIMIT ? OFFSET ?", limit, offset
        )

    def get(self, number: int) -> Conversation | None:
        """The one with this number."""
        found = self._conversations("WHERE c.id = ?", number)
        return found[0] if found else None

    def by_uid(self, uid: str) -> Conversation | None:
        """The one that has this name in every store."""
        found = self._conversations("WHERE c.uid = ?", uid)
        return found[0] if found else None

    def count(self) -> int:
        """How many there are."""
        with self._file.reading() as conn:
            return int(conn.execute("SELECT count(*) FROM conversations").fetchone()[0])

    def messages(self, conversation: Conversation) -> list[Message]:
        """All of its messages, oldest first."""
        with self._file.reading() as conn:
            return [_message(row) for row in conn.execute(_MESSAGES, (conversation.id,))]

    def search(self, text: str, limit: int = 20) -> list[Hit]:
        """Messages that hold every word of a text, best first (BM25); of very many the newest."""
        query = all_of(text)
        if not query:
            return []
        with self._file.reading() as conn:
            (many,) = conn.execute(_MANY, (query,)).fetchone()
            values = {"query": query, "but": 0, "limit": limit}
            return [Hit(*row) for row in conn.execute(_NEWEST if many else _BEST, values)]

    def match(self, query: str, limit: int = 20, but: int = 0) -> list[Hit]:
        """Messages found by a query of FTS5, best first (BM25).

        Args:
            query: as `search.any_of` makes it; "" finds nothing.
            limit: the most that are wanted.
            but: the number of a conversation that is left out.
        """
        if not query:
            return []
        with self._file.reading() as conn:
            values = {"query": query, "but": but, "limit": limit}
            return [Hit(*row) for row in conn.execute(_BEST, values)]

    def delete(self, conversation: Conversation) -> bool:
        """Deletes a conversation and what the matrix learned in it alone.

        Returns:
            False if some of what was learned is part of a sum by now and cannot be taken back.
        """
        source = (conversation.uid,)
        with self._file.writing() as conn:
            conn.execute("DELETE FROM conversations WHERE id = ?", (conversation.id,))
            conn.execute("DELETE FROM parts WHERE source = ?", source)
            gone = conn.execute("DELETE FROM folded_sources WHERE source = ?", source).rowcount
            # Until its pieces are merged the index holds the words of what was deleted.
            conn.execute("INSERT INTO messages_fts(messages_fts) VALUES ('optimize')")
        self._file.checkpoint()  # what was deleted shall not stay in the log
        return gone == 0

    def by_day(self, days: int = 30) -> list[AnswerTotals]:
        """Figures of the answers of the last days on which there were any, oldest first."""
        return self._figures(_BY_DAY, days)

    def by_conversation(self, conversations: int = 10) -> list[AnswerTotals]:
        """Figures of the conversations talked in last, oldest first."""
        return self._figures(_BY_CONVERSATION, conversations)

    def _figures(self, query: str, limit: int) -> list[AnswerTotals]:
        with self._file.reading() as conn:
            return [AnswerTotals(*row) for row in conn.execute(query, (limit,))][::-1]

    def _conversations(self, which: str, *values: object) -> list[Conversation]:
        with self._file.reading() as conn:
            rows = conn.execute(f"{_CONVERSATIONS} {which}", values)
            return [Conversation(*row) for row in rows]

    def _keep(self, conn: sqlite3.Connection, c: Conversation) -> int:
        texts = [storable(text) for text in (c.title, c.model, c.system, c.summary)]
        title, model, system, summary = texts
        # Not an upsert, which would use up a number at every turn.
        values = (title, model, c.persona, system, summary, c.summarized, c.uid)
        row = conn.execute(_UPDATE, values).fetchone()
        if row is None:
            row = conn.execute(_INSERT, (*values, c.created, c.updated)).fetchone()
        return int(row[0])


def title_of(text: str) -> str:
    """A title for a conversation that begins with this question."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE else line[: TITLE - 1].rstrip() + "…"


def storable(text: str) -> str:
    """The text without what SQLite cannot keep: halves of characters."""
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

_DROP = """
    DELETE FROM messages WHERE id IN
        (SELECT id FROM messages WHERE conversation = ? ORDER BY id DESC LIMIT ?)"""

# The hits are chosen in the index alone, and only they are read and cut out.
_HITS = f"""
    SELECT c.id, c.title, m.role, m.content,
        replace(snippet(messages_fts, 0, '', '', ' … ', {SNIPPET_TOKENS}), char(10), ' '),
        m.created
    FROM messages_fts
    JOIN messages AS m ON m.id = messages_fts.rowid
    JOIN conversations AS c ON c.id = m.conversation
    WHERE messages_fts MATCH :query AND c.id != :but"""

_BEST = f"{_HITS} ORDER BY messages_fts.rank LIMIT :limit"

_NEWEST = f"{_HITS} ORDER BY messages_fts.rowid DESC LIMIT :limit"

_MANY = f"""
    SELECT count(*) > {RANKED} FROM
        (SELECT 1 FROM messages_fts WHERE messages_fts MATCH ? LIMIT {RANKED} + 1)"""

_SUMS = """
    count(*), sum(m.tokens), sum(coalesce(json_extract(m.stats, '$.steps'), 0)),
    sum(coalesce(json_extract(m.stats, '$.accepted'), 0)),
    sum(coalesce(json_extract(m.stats, '$.seconds'), 0.0)),
    sum(coalesce(json_extract(m.stats, '$.seconds_plain'), 0.0))"""

_BY_DAY = f"""
    SELECT date(m.created, 'localtime') AS day, '', {_SUMS} FROM messages AS m
    WHERE m.role = 'assistant' AND m.stats IS NOT NULL
    GROUP BY day ORDER BY day DESC LIMIT ?"""

_BY_CONVERSATION = f"""
    SELECT CAST(c.id AS TEXT), c.title, {_SUMS}
    FROM messages AS m JOIN conversations AS c ON c.id = m.conversation
    WHERE m.role = 'assistant' AND m.stats IS NOT NULL
    GROUP BY c.id ORDER BY c.updated DESC, c.id DESC LIMIT ?"""
