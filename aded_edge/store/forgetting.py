"""Forgetting: what is deleted is also removed from what other conversations were given.

A model is given recalled texts in front of a question, and the message keeps what was given. So a
text that is deleted has copies in the messages of other conversations, in the summaries that the
model wrote of them, in what the matrix learned there, and in their saved KV states.

Knows the form of recalled texts and the rows that hold copies. Does not know files: the caller
deletes the KV states of the conversations that are returned.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

HEADER = "You may find this useful; use it only where it helps, and name the file you used:"
"""The line before the recalled texts of a question; a line `[kind, date or file] text` each."""

REMNANTS = (
    "another program is using the store, whose file or log may still hold it: close that program, "
    "and then run aded-edge history delete, without a number"
)
"""What a user is told where `Deleted.remnants` is True."""

_EARLIER = re.compile(r"^\[earlier conversation, [^\]]*\] (.*)$", re.M)


@dataclass(frozen=True)
class Given:
    """A conversation that was given a text which is now deleted.

    Attributes:
        id: its number.
        uid: its identifier; its saved KV state holds the text.
        merged: what the matrix learned in it is part of a sum of parts and cannot be removed.
    """

    id: int
    uid: str
    merged: bool


@dataclass(frozen=True)
class Deleted:
    """The result of deleting something.

    Attributes:
        given: the conversations that were given it. Their recalled copies are removed; their
            answers stay, and may repeat it.
        merged: some of what the matrix learned of it is part of a sum and cannot be removed.
        remnants: another process uses the store, so the file or its log may still hold it.
    """

    given: tuple[Given, ...] = ()
    merged: bool = False
    remnants: bool = False


def forget_messages(conn: sqlite3.Connection, conversation: int) -> tuple[Given, ...]:
    """Remove copies of a conversation's messages from what others were given.

    Args:
        conn: inside a writing transaction, in which the conversation still exists.
        conversation: its number.
    """
    rows = conn.execute("SELECT content FROM messages WHERE conversation = ?", (conversation,))
    said = [_plain(content) for (content,) in rows]

    def holds(block: str) -> bool:
        # An excerpt consists of pieces of the message, with "…" between them.
        return any(
            all(piece in text for piece in map(_plain, recalled.split("…")))
            for recalled in _EARLIER.findall(block)
            for text in said
        )

    return _take_back(conn, holds, besides=conversation)


def forget_text(conn: sqlite3.Connection, texts: Sequence[str]) -> tuple[Given, ...]:
    """Remove recalled texts that contain one of these texts from what conversations were given."""
    return _take_back(conn, lambda block: any(text in block for text in texts), besides=0)


def forget_part(conn: sqlite3.Connection, uid: str) -> bool:
    """Delete what the matrix learned in a conversation; return whether some of it is merged."""
    conn.execute("DELETE FROM parts WHERE source = ?", (uid,))
    gone = conn.execute("DELETE FROM folded_sources WHERE source = ?", (uid,))
    return gone.rowcount > 0


def newest_part(conn: sqlite3.Connection, uid: str) -> int:
    """The number of the last part that was learned in a conversation, 0 if there is none."""
    row = conn.execute("SELECT coalesce(max(id), 0) FROM parts WHERE source = ?", (uid,)).fetchone()
    return int(row[0])


def unlearn(conn: sqlite3.Connection, uid: str, until: int | None = None) -> None:
    """Delete what the matrix learned in a conversation since its last message, if not merged.

    Used when messages after it were taken back. Times are whole seconds, so what was learned in
    the same second as the last message is deleted too.

    Args:
        conn: inside a writing transaction.
        uid: the conversation.
        until: parts with higher numbers stay, because they come from the answer that replaces what
            was taken back; None for none.
    """
    conn.execute(_UNLEARN, (uid, until, until, uid))


def without_recalled(given: str | None, content: str) -> str | None:
    """What a model was given for a question, without the recalled texts; None for the question.

    Args:
        given: what it was given; None for the question alone.
        content: the question.
    """
    # The recalled texts lie between the header and the question, which ends what was given.
    front, header, _ = (given or "").partition(HEADER)
    if not header:
        return given
    return front + content if front else None


def _take_back(
    conn: sqlite3.Connection, holds: Callable[[str], bool], besides: int
) -> tuple[Given, ...]:
    found = set()
    for number, conversation, given, content in conn.execute(_GIVEN, (HEADER, besides)).fetchall():
        block = given.partition(HEADER)[2]
        if holds(block.removesuffix(content)):
            # All of them go: where a passage of several lines ends cannot be told for certain.
            kept = without_recalled(given, content)
            conn.execute("UPDATE messages SET given = ? WHERE id = ?", (kept, number))
            found.add(conversation)
    return clear(conn, found)


def clear(conn: sqlite3.Connection, conversations: Iterable[int]) -> tuple[Given, ...]:
    """Remove the summary of conversations, and what the matrix learned in them.

    The model writes a new summary from the messages, when the conversation goes on.
    """
    cleared = []
    for id in sorted(conversations):
        (uid,) = conn.execute(_CLEAR, (id,)).fetchone()
        cleared.append(Given(id, uid, forget_part(conn, uid)))
    return tuple(cleared)


def _plain(text: str) -> str:
    """The text without spaces and case, because an excerpt may differ in them."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


_GIVEN = """
    SELECT id, conversation, given, content FROM messages
    WHERE given IS NOT NULL AND instr(given, ?) > 0 AND conversation != ?"""

_UNLEARN = """
    DELETE FROM parts WHERE source = ? AND (? IS NULL OR id <= ?) AND created >= coalesce(
        (SELECT max(m.created) FROM messages AS m
            JOIN conversations AS c ON c.id = m.conversation WHERE c.uid = ?), '')"""

_CLEAR = "UPDATE conversations SET summary = '', summarized = 0 WHERE id = ? RETURNING uid"
