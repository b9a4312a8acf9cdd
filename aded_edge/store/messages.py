"""The rows of conversations and messages: what they hold, how they are written and read.

Knows columns. Does not know transactions, nor which rows a process may change.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .word_index import fill

TURN = 2
"""Messages of a turn: a question and its answer."""

TITLE = 80
"""Length of the longest title, in characters."""


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


def fields(c: Conversation) -> tuple[object, ...]:
    """The fields of a conversation that may change, as UPDATE and the table have them."""
    title, model, system, summary = map(storable, (c.title, c.model, c.system, c.summary))
    return title, model, c.persona, system, summary, c.summarized


def conversation_where(
    conn: sqlite3.Connection, which: str, *values: object
) -> Conversation | None:
    """The conversation for which a condition on `c` holds, or None."""
    row = conn.execute(f"{CONVERSATIONS} WHERE {which}", values).fetchone()
    return None if row is None else Conversation(*row)


def insert_conversation(conn: sqlite3.Connection, c: Conversation) -> int:
    """Add a conversation without messages; return its number."""
    (number,) = conn.execute(_INSERT, (*fields(c), c.uid, c.created, c.updated)).fetchone()
    return int(number)


def insert_messages(
    conn: sqlite3.Connection, conversation: int, messages: Iterable[Message]
) -> list[int]:
    """Append messages to the conversation with this number; return the numbers of their rows."""
    numbers = []
    for message in messages:
        number = conn.execute(_MESSAGE, _row(conversation, message)).lastrowid
        assert number is not None  # an INSERT of one row has one
        numbers.append(number)
    fill(conn, "messages", "content")
    return numbers


def read_messages(conn: sqlite3.Connection, conversation: int) -> list[tuple[int, Message]]:
    """Number and content of each message of the conversation with this number, oldest first."""
    rows = conn.execute(_MESSAGES, (conversation,))
    return [(number, _message(rest)) for number, *rest in rows]


def said(message: Message) -> tuple[str, str]:
    """Who said what: two messages with equal values are the same one."""
    return message.role, storable(message.content)


def same_start(one: Sequence[object], other: Sequence[object]) -> int:
    """How many values at the beginning of two sequences are equal."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


_NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"

CONVERSATIONS = """
    SELECT c.id, c.uid, c.title, c.model, c.persona, c.system, c.summary, c.summarized,
        (SELECT count(*) FROM messages WHERE conversation = c.id), c.created, c.updated
    FROM conversations AS c"""

UPDATE = f"""
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
    SELECT id, role, content, given, cut, model, tokens, stats, sources, created
    FROM messages WHERE conversation = ? ORDER BY id"""
