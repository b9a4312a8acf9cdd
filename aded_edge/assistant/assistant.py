"""`Assistant`: the public class, which joins a model, its store and its conversations.

`ask`, `regenerate` and `edit` prepare a turn and stream its answer (`turn.py`), then write it
(`keeping.py`). Knows what belongs to a running conversation. Does not know a terminal, SQL or
drafts.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from aded_edge.decode.stats import Stats
from aded_edge.errors import ConfigError
from aded_edge.llamacpp.fingerprint import model_name
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.runtime.access import Access, alone, streaming
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import StoreChoice, check_store
from aded_edge.store import (
    TURN,
    Conversation,
    Deleted,
    Message,
    WorkingCopy,
    default_store_path,
)

from .attachments import Attachments, attached_to
from .earlier import Earlier
from .keeping import Keeping
from .kv_states import KVStates
from .opening import model_of, open_model
from .recall import Recalled
from .sampling import recommended_sampling
from .settings import Persona, load_settings
from .turn import Answer, Turn, Turns
from .window import Overflow, Window, check_overflow, token_counter

log = logging.getLogger("aded_edge")

MEMORY_SHARE = 8
"""Standing memories and recalled texts take an eighth of the context, unless told otherwise."""


class Assistant(Earlier, AbstractContextManager["Assistant"]):
    """A personal assistant; also a context manager.

    A turn is on disk, complete, before `ask` ends. A store that cannot be used does not stop an
    answer: the fault is logged once, and what could not be written is written later.

    Several threads may use it: their questions are answered one after the other. A stream that is
    open and not read keeps other threads waiting for `runtime.access.PATIENCE` seconds.

    Args:
        model: a GGUF file, a name in `models/`, `hf:owner/repo[:file or quantisation]`, or an
            open `Llama`, which `close` leaves open. None for the persona's model.
        store: the file of conversations, memories, notes and the matrix: "default", a path, or
            None for no store.
        persona: name of a persona in the config file, or a `Persona`.
        system: a system message; it replaces the persona's.
        keep: write to the store. If False, nothing that is said reaches the disk, but earlier
            conversations, memories and notes are still recalled.
        overflow: "summary" or "drop": what happens to the oldest turns when the context is full.
        memory_tokens: budget in tokens for standing memories and recalled texts; None for an
            eighth of the context.
        sampling: keyword arguments of `create_chat_completion`; they override the persona's, and
            those override what the model file recommends.
        kv_folder: folder of the saved KV states; None for one in the user's cache folder.
        **loading: keyword arguments of `Llama`.

    Attributes:
        llama: the model.
        conversation: the running conversation, without its messages.
        messages: all messages of the running conversation.
        used: everything that the model was given with the last question: standing memories and
            recalled texts.
        memory_tokens: the budget; may be set at any time.
        sampling: how answers are sampled; may be changed at any time.

    Raises:
        ConfigError: an option or persona is unknown.
        ModelError: the model cannot be found or loaded.
    """

    def __init__(  # noqa: PLR0913  (its arguments are public)
        self,
        model: str | os.PathLike[str] | Llama | None = None,
        *,
        store: StoreChoice = "default",
        persona: str | Persona | None = None,
        system: str | None = None,
        keep: bool = True,
        overflow: Overflow = "summary",
        memory_tokens: int | None = None,
        sampling: Mapping[str, Any] | None = None,
        kv_folder: Path | None = None,
        **loading: Any,
    ) -> None:
        self._access = Access()
        if isinstance(persona, str):
            persona = load_settings().persona(persona)
        check_overflow(overflow)
        path = check_store(store, default_store_path())
        self._keeping = Keeping(path, keep, KVStates(kv_folder))
        self._owns = not isinstance(model, Llama)
        try:
            if isinstance(model, Llama):
                self.llama = model
            else:
                self.llama = open_model(model or model_of(persona), self._keeping, loading)
        except BaseException:
            self._keeping.close()
            raise
        own = persona.sampling if persona else {}
        self.sampling = {**recommended_sampling(self.llama.metadata), **own, **(sampling or {})}
        self._persona = persona.name if persona else None
        self._system = persona.system if system is None and persona else system or ""
        self.memory_tokens = (
            self.llama.n_ctx() // MEMORY_SHARE if memory_tokens is None else memory_tokens
        )
        size = token_counter(self.llama)
        self._window = Window(self.llama, overflow, size)
        self._attachments = Attachments(self.llama.n_ctx(), size)
        self._turns = Turns(self._keeping, self._attachments, self._window, size)
        self.conversation = Conversation(0, "", "", "")
        self.messages: list[Message] = []
        self.used: list[Recalled] = []
        self._open: Generator[str, None, None] | None = None  # the answer that is being streamed
        self.new()

    # --- talking --------------------------------------------------------------------------------

    @streaming
    def ask(self, text: str) -> Generator[str, None, None]:
        """Stream the answer to a question; the turn is on disk when the generator ends.

        Closing the generator early keeps what was said and marks it as cut. If nothing was said,
        or an error came first, the conversation does not change. Whatever changes the conversation
        (another question, `undo`, `new` ...) closes it first.

        Raises:
            PromptError: the message does not fit into the context.
            AdedError: the model's chat template or llama.cpp refuses the conversation; or an
                answer is being generated in another thread.
        """
        self._stop()
        self._refresh_notes()
        turn = self._turns.prepare(self.conversation, self.messages, text, self.memory_tokens)
        yield from self._answer(turn, self.sampling)

    @streaming
    def regenerate(self) -> Generator[str, None, None]:
        """Answer the last question again; the new answer replaces the old one.

        Raises:
            ConfigError: nothing was asked yet.
            PromptError, AdedError: as for `ask`.
        """
        self._stop()
        question = self._last_question()
        recalled = [item for item in self.used if item not in self._window.standing]
        turn = self._turns.repeat(self.conversation, self.messages[:-TURN], question, recalled)
        seed = int.from_bytes(os.urandom(4), "little")
        yield from self._answer(turn, {**self.sampling, "seed": seed})

    @streaming
    def edit(self, text: str) -> Generator[str, None, None]:
        """Replace the last question by another one with the same files, and answer that.

        Raises:
            ConfigError: nothing was asked yet.
            PromptError, AdedError: as for `ask`.
        """
        self._stop()
        self._refresh_notes()
        files = attached_to(self._last_question())
        earlier = self.messages[:-TURN]
        turn = self._turns.prepare(self.conversation, earlier, text, self.memory_tokens, files)
        yield from self._answer(turn, self.sampling)

    @alone
    def undo(self) -> Message:
        """Remove the last question and its answer; return the question.

        Files that were given whole with it are attached to the next question.

        Raises:
            ConfigError: nothing was asked yet.
        """
        self._stop()
        question = self._last_question()
        self._attachments.give_back(attached_to(question))
        self.messages = self.messages[:-TURN]
        self._write()
        return question

    # --- conversations --------------------------------------------------------------------------

    @alone
    def new(self) -> None:
        """Begin a conversation; the running one stays on disk."""
        self._stop()
        self._leave()
        name = model_name(self.llama)
        self._take_up(Conversation(0, uuid.uuid4().hex, "", name, self._persona, self._system), [])

    @alone
    def resume(self, number: int | None = None) -> Conversation:
        """Continue an earlier conversation.

        Args:
            number: its number; None for the last one.

        Raises:
            ConfigError: there is no such conversation.
            StoreError: it cannot be read.
        """
        self._stop()
        self._write_rest()
        copy = self._keeping.take_up(number)
        if copy is None:
            which = "no conversation yet" if number is None else f"no conversation {number}"
            raise ConfigError(f"there is {which}; `aded-edge history list` shows all")
        found = copy.conversation
        self._leave()
        self._take_up(found, copy.messages, copy)
        self._keeping.load_kv(found, self.llama)
        return found

    @alone
    def set_system(self, text: str) -> None:
        """Replace the system message of the running conversation."""
        self._stop()
        self.conversation = replace(self.conversation, system=text)
        if self.messages:
            self._write()

    # --- memories and files ---------------------------------------------------------------------

    @alone
    def forget(self, number: int) -> Deleted:
        """Delete a memory, also from what the model was given earlier.

        Returns:
            What is left of it; answers may repeat it as well.

        Raises:
            ConfigError: there is no such memory, or no store.
            StoreError: the store cannot be written.
        """
        self._stop()
        self._write_rest()
        deleted = self._keeping.forget_memory(number, self.llama)
        # The summary may hold it; the model writes a new one when the context is full again.
        self.conversation = replace(self.conversation, summary="", summarized=0)
        self._window.standing = [m for m in self._window.standing if not m.is_memory(number)]
        self.used = [item for item in self.used if not item.is_memory(number)]
        self.messages = self._keeping.reread(self.conversation, self.messages)
        return deleted

    @alone
    def attach(self, path: str | os.PathLike[str]) -> str:
        """Attach a file. A small file is given whole with the next question and stays with it; of
        a large one, each question gets the passages that match it.

        Returns:
            A line for the user that says how the file is given.

        Raises:
            ConfigError: the file cannot be read, is empty, or is no text.
        """
        return self._attachments.add(path)

    def detach(self) -> list[str]:
        """Detach all files from the questions to come; returns their names."""
        names = self._attachments.names
        self._attachments.clear()
        return names

    @property
    def attached(self) -> list[str]:
        """The names of the files that are attached to the next question."""
        return self._attachments.names

    # --- state ----------------------------------------------------------------------------------

    @property
    def stats(self) -> Stats:
        """Figures of the last answer; `stats.cumulative` has those of all answers."""
        return self.llama.stats

    @property
    def context(self) -> tuple[int, int]:
        """Tokens in the context, and its size in tokens."""
        return self.llama.n_tokens, self.llama.n_ctx()

    @property
    def thinks_first(self) -> bool:
        """Whether answers begin in the model's reasoning, because the prompt ends with <think>."""
        return Prompter(self.llama).opens_thought()

    @property
    def kept(self) -> bool:
        """Whether the conversation is in the store, all of it, and the next turn will be."""
        return self._keeping.kept

    @alone
    def close(self) -> None:
        """Save the KV of the conversation; close the store, and the model unless it was given."""
        self._stop()
        self._leave()
        if self._owns:
            self.llama.close()
        self._keeping.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- how they are done ----------------------------------------------------------------------

    def _answer(self, turn: Turn, sampling: Mapping[str, Any]) -> Generator[str, None, None]:
        self._open = self._stream(turn, sampling)
        yield from self._open

    def _stream(self, turn: Turn, sampling: Mapping[str, Any]) -> Generator[str, None, None]:
        answer = Answer(self.llama, turn)
        try:
            yield from answer.stream(sampling)
        finally:  # also after an error or an interruption, for the part that was said
            self._open = None
            if answer.worth_keeping:
                self._keep(turn, answer.message())
            else:
                self._keeping.drop_unanswered(self.llama)

    def _refresh_notes(self) -> None:
        gone, about = self._turns.refresh_notes(), (self.conversation, self.messages, self.llama)
        self.conversation, self.messages = self._keeping.forget_files(gone, *about)

    def _stop(self) -> None:
        """End the answer that is being streamed, so that nothing is written after what follows."""
        if self._open is None:
            return
        try:
            self._open.close()
        except ValueError as error:  # the generator is running: another thread or a signal handler
            raise ConfigError(
                "an answer is being generated; wait for its next piece, or use another Assistant"
            ) from error

    def _keep(self, turn: Turn, answer: Message) -> None:
        # Both have the time now: a store that is locked may take them later.
        self.messages = [*turn.messages, turn.question, answer]
        self.used = [*self._window.standing, *turn.recalled]
        self._attachments.were_given(turn.attached)
        begun = turn.conversation.created or turn.question.created
        self.conversation = replace(turn.conversation, created=begun, updated=answer.created)
        self._write()

    def _write(self) -> None:
        about = self.conversation, self.messages, self.llama
        self.conversation, self.messages = self._keeping.write(*about)

    def _write_rest(self) -> None:
        about = self.conversation, self.messages, self.llama
        self.conversation, self.messages = self._keeping.write_rest(*about)

    def _leave(self) -> None:
        self._keeping.leave(self.conversation, self.messages, self.llama)

    def _take_up(
        self,
        conversation: Conversation,
        messages: list[Message],
        copy: WorkingCopy | None = None,
    ) -> None:
        if names := self.detach():
            log.info("no longer attached: %s", ", ".join(names))
        self.conversation, self.messages, self.used = conversation, messages, []
        self._turns.stand(self.memory_tokens)
        self._keeping.start(conversation, self.llama, copy)

    def _last_question(self) -> Message:
        if not self.messages:
            raise ConfigError("nothing was asked yet in this conversation")
        self._keeping.expect_another_answer(self.llama)  # or none at all, after `undo`
        return self.messages[-TURN]
