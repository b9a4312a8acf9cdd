"""One turn: a question is prepared, and its answer is streamed.

`Turns` finds the texts that match a question and fits them and the conversation into the context;
the result is a `Turn`. `Answer` streams the model's answer to it and collects what was said.

Knows recall, the window and the model. Does not know how a turn is kept: see `keeping.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from jinja2 import TemplateError

from aded_edge.errors import AdedError, ConfigError
from aded_edge.runtime.llama import Llama
from aded_edge.store import Conversation, Deleted, Message

from .attachments import Attached, Attachments, attached_to, in_front_of
from .documents import refresh
from .keeping import Keeping
from .recall import Recalled, Searched, Size, cited, given, recall, standing
from .window import ChatMessage, Window

log = logging.getLogger("aded_edge")

REFRESH_SECONDS = 10.0
"""The files of the notes are checked for changes at most this often."""

STANDING_SHARE = 2
"""Standing memories take at most half of the budget for recalled texts."""

_AROUND = 100
"""Estimate of the tokens that the chat template and the headings of recalled texts take."""

_FIGURES = (
    "prompt_tokens",
    "tokens",
    "steps",
    "drafted",
    "accepted",
    "seconds_prompt",
    "seconds",
    "seconds_plain",
)
"""Figures of `Stats` that are kept with an answer."""


@dataclass(frozen=True)
class Turn:
    """A question that is ready to be answered.

    Attributes:
        conversation: its state, summarized as far as the context requires.
        messages: all of its messages before the question.
        question: the question.
        attached: the files that are given whole with it.
        recalled: the texts that were found for it.
        chat: everything that the model is given.
    """

    conversation: Conversation
    messages: Sequence[Message]
    question: Message
    attached: Sequence[Attached]
    recalled: Sequence[Recalled]
    chat: list[ChatMessage]


class Turns:
    """Prepares the turns of an assistant.

    Args:
        keeping: the store to search.
        attachments: the attached files to search.
        window: fits the result into the context.
        size: counts the tokens of a text.
    """

    def __init__(
        self, keeping: Keeping, attachments: Attachments, window: Window, size: Size
    ) -> None:
        self._keeping = keeping
        self._attachments = attachments
        self._window = window
        self._size = size
        self._refreshed = float("-inf")

    def prepare(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        text: str,
        budget: int,
        earlier: Sequence[Attached] = (),
    ) -> Turn:
        """Prepare a new question: find what matches it, and fit it into the context.

        Args:
            conversation: the running conversation.
            messages: all of its messages before the question.
            text: the question.
            budget: tokens for standing memories and recalled texts together.
            earlier: files of the question that this one replaces.

        Raises:
            PromptError: the question does not fit into the context.
            AdedError: the model cannot summarize the conversation.
        """
        in_context = messages[min(conversation.summarized, len(messages)) :]
        pending = self._attachments.whole
        attached = [*(file for file in earlier if file not in pending), *pending]
        whole = [file.text for file in attached]
        recalled = self._recall(conversation, in_context, text, budget, whole)
        question = Message(
            "user", text, given=in_front_of(given(text, recalled), attached), created=_now()
        )
        if not messages:  # the title follows the first question, also when that is changed
            conversation = replace(conversation, title="")
        return self._fit(conversation, messages, question, recalled)

    def refresh_notes(self) -> Deleted:
        """Read files of the notes that changed, if that was not done lately.

        Returns:
            Where texts of files that are gone had been given.
        """
        if not self._keeping.writes or time.monotonic() - self._refreshed <= REFRESH_SECONDS:
            return Deleted()
        self._refreshed = time.monotonic()
        try:
            refreshed = self._keeping.read(lambda store: refresh(store.notes))
        except (ConfigError, OSError) as error:  # a folder vanished while it was read
            log.warning("the notes could not be read: %s", error)
            return Deleted()
        return refreshed.forgotten if refreshed is not None else Deleted()

    def repeat(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        question: Message,
        recalled: Sequence[Recalled],
    ) -> Turn:
        """Prepare a question that was asked before, with the texts that were recalled then.

        Raises:
            PromptError, AdedError: as for `prepare`.
        """
        return self._fit(conversation, messages, question, recalled)

    def stand(self, budget: int) -> None:
        """Choose the memories that are part of every context from now on.

        Args:
            budget: tokens for standing memories and recalled texts together.
        """
        memories = self._keeping.read(lambda store: store.memories.all()) or []
        self._window.standing = standing(memories, self._size, budget // STANDING_SHARE)

    def _fit(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        question: Message,
        recalled: Sequence[Recalled],
    ) -> Turn:
        summarized = min(conversation.summarized, len(messages))
        conversation = replace(conversation, summarized=summarized)
        text = question.given or question.content
        conversation, chat = self._window.fit(conversation, messages, text)
        if text == question.content:
            question = replace(question, given=None)
        return Turn(conversation, messages, question, attached_to(question), recalled, chat)

    def _recall(
        self,
        conversation: Conversation,
        in_context: Sequence[Message],
        question: str,
        budget: int,
        attached: Sequence[str],
    ) -> list[Recalled]:
        """Find texts that match a question and are not in the context yet."""
        if not in_context:
            self.stand(budget)
        memories = self._window.standing
        # Recalled texts must leave room for the question itself.
        needed = [question, conversation.system, *attached]
        room = self._window.room - sum(map(self._size, needed)) - _AROUND
        free = min(budget, room) - sum(memory.tokens for memory in memories)
        if free <= 0:
            return []
        known = [memory.text for memory in memories]
        known += [message.given or message.content for message in in_context]
        searched = Searched(self._keeping.store, self._attachments.notes, conversation.id)
        found = self._keeping.attempt(
            lambda: recall(question, searched, size=self._size, budget=free, known="\n".join(known))
        )
        return found or []


class Answer:
    """The answer to a turn, while it is streamed and afterwards.

    Args:
        llama: the model.
        turn: the question and its context.

    Attributes:
        cut: why the answer ended early: "stopped" (by the user, or by an error), "limit" (of
            tokens), or None.
    """

    def __init__(self, llama: Llama, turn: Turn) -> None:
        self.cut: str | None = "stopped"
        self._llama = llama
        self._turn = turn
        self._said: list[str] = []

    @property
    def worth_keeping(self) -> bool:
        """Whether anything was said, or the model itself ended the answer without a word."""
        return bool(self._text) or self.cut is None

    def stream(self, sampling: Mapping[str, Any]) -> Generator[str, None, None]:
        """Stream the answer piece by piece.

        Args:
            sampling: keyword arguments of `create_chat_completion`.

        Raises:
            AdedError: the model's chat template or llama.cpp refuses the conversation.
        """
        chunks = self._chunks(sampling)
        try:
            for piece, reason in chunks:
                if reason is not None:
                    self.cut = "limit" if reason == "length" else None
                if piece:
                    self._said.append(piece)
                    yield piece
        finally:
            chunks.close()  # the figures of a stream that was stopped are complete only then

    def message(self) -> Message:
        """The answer as a message, with its figures and sources."""
        stats = self._llama.stats
        given_ = [*(file.as_source() for file in self._turn.attached), *self._turn.recalled]
        return Message(
            "assistant",
            self._text,
            cut=self.cut,
            model=self._turn.conversation.model,
            tokens=stats.tokens,
            stats={name: getattr(stats, name) for name in _FIGURES},
            sources=cited(self._text, self._turn.question.content, given_),
            created=_now(),
        )

    @property
    def _text(self) -> str:
        return "".join(self._said)

    def _chunks(self, sampling: Mapping[str, Any]) -> Generator[tuple[str, str | None], None, None]:
        try:
            chunks: Any = self._llama.create_chat_completion(
                self._llama.as_text(self._turn.chat), stream=True, **sampling
            )
            for chunk in chunks:
                choice = chunk["choices"][0]
                yield choice["delta"].get("content") or "", choice["finish_reason"]
        except AdedError:
            raise
        except (ValueError, RuntimeError, TemplateError, ArithmeticError, TypeError) as error:
            reason = " ".join(str(error).split())  # a template's message may have lines
            raise AdedError(f"the model cannot answer this conversation: {reason}") from error


def _now() -> str:
    """The time in UTC, as the store writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
