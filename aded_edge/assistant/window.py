"""The window: the part of a conversation that the model is given, so that it fits the context.

It consists of the system message (with standing memories and the summary of earlier messages), the
messages that are not summarized, and the question. When they outgrow the context, the oldest turns
are added to the summary, which the model itself writes, or are left out. All of them stay on disk.

Until then the window only grows at its end, so each turn finds its prefix in the KV cache. The
request for a summary continues that prefix too, so it costs little more than its own tokens.

Knows messages and their sizes. Does not know the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

from jinja2 import TemplateError

from aded_edge.errors import AdedError, ConfigError, PromptError
from aded_edge.llamacpp import Prompter
from aded_edge.runtime.llama import Llama
from aded_edge.store import Conversation, Message

from .recall import Recalled, Size

log = logging.getLogger("aded_edge")

Overflow = Literal["summary", "drop"]
"""What happens to the oldest turns when a conversation outgrows the context."""

ANSWER = 4
"""A quarter of the context is reserved for the answer."""

KEPT = 0.5
"""Share of the room that is filled after an overflow. The free half delays the next overflow, so
that the turns until then find their prefix in the KV cache."""

SUMMARY = 8
"""A summary takes at most an eighth of the context."""

AROUND = 8
"""Estimate of the tokens that a chat template puts around a message."""

_SIZES_KNOWN = 4096
"""Texts whose sizes `token_counter` remembers."""

REQUEST = (
    "Summarize our conversation so far for yourself, in at most {words} words: facts about me, "
    "names, numbers, decisions and open questions. Write only the summary."
)

ChatMessage = dict[str, str]
"""A message as `create_chat_completion` takes it: role and content."""


def check_overflow(value: object) -> Overflow:
    """Return the value if it is one of the choices.

    Raises:
        ConfigError: it is not one of them.
    """
    for choice in get_args(Overflow):
        if value == choice:
            return cast(Overflow, choice)
    raise ConfigError(f"overflow={value!r} is unknown; choose 'summary' or 'drop'")


class Window:
    """Fits conversations into one model's context.

    Args:
        llama: the model.
        overflow: what happens to the oldest turns when the context is full.
        size: counts the tokens of a text.

    Attributes:
        overflow: as given.
        standing: memories that are part of the system message.
    """

    def __init__(self, llama: Llama, overflow: Overflow, size: Size) -> None:
        self.overflow = overflow
        self.standing: list[Recalled] = []
        self._llama = llama
        self._size = size
        self._frame = _frame(llama)
        template = llama.metadata.get("tokenizer.chat_template", "system")
        # Some templates mention the system role only to refuse it.
        refuses = "system role not supported" in template.lower()
        self._knows_system = "system" in template and not refuses

    @property
    def room(self) -> int:
        """Tokens that the system message, all messages and the question may take together."""
        return self._llama.n_ctx() - self._llama.n_ctx() // ANSWER

    def fit(
        self, conversation: Conversation, messages: Sequence[Message], question: str
    ) -> tuple[Conversation, list[ChatMessage]]:
        """Choose what the model is given, and summarize the oldest turns if it does not fit.

        Args:
            conversation: its state before the question.
            messages: all of its messages before the question.
            question: the question, with everything that is given with it.

        Returns:
            The conversation with its new summary, and the messages for the model.

        Raises:
            PromptError: the question does not fit, even without earlier messages.
            AdedError: the model cannot summarize the conversation.
        """
        alone = self._tokens(self._given(replace(conversation, summary=""), (), question))
        if alone > self.room:
            raise PromptError(
                f"the message does not fit into the context of {self._llama.n_ctx()} tokens: with "
                f"system message and memories it has {alone} tokens, and {self.room} are free for "
                "it; shorten it or start with a larger --ctx"
            )
        begun = conversation.summarized
        while self._tokens(self._given(conversation, messages, question)) > self.room:
            if conversation.summarized >= len(messages):  # only the summary is left: it is too long
                conversation = replace(conversation, summary="")
                break
            conversation = self._shrink(conversation, messages, question)
        if conversation.summarized > begun:
            log.info("%s", _overflow_line(conversation, conversation.summarized - begun))
        return conversation, self._given(conversation, messages, question)

    def _shrink(
        self, conversation: Conversation, messages: Sequence[Message], question: str
    ) -> Conversation:
        """Summarize or leave out some of the oldest messages, at most KEPT of the room."""
        end, away = conversation.summarized, 0
        rest = self._tokens(self._given(conversation, messages, question))
        while end < len(messages) and rest - away > KEPT * self.room:
            turn = self._tokens([_chat(m) for m in messages[end : end + 2]])
            if away and away + turn > self.room * KEPT:
                break
            away, end = away + turn, min(end + 2, len(messages))
        summary = ""
        if self.overflow == "summary":
            summary = self._summarize(conversation, messages[:end])
        return replace(conversation, summarized=end, summary=summary)

    def _summarize(self, conversation: Conversation, messages: Sequence[Message]) -> str:
        most = self._llama.n_ctx() // SUMMARY
        request = REQUEST.format(words=most // 2)
        asked = self._given(conversation, messages, request)
        if self._tokens(asked) + most > self._llama.n_ctx():
            return conversation.summary  # a single turn so long that no summary can be requested
        log.info("summarizing the oldest part of the conversation ...")
        try:
            answer: Any = self._llama.create_chat_completion(
                self._llama.as_text(asked), temperature=0.0, max_tokens=most
            )
        except AdedError:
            raise
        except (ValueError, RuntimeError, TemplateError, ArithmeticError, TypeError) as error:
            reason = " ".join(str(error).split())  # a template's message may have lines
            raise AdedError(f"the model cannot summarize this conversation: {reason}") from error
        return str(answer["choices"][0]["message"]["content"] or "").strip()

    def _given(
        self, conversation: Conversation, messages: Sequence[Message], question: str
    ) -> list[ChatMessage]:
        chat = [_chat(message) for message in messages[conversation.summarized :]]
        chat.append({"role": "user", "content": question})
        system = self._system(conversation)
        if system and self._knows_system:
            return [{"role": "system", "content": system}, *chat]
        if system:
            chat[0] = {"role": "user", "content": f"{system}\n\n{chat[0]['content']}"}
        return chat

    def _system(self, conversation: Conversation) -> str:
        parts = [conversation.system]
        if self.standing:
            lines = [f"- {memory.text}" for memory in self.standing]
            parts.append("\n".join(["What the user wants you to remember:", *lines]))
        if conversation.summary:
            parts.append(f"Summary of the conversation so far:\n{conversation.summary}")
        return "\n\n".join(part for part in parts if part)

    def _tokens(self, messages: Sequence[ChatMessage]) -> int:
        return self._frame + sum(self._size(message["content"]) + AROUND for message in messages)


def _frame(llama: Llama) -> int:
    """Tokens that the chat template adds to a conversation of one message, beyond AROUND.

    Some templates begin with a system message of their own, which fills much of a small context.
    """
    try:
        return max(len(Prompter(llama).tokens([{"role": "user", "content": ""}])) - AROUND, 0)
    except Exception:  # whatever a template raises: the question will raise it again
        return 0


def _chat(message: Message) -> ChatMessage:
    return {"role": message.role, "content": message.given or message.content}


def _overflow_line(conversation: Conversation, messages: int) -> str:
    start = f"the conversation outgrew the context: its oldest {messages} messages were "
    if conversation.summary:
        return f"{start}replaced by a summary of {len(conversation.summary.split())} words"
    return f"{start}left out"


def token_counter(llama: Llama) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text and remembers the latest counts."""
    known: dict[str, int] = {}

    def size(text: str) -> int:
        if text not in known:
            if len(known) > _SIZES_KNOWN:
                known.clear()
            known[text] = len(
                llama.tokenize(llama.as_text(text).encode("utf-8", "replace"), add_bos=False)
            )
        return known[text]

    return size
