"""A working copy: what one process has read and written of a conversation.

Several processes may have a conversation open at once. Each takes back only rows that it read or
wrote itself; what another one wrote stays, and its rows are never read into this copy.

Knows the rows of one conversation, and how they differ from the messages of its process. Does not
know who answers, nor what the user is told.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from . import open_files
from .database import StoreFile
from .forgetting import newest_part, unlearn, without_recalled
from .messages import (
    TURN,
    Conversation,
    Message,
    conversation_where,
    insert_conversation,
    insert_messages,
    read_messages,
    said,
    same_start,
    storable,
    title_of,
)

_MOST_REWRITES = 3
"""So often a write is repeated, because the file was removed or replaced before its end."""

Rows = list[tuple[int, Message]]
"""Number and message of rows, oldest first."""


class Elsewhere(Enum):
    """What other processes did to a conversation; what changes more has the larger value."""

    NOTHING = auto()
    WENT_ON = auto()
    """Messages were added or taken back."""
    DELETED = auto()
    """The conversation was deleted."""


@dataclass(frozen=True)
class Written:
    """The result of `WorkingCopy.write`.

    Attributes:
        conversation: as this process knows it now.
        messages: all of its messages that this process knows.
        elsewhere: what other processes did to it since this one read it.
        remnants: something was deleted, and the file or its log may still hold it.
    """

    conversation: Conversation
    messages: list[Message]
    elsewhere: Elsewhere
    remnants: bool


class WorkingCopy:
    """What this process has read and written of a conversation.

    Args:
        file: the open store.
        conversation: as it was read; with the number 0 if the store does not have it yet.
        rows: number and message of each row that was read.
    """

    def __init__(
        self,
        file: StoreFile,
        conversation: Conversation,
        rows: Sequence[tuple[int, Message]] = (),
    ) -> None:
        self._file = file
        self._generation = file.generation
        self.conversation = conversation
        self._rows = list(rows)
        self._learned: int | None = None  # the last part before the answer that replaces another

    @classmethod
    def read(cls, file: StoreFile, number: int | None) -> WorkingCopy | None:
        """Read the conversation with this number, or the last one; None if there is none.

        Raises:
            StoreError: the store cannot be read.
        """
        with file.reading() as conn:
            if number is None:
                found = conversation_where(conn, "1 ORDER BY c.updated DESC, c.id DESC LIMIT 1")
            else:
                found = conversation_where(conn, "c.id = ?", number)
            return None if found is None else cls(file, found, read_messages(conn, found.id))

    @property
    def messages(self) -> list[Message]:
        """The messages that were read or written, oldest first."""
        return [message for _, message in self._rows]

    def lacks(self, messages: Sequence[Message]) -> bool:
        """Whether these messages differ from those that were written."""
        return len(messages) != len(self._rows) or _known(self._rows, messages) < len(messages)

    def knows(self, message: Message) -> bool:
        """Whether this very message was read or written."""
        return any(message is known for _, known in self._rows)

    def takes_back(self, messages: Sequence[Message]) -> bool:
        """Whether some of what was written is not among these messages any more."""
        return _known(self._rows, messages) < len(self._rows)

    def write(self, conversation: Conversation, messages: Sequence[Message]) -> Written:
        """Write a conversation as this process has it now, all or nothing.

        Messages that this process wrote or read before and does not have any more are deleted, new
        ones are added at the end. Of the conversation's fields only those are written that this
        process changed. If the conversation was deleted elsewhere, only new messages are kept, as
        another conversation. If the whole file was replaced, everything that it lacks is written.

        Raises:
            StoreError: the store cannot be written; then nothing changed.
        """
        written = self._write(conversation, messages)
        for _ in range(_MOST_REWRITES):
            # Between the check before the transaction and its end. A file that is replaced all the
            # time is left to the next write, which checks again.
            if not open_files.changed(self._file):
                break
            again = self._write(written.conversation, written.messages)
            # A new file knows nothing of what others did to the conversation in the old one.
            elsewhere = max(written.elsewhere, again.elsewhere, key=lambda one: one.value)
            remnants = written.remnants or again.remnants
            written = replace(again, elsewhere=elsewhere, remnants=remnants)
        return written

    def _write(self, conversation: Conversation, messages: Sequence[Message]) -> Written:
        elsewhere = Elsewhere.NOTHING
        with self._file.writing() as conn:
            generation = self._file.generation
            if generation != self._generation:
                base, rows = self._recognise(conn)
            else:
                base, rows = self._number(conn), self._rows
            start = _known(rows, messages)
            kept, gone, new = rows[:start], rows[start:], messages[start:]
            if not base.id:
                number = insert_conversation(conn, conversation)
            elif conversation_where(conn, _SAME, base.id, base.uid) is None:
                elsewhere, kept = Elsewhere.DELETED, []
                conversation = _begun_anew(conversation, new)
                number = insert_conversation(conn, conversation) if new else 0
                _move_learned(conn, base.uid, conversation.uid)
            else:
                number = base.id
                stored = _numbers(conn, number)
                if stored != [row for row, _ in rows]:
                    elsewhere = Elsewhere.WENT_ON
                _update(conn, base, conversation, _common_summary(stored, rows, conversation))
                _take_back(conn, base, stored, [row for row, _ in gone], self._learned)
            numbers = insert_messages(conn, number, new)
            found = conversation_where(conn, "c.id = ?", number)
        if found is not None:
            conversation = replace(
                conversation,
                id=found.id,
                uid=found.uid,
                messages=found.messages,
                created=found.created,
                updated=found.updated,
            )
        remnants = bool(gone) and not self._file.scrub()
        self._generation, self.conversation = generation, conversation
        self._rows, self._learned = [*kept, *zip(numbers, new, strict=True)], None
        return Written(self.conversation, self.messages, elsewhere, remnants)

    def expect_another_answer(self) -> None:
        """Note that what is learned from now on belongs to an answer that replaces the last one.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._file.reading() as conn:
            self._learned = newest_part(conn, self.conversation.uid)

    def unlearn(self) -> bool:
        """Delete what was learned since the last message, of a question without an answer.

        Returns:
            False if the file or its log may still hold it.

        Raises:
            StoreError: the store cannot be written.
        """
        uid, before = self.conversation.uid, self._learned
        with self._file.writing() as conn:
            if before is None:
                unlearn(conn, uid)
            else:
                conn.execute("DELETE FROM parts WHERE source = ? AND id > ?", (uid, before))
        self._learned = None
        return self._file.scrub()

    def exists(self) -> bool:
        """Whether the store has the conversation; True as long as it was never written.

        Raises:
            StoreError: the store cannot be read.
        """
        about = self.conversation
        if not about.id:
            return True
        with self._file.reading() as conn:
            return conversation_where(conn, "c.uid = ?", about.uid) is not None

    def reread(self) -> list[Message]:
        """Read the messages of this copy again; those that others took back are left out.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._file.reading() as conn:
            if self._file.generation != self._generation:
                return self.messages
            own = {row for row, _ in self._rows}
            rows = [one for one in read_messages(conn, self.conversation.id) if one[0] in own]
        self._rows = rows
        return self.messages

    def without_recalled(self, messages: Sequence[Message]) -> list[Message]:
        """These messages without recalled texts, for a store that cannot be read again.

        Those that were read or written count as unchanged: the next write leaves their rows alone.
        """
        new = [replace(m, given=without_recalled(m.given, m.content)) for m in messages]
        ours = {id(old): now for old, now in zip(messages, new, strict=True)}
        self._rows = [(row, ours.get(id(message), message)) for row, message in self._rows]
        return new

    def take_learned(self, uid: str) -> None:
        """Let parts that were learned under another uid belong to this conversation.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._file.writing() as conn:
            _move_learned(conn, uid, self.conversation.uid)

    def _number(self, conn: sqlite3.Connection) -> Conversation:
        """The conversation as it was read; a forked process may have written a new one first."""
        about = self.conversation
        if about.id:
            return about
        found = conversation_where(conn, "c.uid = ?", about.uid)
        return about if found is None else replace(about, id=found.id)

    def _recognise(self, conn: sqlite3.Connection) -> tuple[Conversation, Rows]:
        """The conversation in another file: its number, and the rows with the same messages."""
        found = conversation_where(conn, "c.uid = ?", self.conversation.uid)
        if found is None:
            return replace(self.conversation, id=0), []
        stored = read_messages(conn, found.id)
        equal = same_start([said(m) for _, m in stored], [said(m) for _, m in self._rows])
        rows = [(stored[at][0], self._rows[at][1]) for at in range(equal)]
        return replace(self.conversation, id=found.id), rows


def _known(rows: Sequence[tuple[int, Message]], messages: Sequence[Message]) -> int:
    """How many messages at the beginning are those of the rows, in whole turns."""
    count = 0
    for (_, row), message in zip(rows, messages, strict=False):
        if row is not message:
            break
        count += 1
    # A new answer to an old question: both are written again, at the end, so that they stay
    # together if another process went on meanwhile.
    return count if count == len(messages) else count // TURN * TURN


def _begun_anew(conversation: Conversation, new: Sequence[Message]) -> Conversation:
    return replace(
        conversation,
        id=0,
        uid=uuid.uuid4().hex,
        title=title_of(new[0].content) if new else "",
        summary="",
        summarized=0,
        messages=0,
        created="",
        updated="",
    )


def _numbers(conn: sqlite3.Connection, conversation: int) -> list[int]:
    rows = conn.execute(
        "SELECT id FROM messages WHERE conversation = ? ORDER BY id", (conversation,)
    )
    return [number for (number,) in rows]


def _take_back(
    conn: sqlite3.Connection,
    about: Conversation,
    stored: Sequence[int],
    gone: Sequence[int],
    learned: int | None,
) -> None:
    """Delete rows, what was learned from them, and the summary if it replaces one of them."""
    if not gone:
        return
    conn.executemany("DELETE FROM messages WHERE id = ?", [(row,) for row in gone])
    unlearn(conn, about.uid, learned)
    # FTS5 keeps deleted words in its index until the segments of the index are merged.
    conn.execute("INSERT INTO messages_fts(messages_fts) VALUES ('optimize')")
    now = conversation_where(conn, "c.id = ?", about.id)
    if now is not None and not set(gone).isdisjoint(stored[: now.summarized]):
        conn.execute(_NO_SUMMARY, (about.id,))


def _common_summary(
    stored: Sequence[int], rows: Sequence[tuple[int, Message]], conversation: Conversation
) -> bool:
    """Whether the summary replaces messages that are also the first ones in the store."""
    count = conversation.summarized
    return count <= len(rows) and list(stored[:count]) == [row for row, _ in rows[:count]]


def _update(conn: sqlite3.Connection, base: Conversation, now: Conversation, summary: bool) -> None:
    """Write the fields that this process changed."""
    names = [
        name
        for name in ("title", "model", "persona", "system")
        if getattr(now, name) != getattr(base, name)
    ]
    about = ("summary", "summarized")
    if summary and [getattr(now, n) for n in about] != [getattr(base, n) for n in about]:
        names += about
    values = [getattr(now, name) for name in names]
    texts = [storable(value) if isinstance(value, str) else value for value in values]
    fields = "".join(f"{name} = ?, " for name in names)
    conn.execute(f"UPDATE conversations SET {fields}{_UPDATED} WHERE id = ?", (*texts, base.id))


def _move_learned(conn: sqlite3.Connection, old: str, new: str) -> None:
    conn.execute("UPDATE parts SET source = ? WHERE source = ?", (new, old))


_SAME = "c.id = ? AND c.uid = ?"

_UPDATED = "updated = strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"

_NO_SUMMARY = "UPDATE conversations SET summary = '', summarized = 0 WHERE id = ?"
