"""Keeping: what an assistant writes to the disk, and when.

`Keeping.write_turn` writes a turn to the store as soon as its answer ends. If the store refuses
(locked, full), the turn is written later, with the next one or when the conversation is left. The
KV of a conversation is saved when it is left and loaded when it is resumed.

Knows when to write, and what was not written yet. Does not know SQL, nor how an answer is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from aded_edge.errors import ConfigError
from aded_edge.runtime.llama import Llama
from aded_edge.store import EVERY_MESSAGE, Conversation, Deleted, Message, Store, WarnOnce, title_of

from .kv_states import KVStates

T = TypeVar("T")

_TURN = 2
"""Messages of a turn: a question and its answer."""


class Keeping:
    """The store of an assistant, and how much of the running conversation is in it.

    A fault of the store never stops an answer: it is logged once, and the operation is left out.

    Args:
        path: the store's file; None for no store.
        keep: write to the store. Without, it is opened read-only, and only if it exists.
        states: where KV states are kept.

    Attributes:
        store: the open store, or None.
        keep: as given.
        attempt: runs a store operation; a StoreError is logged once instead of raised.
    """

    def __init__(self, path: Path | None, keep: bool, states: KVStates) -> None:
        self.keep = keep
        self.store: Store | None = None
        self.attempt = WarnOnce("it")
        self._states = states
        self._unwritten = False  # the store lacks messages of the running conversation
        self._kv_is_current = False  # the model's KV holds the running conversation
        if path is not None and (keep or path.exists()):
            self.store = self.attempt(lambda: Store.open(path, read_only=not keep))

    @property
    def writes(self) -> bool:
        """Whether turns are written to the store."""
        return self.keep and self.store is not None and not self.store.read_only

    def read(self, query: Callable[[Store], T]) -> T | None:
        """The result of a query, or None without a store or after a fault of it."""
        store = self.store
        return self.attempt(lambda: query(store)) if store is not None else None

    def writable(self) -> Store:
        """The store, for changes that the user asks for.

        Raises:
            ConfigError: there is no store, or it must not be written.
        """
        if self.store is None or not self.keep:
            raise ConfigError(
                "this assistant keeps nothing: start it without --no-log (keep=False), and with a "
                "store"
            )
        return self.store

    def start(self, conversation: Conversation, llama: Llama) -> None:
        """Begin to keep a conversation, new or resumed; what the model learns now belongs to it."""
        self._unwritten = self._kv_is_current = False
        llama.belongs_to(conversation.uid)

    def load_kv(self, conversation: Conversation, llama: Llama) -> None:
        """Load the saved KV of a resumed conversation into the model's context, if there is one."""
        if self.keep:
            self._states.load(llama, conversation.uid)

    def write_turn(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        turn: Sequence[Message] = (),
        replaces: int = 0,
    ) -> Conversation:
        """Write a turn and the state of its conversation to the store.

        Args:
            conversation: its state after the turn.
            messages: all of its messages, the turn included.
            turn: the messages that are new; none if only the conversation's state changed.
            replaces: how many of the last messages in the store the turn replaces.

        Returns:
            The conversation as it is now: with its number if it was written, and with a title.
        """
        conversation = _consistent(conversation, messages, first_is_new=bool(replaces))
        self._kv_is_current |= bool(turn)
        if replaces and self.keep:  # saved states hold what is replaced
            self._states.remove(conversation.uid)
            self._kv_is_current = bool(turn)
        if self._unwritten:  # write everything that the store lacks
            turn, replaces = messages, EVERY_MESSAGE
        written = None
        if self.writes:
            written = self.read(lambda store: store.conversations.add(conversation, turn, replaces))
        if written is None:
            self._unwritten |= self.keep and self.store is not None
            return conversation
        self._unwritten = False
        return written

    def drop_unanswered(self, conversation: Conversation, llama: Llama) -> None:
        """Delete what the matrix learned from a question that is not kept: it had no answer."""
        self._kv_is_current = False
        if self.writes:
            llama.wait_for_store()
            self.read(lambda store: store.conversations.unlearn(conversation))

    def write_rest(self, conversation: Conversation, messages: Sequence[Message]) -> Conversation:
        """Write the messages of the running conversation that the store refused before, if any."""
        if self._unwritten and messages:
            return self.write_turn(conversation, messages)
        return conversation

    def leave(
        self, conversation: Conversation, messages: Sequence[Message], llama: Llama
    ) -> Conversation:
        """Write what is not written yet, and save the KV of the conversation.

        Returns:
            The conversation as it is now in the store.
        """
        conversation = self.write_rest(conversation, messages)
        if self._kv_is_current and self.writes and conversation.id:
            self._states.save(llama, conversation.uid)
        return conversation

    def forget_memory(self, number: int, llama: Llama) -> Deleted:
        """Delete a memory wherever its text is: the store, all KV states and the model's context.

        Raises:
            ConfigError: there is no such memory, or the store must not be written.
            StoreError: the store cannot be written.
        """
        deleted = self.writable().memories.remove(number)
        if deleted is None:
            raise ConfigError(f"there is no memory {number}; /memories lists them")
        self._states.clear()
        llama.reset()
        self._kv_is_current = False
        return deleted

    def reread(self, conversation: Conversation, messages: list[Message]) -> list[Message]:
        """The messages of the running conversation as the store has them now, if it has them all.

        Raises:
            StoreError: the store cannot be read.
        """
        if self.store is None or not conversation.id or self._unwritten:
            return messages
        return self.store.conversations.messages(conversation)

    def close(self) -> None:
        """Close the store."""
        if self.store is not None:
            self.store.close()
            self.store = None


def _consistent(
    conversation: Conversation, messages: Sequence[Message], first_is_new: bool
) -> Conversation:
    """The conversation with a title, and without a summary of messages that were undone.

    Args:
        conversation: its state after a turn.
        messages: all of its messages.
        first_is_new: messages were taken back; without older ones the title follows.
    """
    if first_is_new and len(messages) <= _TURN:
        conversation = replace(conversation, title="")
    if messages and not conversation.title:
        conversation = replace(conversation, title=title_of(messages[0].content))
    if conversation.summarized > len(messages):
        conversation = replace(conversation, summarized=0, summary="")
    return conversation
