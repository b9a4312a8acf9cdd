"""`Assistant`: a model that keeps its conversations, remembers, and is given what it needs.

Wires a `Llama`, the store, the window and recall. A turn is on disk, whole, before `ask` ends;
a store that cannot be used never stops an answer, says so in one line, and what it missed is
written when it can be used again.

Does not know a terminal, SQL, tokens or KV cells.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from aded_edge import models
from aded_edge.decode.stats import Stats
from aded_edge.errors import AdedError, ConfigError
from aded_edge.llamacpp.fingerprint import model_name
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import StoreChoice, check_store, default_threads
from aded_edge.store import (
    EVERY_MESSAGE,
    Conversation,
    Hit,
    Message,
    Store,
    default_store_path,
    title_of,
)
from aded_edge.store.warn_once import WarnOnce

from . import recall
from .documents import put, read_text, refresh
from .kv_states import KVStates
from .recall import Recalled
from .settings import Persona, load_settings
from .window import Overflow, Window, check_overflow, token_counter

log = logging.getLogger("aded_edge")

REFRESH_SECONDS = 10.0
"""Files of notes are looked at again after this time."""

MEMORY_SHARE = 8
"""An eighth of the context is for memories and what else is recalled, unless told otherwise."""

WHOLE = 3
"""A file of up to a third of the context is attached whole; of a larger one, what matches."""

_AROUND = 100
"""Tokens that templates and headings take, about."""

_REMEMBER = re.compile(r"\s*(?:please\s+)?remember(?:\s+that\s+|\s*:\s*)(.+)", re.I | re.S)

_FIGURES = [
    "prompt_tokens",
    "tokens",
    "steps",
    "drafted",
    "accepted",
    "seconds_prompt",
    "seconds",
    "seconds_plain",
]

T = TypeVar("T")


class Assistant:
    """A personal assistant; also a context manager.

    Args:
        model: a GGUF file, a name in `models/`, `hf:owner/repo[:file or quantisation]`, or a
            `Llama` that is open already, which stays the caller's. None for the persona's.
        store: the file of conversations, memories and the matrix: "default", a path, or None.
        persona: one of the config file's by its name, or another.
        system: a system message, in the place of the persona's.
        keep: write into the store. Without it nothing of what is said reaches the disk, though
            what is there can be recalled.
        overflow: "summary" or "drop", for what outgrows the context.
        memory_tokens: the budget for what is recalled; None for an eighth of the context.
        sampling: keyword arguments of `create_chat_completion`.
        kv_folder: where KV states are kept; None for the user's cache folder.
        **loading: keyword arguments of `Llama`.

    Attributes:
        llama: the model.
        conversation: what is known of the running conversation.
        messages: all of its messages.
        used: what was given to the model with the last question, standing memories included.
        memory_tokens: the budget; may be set at any time.
        sampling: how answers are sampled; may be changed at any time.

    Raises:
        ConfigError: an option or persona is unknown.
        ModelError: the model cannot be found or loaded.
    """

    def __init__(
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
        if isinstance(persona, str):
            persona = load_settings().persona(persona)
        check_overflow(overflow)
        path = check_store(store, default_store_path())
        self._try = WarnOnce("it")
        self._keep = keep
        self._store = self._open(path) if path is not None else None
        self._owns = not isinstance(model, Llama)
        try:
            self.llama = model if isinstance(model, Llama) else self._load(model, persona, loading)
        except BaseException:
            if self._store is not None:
                self._store.close()
            raise
        self.sampling = {**(persona.sampling if persona else {}), **(sampling or {})}
        self._persona = persona.name if persona else None
        self._begin_with = persona.system if system is None and persona else system or ""
        self._size = token_counter(self.llama)
        self.memory_tokens = (
            self.llama.n_ctx() // MEMORY_SHARE if memory_tokens is None else memory_tokens
        )
        self._window = Window(self.llama, overflow, self._size)
        self._states = KVStates(kv_folder)
        self._refreshed = float("-inf")
        self.conversation = Conversation(0, "", "", "")
        self.messages: list[Message] = []
        self.used: list[Recalled] = []
        self._files: list[tuple[Path, str]] = []  # attached whole, not asked about yet
        self._attached: Store | None = None
        self._missed = False  # the store lacks some of the messages
        self._asked = False  # something, since the conversation was taken up
        self.new()

    # --- talking --------------------------------------------------------------------------------

    def ask(self, text: str) -> Generator[str, None, None]:
        """Streams the answer; the turn is on disk when the generator ends.

        Closing it early keeps what was said, marked as cut. Where nothing was said, or an error
        came first, the conversation is as it was.

        Raises:
            PromptError: the message does not fit into the context.
            AdedError: the model's chat template or llama.cpp refuses the conversation.
        """
        yield from self._answer(Message("user", text))

    def regenerate(self) -> Generator[str, None, None]:
        """Answers the last question anew; the new answer takes the old one's place.

        Raises:
            ConfigError: nothing was asked yet.
        """
        question = self._last_question()
        uses = [use for use in self.used if use not in self._window.standing]
        seed = int.from_bytes(os.urandom(4), "little")
        yield from self._answer(question, 2, uses, {**self.sampling, "seed": seed})

    def edit(self, text: str) -> Generator[str, None, None]:
        """Asks another question in the place of the last one.

        Raises:
            ConfigError: nothing was asked yet.
        """
        self._last_question()
        yield from self._answer(Message("user", text), 2)

    def undo(self) -> Message:
        """Takes the last question and its answer back; returns the question.

        Raises:
            ConfigError: nothing was asked yet.
        """
        question = self._last_question()
        self.messages = self.messages[:-2]
        self._forget_summary_of_undone()
        if self.conversation.id or self._missed:
            self._write_turn([], 2)
        return question

    # --- conversations --------------------------------------------------------------------------

    def new(self) -> None:
        """Begins a conversation; the running one stays on disk."""
        self._leave()
        name = model_name(self.llama)
        fresh = Conversation(0, uuid.uuid4().hex, "", name, self._persona, self._begin_with)
        self._take_up(fresh, [])

    def resume(self, number: int | None = None) -> Conversation:
        """Goes on with an earlier conversation, by its number; without one, with the last.

        Raises:
            ConfigError: there is no such conversation.
            StoreError: it cannot be read.
        """
        store = self._store
        found = None
        if store is not None:
            conversations = store.conversations
            found = self._try(
                lambda: conversations.latest() if number is None else conversations.get(number)
            )
        if store is None or found is None:
            which = "no conversation yet" if number is None else f"no conversation {number}"
            raise ConfigError(f"there is {which}; `aded_edge history list` shows those there are")
        messages = store.conversations.messages(found)
        self._leave()
        self._take_up(found, messages)
        if self._keep:
            self._states.load(self.llama, found.uid)
        return found

    def set_system(self, text: str) -> None:
        """Gives the running conversation another system message."""
        self.conversation = replace(self.conversation, system=text)
        if self.messages:
            self._write_turn([], 0)

    def conversations(self, limit: int = 20) -> list[Conversation]:
        """Those talked in last, first."""
        store = self._store
        return (store and self._try(lambda: store.conversations.recent(limit))) or []

    def search(self, text: str, limit: int = 20) -> list[Hit]:
        """Messages of all conversations that hold every word of a text, best first."""
        store = self._store
        return (store and self._try(lambda: store.conversations.search(text, limit))) or []

    # --- what it knows --------------------------------------------------------------------------

    def remember(self, text: str) -> None:
        """Makes a text a memory, which the model is given from the next question on.

        Raises:
            ConfigError: the text is empty, or there is no store to keep it in.
            StoreError: the store cannot be written.
        """
        text = " ".join(text.split())
        if not text:
            raise ConfigError("there is nothing to remember; say what")
        self._writable().memories.add(text)

    def forget(self, number: int) -> None:
        """Forgets a memory; the model is not given it again.

        Raises:
            ConfigError: there is no such memory, or no store.
            StoreError: the store cannot be written.
        """
        store = self._writable()
        if self._missed and self.messages:
            self._write_turn([], 0)
        if not store.memories.remove(number):
            raise ConfigError(f"there is no memory {number}; /memories lists them")
        self._window.standing = [use for use in self._window.standing if not _is(use, number)]
        self.used = [use for use in self.used if not _is(use, number)]
        # Its text is gone from the disk; it must not come back from what the model holds.
        if self.conversation.id and not self._missed:
            self.messages = store.conversations.messages(self.conversation)
        self._states.clear()
        self.llama.reset()
        self._asked = False

    def memories(self) -> list[Any]:
        """All memories, oldest first."""
        store = self._store
        return (store and self._try(store.memories.all)) or []

    def attach(self, path: str | os.PathLike[str]) -> str:
        """Gives the model a file: whole with the next question, or what matches each question.

        Returns:
            A line that says which.

        Raises:
            ConfigError: the file cannot be read, or is no text.
        """
        file = Path(os.path.expanduser(path))
        text = read_text(file)
        tokens = self._size(text)
        others = sum(self._size(text) for _, text in self._files)
        if tokens + others <= self.llama.n_ctx() // WHOLE:
            self._files.append((file, text))
            return f"{file.name}: {tokens} tokens, given whole with the next question"
        if self._attached is None:
            self._attached = Store.in_memory()
        pieces = put(self._attached.notes, file, text.encode(), text)
        return (
            f"{file.name}: {tokens} tokens in {pieces} passages; each question gets those that it "
            "matches"
        )

    @property
    def stats(self) -> Stats:
        """Figures of the last answer, and `stats.cumulative` of all."""
        return self.llama.stats

    @property
    def context(self) -> tuple[int, int]:
        """Tokens in the context, and how many it holds."""
        return self.llama.n_tokens, self.llama.n_ctx()

    @property
    def kept(self) -> bool:
        """Whether what is said is kept on disk."""
        return self._keep and self._store is not None and not self._store.read_only

    def close(self) -> None:
        """Saves the KV of the conversation and closes everything that was opened."""
        self._leave()
        if self._owns:
            self.llama.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Assistant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- one turn -------------------------------------------------------------------------------

    def _answer(
        self,
        question: Message,
        replaces: int = 0,
        uses: list[Recalled] | None = None,
        sampling: Mapping[str, Any] | None = None,
    ) -> Generator[str, None, None]:
        messages = self.messages[: len(self.messages) - replaces]
        summarized = min(self.conversation.summarized, len(messages))
        begun = replace(self.conversation, summarized=summarized)
        files = self._files
        if uses is None:  # it was not asked before
            uses = self._recall(question.content, messages[summarized:])
            question = replace(question, given=self._with_files(question, uses))
            files = []
        begun, chat = self._window.fit(begun, messages, question.given or question.content)
        said: list[str] = []
        cut: str | None = "stopped"
        stream = self._stream(chat, sampling or self.sampling)
        try:
            for piece, reason in stream:
                if reason is not None:
                    cut = "limit" if reason == "length" else None
                if piece:
                    said.append(piece)
                    yield piece
        finally:
            stream.close()  # a stream that was cut short must settle now, not when collected
            answer = "".join(said)
            if answer or cut is None:
                if question.given == question.content:
                    question = replace(question, given=None)
                self.conversation, self.messages = begun, messages
                self.used = [*self._window.standing, *uses]
                self._files, self._asked = files, True
                sources = recall.cited(answer, question.content, uses)
                self._write_turn([question, self._said(answer, cut, sources)], replaces)

    def _stream(
        self, chat: list[dict[str, str]], sampling: Mapping[str, Any]
    ) -> Generator[tuple[str, str | None], None, None]:
        try:
            chunks: Any = self.llama.create_chat_completion(
                cast(Any, chat), stream=True, **sampling
            )
            for chunk in chunks:
                choice = chunk["choices"][0]
                yield choice["delta"].get("content") or "", choice["finish_reason"]
        except AdedError:
            raise
        except (ValueError, RuntimeError) as error:
            raise AdedError(f"the model cannot answer this conversation: {error}") from error

    def _said(self, answer: str, cut: str | None, sources: tuple[str, ...]) -> Message:
        stats = self.llama.stats
        figures = {name: getattr(stats, name) for name in _FIGURES}
        model = self.conversation.model
        return Message(
            "assistant", answer, None, cut, model, stats.tokens, figures, sources=sources
        )

    def _recall(self, question: str, context: Sequence[Message]) -> list[Recalled]:
        """What matches a question, and is not in the context yet."""
        store = self._store
        self._refresh_notes()
        if not context:
            self._stand()
        standing = sum(use.tokens for use in self._window.standing)
        # What is recalled must not push out the question itself.
        texts = [question, self.conversation.system, *(text for _, text in self._files)]
        room = self._window.room - sum(map(self._size, texts)) - _AROUND
        budget = min(self.memory_tokens, room) - standing
        if budget <= 0:
            return []
        attached = [self._attached.notes] if self._attached is not None else []
        known = [use.text for use in self._window.standing]
        known += [message.given or message.content for message in context]
        found = self._try(
            lambda: recall.recall(
                question,
                store,
                attached,
                self._size,
                budget,
                self.conversation.id,
                "\n".join(known),
            )
        )
        return found or []

    def _with_files(self, question: Message, uses: Sequence[Recalled]) -> str:
        parts = [f"File {file.name}:\n{text}\n" for file, text in self._files]
        return "\n".join([*parts, recall.given(question.content, uses)])

    def _stand(self) -> None:
        """The memories that stand in the context of this conversation."""
        memories = self.memories()
        self._window.standing = recall.standing(memories, self._size, self.memory_tokens // 2)

    def _refresh_notes(self) -> None:
        store = self._store
        if store is None or store.read_only or not self._keep:
            return
        if time.monotonic() - self._refreshed > REFRESH_SECONDS:
            self._refreshed = time.monotonic()
            try:
                self._try(lambda: refresh(store.notes))
            except (ConfigError, OSError) as error:  # a place that goes away while it is read
                log.warning("the notes could not be looked at: %s", error)

    def _last_question(self) -> Message:
        if not self.messages:
            raise ConfigError("nothing was asked yet in this conversation")
        return self.messages[-2]

    # --- keeping --------------------------------------------------------------------------------

    def _take_up(self, conversation: Conversation, messages: list[Message]) -> None:
        if self._attached is not None:
            self._attached.close()
        self.conversation, self.messages = conversation, messages
        self.used, self._files, self._attached = [], [], None
        self._missed = self._asked = False
        self._stand()
        self.llama.belongs_to(conversation.uid)

    def _leave(self) -> None:
        if self._missed and self.messages:
            self._write_turn([], 0)
        # Only then is what the KV holds this conversation's.
        if self._asked and self.kept and self.conversation.id:
            self._states.save(self.llama, self.conversation.uid)

    def _write_turn(self, turn: list[Message], replaces: int) -> None:
        self.messages = [*self.messages, *turn]
        if not self.conversation.title:
            self.conversation = replace(self.conversation, title=title_of(self.messages[0].content))
        self._forget_summary_of_undone()
        # What could not be written before is written now, with all that it lacks.
        new = self.messages if self._missed else turn
        old = EVERY_MESSAGE if self._missed else replaces
        kept = self._write(lambda store: store.conversations.add(self.conversation, new, old))
        if kept is not None:
            self.conversation, self._missed = kept, False
        elif self._keep and self._store is not None:
            self._missed = True

    def _forget_summary_of_undone(self) -> None:
        if self.conversation.summarized > len(self.messages):
            self.conversation = replace(self.conversation, summarized=0, summary="")

    def _open(self, path: Path) -> Store | None:
        if not self._keep and not path.exists():
            return None
        return self._try(lambda: Store.open(path, read_only=not self._keep))

    def _writable(self) -> Store:
        if self._store is None or not self._keep:
            raise ConfigError("nothing is kept here: start without --no-log, and with a store")
        return self._store

    def _write(self, work: Callable[[Store], T]) -> T | None:
        store = self._store
        return self._try(lambda: work(store)) if store is not None and self.kept else None

    def _load(
        self,
        model: str | os.PathLike[str] | None,
        persona: Persona | None,
        loading: Mapping[str, Any],
    ) -> Llama:
        chosen = model or (persona.options.get("model") if persona else None)
        if chosen is None:
            raise ConfigError("no model was given; give a file, a name in models/ or hf:owner/repo")
        threads = loading.get("n_threads") or default_threads()
        options = {"n_ctx": 4096, "n_gpu_layers": -1, "verbose": False, **loading}
        options |= {"n_threads": threads, "n_threads_batch": threads}
        store = self._store.path if self._store is not None else None
        return Llama(models.resolve(chosen), store=store, keep=self._keep, **options)


def _is(use: Recalled, memory: int) -> bool:
    return use.kind == "memory" and use.where == str(memory)


def memory_in(text: str) -> str | None:
    """What a message asks to be remembered ("remember that ..."), or None."""
    found = _REMEMBER.fullmatch(text)
    return " ".join(found[1].split()) if found else None
