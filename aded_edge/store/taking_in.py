"""Importing a conversation, so that nothing is lost on either side.

The uid says which conversation it is. If one of the two continues the other, the longer one is
kept. If they differ, the imported one is kept beside, under a uid that follows from its first
message that differs; so importing it again, or a later state of it, finds it there.

Knows rows. Does not know files.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .messages import (
    Conversation,
    Message,
    conversation_where,
    insert_conversation,
    insert_messages,
    read_messages,
    said,
    same_start,
)


@dataclass(frozen=True)
class Taken:
    """What became of an imported conversation.

    Attributes:
        conversation: as the store has it now.
        how: "new", "continued" (the store had its beginning), "beside" (the store had one with
            other messages, and keeps both), or "known" (nothing changed).
        messages: how many messages were added.
    """

    conversation: Conversation
    how: Literal["new", "continued", "beside", "known"]
    messages: int


def take_in(
    conn: sqlite3.Connection, conversation: Conversation, messages: Sequence[Message]
) -> Taken:
    """Write the messages of an imported conversation that the store does not have."""
    new = [said(message) for message in messages]
    how: Literal["new", "beside"] = "new"
    while (known := conversation_where(conn, "c.uid = ?", conversation.uid)) is not None:
        stored = [said(message) for _, message in read_messages(conn, known.id)]
        start = same_start(stored, new)
        if start == len(new):
            return Taken(known, "known", 0)
        if start == len(stored):
            return _continue(conn, known, conversation, messages[start:])
        conversation = replace(conversation, uid=_uid(conversation.uid, new[: start + 1]))
        how = "beside"
    number = insert_conversation(conn, conversation)
    insert_messages(conn, number, messages)
    return Taken(_read(conn, number), how, len(messages))


def _continue(
    conn: sqlite3.Connection,
    known: Conversation,
    imported: Conversation,
    messages: Sequence[Message],
) -> Taken:
    insert_messages(conn, known.id, messages)
    # The first messages are the same, so a summary of more of them is right here too.
    further = imported if imported.summarized > known.summarized else known
    conn.execute(
        "UPDATE conversations SET summary = ?, summarized = ?, updated = max(updated, ?) "
        "WHERE id = ?",
        (further.summary, further.summarized, imported.updated, known.id),
    )
    return Taken(_read(conn, known.id), "continued", len(messages))


def _read(conn: sqlite3.Connection, number: int) -> Conversation:
    found = conversation_where(conn, "c.id = ?", number)
    assert found is not None  # it was written in this transaction
    return found


def _uid(uid: str, messages: Sequence[tuple[str, str]]) -> str:
    text = json.dumps([uid, messages])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
