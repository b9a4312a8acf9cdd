"""Keeping: what an assistant writes to the disk, and when.

`Keeping.write` writes a turn to the store as soon as its answer ends. If the store refuses (locked,
full), the turn is written later, with the next one or when the conversation is left. Other
processes may have the conversation open: what they say in it is neither read nor changed. The KV of
a conversation is saved when it is left and loaded when it is resumed.

Knows when to write, and what was not written yet. Does not know SQL, nor how an answer is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from aded_edge.errors import ConfigError
from aded_edge.runtime.llama import Llama
from aded_edge.store import (
    REMNANTS,
    TURN,
    Conversation,
    Deleted,
    Elsewhere,
    Message,
    Store,
    WarnOnce,
    WorkingCopy,
    title_of,
)

from .kv_states import KVStates

log = logging.getLogger("aded_edge")

T = TypeVar("T")


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
        self._copy: WorkingCopy | None = None  # of the running conversation
        self._refused = False  # the store lacks something of the running conversation
        self._told_elsewhere = False
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

    @property
    def kept(self) -> bool:
        """Whether everything of the running conversation is in the store."""
        return self.writes and not self._refused

    def take_up(self, number: int | None) -> WorkingCopy | None:
        """An earlier conversation by its number, or the last one; None if there is none.

        Raises:
            StoreError: it cannot be read.
        """
        return self.store.take_up(number) if self.store is not None else None

    def start(
        self, conversation: Conversation, llama: Llama, copy: WorkingCopy | None = None
    ) -> None:
        """Begin to keep a conversation; what the model learns now belongs to it.

        Args:
            conversation: new, or that of `copy`.
            llama: the model.
            copy: of a conversation that is resumed, see `take_up`.
        """
        self._refused = self._kv_is_current = self._told_elsewhere = False
        self._copy = copy
        if copy is None and self.store is not None:
            self._copy = self.store.begin(conversation)
        llama.belongs_to(conversation.uid)

    def load_kv(self, conversation: Conversation, llama: Llama) -> None:
        """Load the saved KV of a resumed conversation into the model's context, if there is one."""
        if self.keep:
            self._states.load(llama, conversation.uid)

    def write(
        self, conversation: Conversation, messages: list[Message], llama: Llama
    ) -> tuple[Conversation, list[Message]]:
        """Write the running conversation to the store: its state, what is new, what was taken back.

        Args:
            conversation: its state.
            messages: all of its messages.
            llama: the model.

        Returns:
            Both as they are now: the conversation with its number if it was written, and with a
            title. If the conversation was deleted elsewhere, only what is new, as another one.
        """
        copy = self._copy
        taken_back = copy is not None and copy.takes_back(messages)
        conversation = _consistent(conversation, messages, first_is_new=taken_back)
        if copy is not None and copy.lacks(messages):
            # After /undo the context still holds what was taken back.
            self._kv_is_current = bool(messages) and not copy.knows(messages[-1])
        if taken_back and self.keep:
            self._remove_states(conversation.uid)  # saved states hold what is taken back
            llama.wait_for_store()  # what was learned from it is deleted too
        if copy is None or not self.writes:
            return conversation, messages
        written = self.attempt(lambda: copy.write(conversation, messages))
        self._refused = written is None
        if written is None:
            return conversation, messages
        if written.remnants:
            log.warning("%s", REMNANTS)
        if written.elsewhere is Elsewhere.DELETED:
            self._begin_anew(conversation, written.conversation, llama)
            return written.conversation, written.messages
        if written.elsewhere is Elsewhere.WENT_ON and not self._told_elsewhere:
            self._told_elsewhere = True
            log.warning(
                "conversation %d went on in another window: what was said there is kept, and not "
                "known here; /resume %d takes it up",
                written.conversation.id,
                written.conversation.id,
            )
        return written.conversation, messages

    def _begin_anew(self, old: Conversation, new: Conversation, llama: Llama) -> None:
        self._kv_is_current = False  # the context still holds what was deleted
        llama.reset()
        what = f"this turn begins conversation {new.id}" if new.id else "a new one begins"
        log.warning("conversation %d was deleted in another window: %s", old.id, what)
        llama.belongs_to(new.uid)
        # What the last answer taught was saved under the old uid, maybe only now.
        copy = self._copy
        if copy is not None and new.id:
            llama.wait_for_store()
            self.attempt(lambda: copy.take_learned(old.uid))

    def expect_another_answer(self, llama: Llama) -> None:
        """Note that what is learned from now on comes from an answer that replaces the last one."""
        if self._copy is not None and self.writes:
            llama.wait_for_store()
            self.attempt(self._copy.expect_another_answer)

    def drop_unanswered(self, llama: Llama) -> None:
        """Delete what the matrix learned from a question that is not kept: it had no answer."""
        self._kv_is_current = False
        if self._copy is not None and self.writes:
            llama.wait_for_store()
            if self.attempt(self._copy.unlearn) is False:
                log.warning("%s", REMNANTS)

    def write_rest(
        self, conversation: Conversation, messages: list[Message], llama: Llama
    ) -> tuple[Conversation, list[Message]]:
        """Write what the store refused before, if anything."""
        if self._copy is not None and self._copy.lacks(messages):
            return self.write(conversation, messages, llama)
        return conversation, messages

    def leave(self, conversation: Conversation, messages: list[Message], llama: Llama) -> None:
        """Write what is not written yet, and save the KV of the conversation."""
        conversation, _ = self.write_rest(conversation, messages, llama)
        copy = self._copy
        if copy is None or not self._kv_is_current or not self.writes or not conversation.id:
            return
        self._states.save(llama, conversation.uid)
        # Afterwards, so that a conversation that is deleted meanwhile leaves no state behind.
        if self.attempt(copy.exists) is False:
            self._states.remove(conversation.uid)

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

    def forget_files(
        self,
        deleted: Deleted,
        conversation: Conversation,
        messages: list[Message],
        llama: Llama,
    ) -> tuple[Conversation, list[Message]]:
        """Delete what is left of files of the notes that are gone: KV states, and here.

        Args:
            deleted: what the store says about it.
            conversation: the running one.
            messages: all of its messages.
            llama: the model.

        Returns:
            The running conversation and its messages, without what was given of the files.
        """
        given = [one.uid for one in deleted.given]
        self._remove_states(*given)
        if deleted.remnants:
            log.warning("%s", REMNANTS)
        copy = self._copy
        if conversation.uid not in given or copy is None:
            return conversation, messages
        llama.reset()
        self._kv_is_current = False
        conversation = replace(conversation, summary="", summarized=0)
        fresh = None if copy.lacks(messages) else self.attempt(copy.reread)
        return conversation, copy.without_recalled(messages) if fresh is None else fresh

    def _remove_states(self, *uids: str) -> None:
        gone = [self._states.remove(uid) for uid in uids]
        if not all(gone):
            log.warning("a file could not be deleted: delete %s by hand", self._states.folder)

    def reread(self, conversation: Conversation, messages: list[Message]) -> list[Message]:
        """The messages of the running conversation as the store has them now, if it has them all.

        Those that another process added are left out.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._copy is None or not conversation.id or self._copy.lacks(messages):
            return messages
        return self._copy.reread()

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
    if first_is_new and len(messages) <= TURN:
        conversation = replace(conversation, title="")
    if messages and not conversation.title:
        conversation = replace(conversation, title=title_of(messages[0].content))
    if conversation.summarized > len(messages):
        conversation = replace(conversation, summarized=0, summary="")
    return conversation
