"""The window: what of a conversation the model is given, so that it fits into the context.

The system message, with the memories that stand and the summary of what came before, then the
messages that are left, then the question. When they outgrow the context the oldest turns become
part of the summary, which the model itself writes, or are left out; all of them stay on disk.

What is given only ever grows at its end until then, so each turn finds its prefix in the KV. The
summary is asked for behind that same prefix, so it costs little more than its own tokens.

Knows sizes and messages. Does not know where anything is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

from aded_edge.errors import AdedError, ConfigError, PromptError
from aded_edge.runtime.llama import Llama
from aded_edge.store import Conversation, Message

from .recall import Recalled, Size

log = logging.getLogger("aded_edge")

Overflow = Literal["summary", "drop"]
"""What becomes of the oldest turns of a conversation that outgrows the context."""

ANSWER = 4
"""A quarter of the context is left for the answer."""

KEPT = 0.5
"""The share of the room that is filled behind an overflow: the turns after it find their prefix."""

SUMMARY = 8
"""An eighth of the context is the most that a summary takes."""

AROUND = 8
"""Tokens that a template puts around a message, about."""

REQUEST = (
    "Summarize our conversation so far for yourself, in at most {words} words: facts about me, "
    "names, numbers, decisions and open questions. Write only the summary."
)

ChatMessage = dict[str, str]


def check_overflow(value: object) -> Overflow:
    """The value, if it is one of the choices.

    Raises:
        ConfigError: it is not.
    """
    for choice in get_args(Overflow):
        if value == choice:
            return cast(Overflow, choice)
    raise ConfigError(f"overflow={value!r} is not known; choose 'summary' or 'drop'")


class Window:
    """What one model can be given.

    Args:
        llama: the model.
        overflow: what becomes of the oldest turns.
        size: tokens of a text.

    Attributes:
        standing: memories that stand in every context.
    """

    def __init__(self, llama: Llama, overflow: Overflow, size: Size) -> None:
        self.overflow = overflow
        self.standing: list[Recalled] = []
        self._llama = llama
        self._size = size
        template = llama.metadata.get("tokenizer.chat_template", "system")
        # Some templates name the role only to refuse it.
        refuses = "system role not supported" in template.lower()
        self._knows_system = "system" in template and not refuses

    @property
    def room(self) -> int:
        """Tokens that all messages together may have."""
        return self._llama.n_ctx() - self._llama.n_ctx() // ANSWER

    def fit(
        self, conversation: Conversation, messages: Sequence[Message], question: str
    ) -> tuple[Conversation, list[ChatMessage]]:
        """The conversation, summarized as far as need be, and what the model is to be given.

        Raises:
            PromptError: the question does not fit, even alone.
        """
        alone = self._tokens(self._given(replace(conversation, summary=""), (), question))
        if alone > self.room:
            raise PromptError(
                f"the message does not fit into the context of {self._llama.n_ctx()} tokens: with "
                f"system message and memories it has {alone}, and {self.room} are free for it; "
                "shorten it or start with a larger --ctx"
            )
        begun = conversation.summarized
        while self._tokens(self._given(conversation, messages, question)) > self.room:
            if conversation.summarized >= len(messages):  # then the summary itself is too long
                conversation = replace(conversation, summary="")
                break
            conversation = self._shrink(conversation, messages, question)
        if conversation.summarized > begun:
            log.info("%s", _what_happened(conversation, conversation.summarized - begun))
        return conversation, self._given(conversation, messages, question)

    def _shrink(
        self, conversation: Conversation, messages: Sequence[Message], question: str
    ) -> Conversation:
        """One round: some of the oldest messages, at most a room full, make way."""
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
            return conversation.summary  # a single turn that leaves no room to ask about it
        log.info("summarizing the oldest part of the conversation ...")
        try:
            answer: Any = self._llama.create_chat_completion(
                cast(Any, asked), temperature=0.0, max_tokens=most
            )
        except AdedError:
            raise
        except (ValueError, RuntimeError) as error:
            raise AdedError(f"the model cannot sum up this conversation: {error}") from error
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
            lines = [f"- {use.text}" for use in self.standing]
            parts.append("\n".join(["What the user wants you to remember:", *lines]))
        if conversation.summary:
            parts.append(f"Summary of the conversation so far:\n{conversation.summary}")
        return "\n\n".join(part for part in parts if part)

    def _tokens(self, messages: Sequence[ChatMessage]) -> int:
        return sum(self._size(message["content"]) + AROUND for message in messages)


def _chat(message: Message) -> ChatMessage:
    return {"role": message.role, "content": message.given or message.content}


def _what_happened(conversation: Conversation, messages: int) -> str:
    begin = f"the conversation outgrew the context: its oldest {messages} messages "
    if conversation.summary:
        return f"{begin}are a summary of {len(conversation.summary.split())} words now"
    return f"{begin}are left out"


def token_counter(llama: Llama) -> Callable[[str], int]:
    """Counts the tokens of a text; what was counted last is remembered."""
    known: dict[str, int] = {}

    def size(text: str) -> int:
        if text not in known:
            if len(known) > 4096:
                known.clear()
            known[text] = len(llama.tokenize(text.encode("utf-8", "replace"), add_bos=False))
        return known[text]

    return size
