"""Recall: texts that match a question, given to the model with it, within a budget of tokens.

These are memories, messages of earlier conversations, and passages of documents. SQLite's
full-text search finds them by the words of the question (BM25). Texts that share too few words
with the question are left out, because a small model treats everything it is given as important.

Knows the searches of the store and the sizes of texts. Does not know how the model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from aded_edge.store import HEADER, STEM, Memory, Notes, Store, shared, terms, words_in

_SEARCH_LIMIT = 12
"""The most hits of each kind that are considered."""

_LEAST_SHARED = 2
"""Words that a text must share with the question, or all of them if the question has fewer."""

_CITED = 3
"""Words that an answer must share with a passage to count as drawn from it."""

_WHOLE_MESSAGE = 4
"""An earlier message of at most a quarter of the budget is given whole, a longer one as excerpt."""

Size = Callable[[str], int]
"""Returns the length of a text in tokens, or an estimate of it."""


@dataclass(frozen=True)
class Recalled:
    """A text that the model was given in addition to a question.

    Attributes:
        kind: "memory", "conversation" or "file".
        text: the text.
        where: number of the memory, title of the conversation, or path and line of the file.
        date: when the memory or message was written, UTC; "" for a file.
        tokens: its share of the budget.
    """

    kind: str
    text: str
    where: str
    date: str
    tokens: int

    def __str__(self) -> str:
        day = self.date[:10]
        # The store's memories.py searches given messages for the form of a memory.
        label = {"memory": "remembered", "conversation": "earlier conversation", "file": "file"}
        about = self.where if self.kind == "file" else day
        return f"[{label[self.kind]}, {about}] {self.text}"

    def is_memory(self, number: int) -> bool:
        """Whether this is the memory with this number."""
        return self.kind == "memory" and self.where == str(number)


@dataclass(frozen=True)
class Searched:
    """Where `recall` searches.

    Attributes:
        store: its memories, notes and conversations; None without a store.
        attached: documents that the user attached to this conversation.
        conversation: number of the running conversation, whose messages are left out.
    """

    store: Store | None
    attached: Sequence[Notes] = ()
    conversation: int = 0


def standing(memories: Iterable[Memory], size: Size, budget: int) -> list[Recalled]:
    """The memories that are part of every context: the newest that fit.

    Args:
        memories: all memories, oldest first.
        size: counts the tokens of a text.
        budget: tokens that they may take together.

    Returns:
        The chosen memories, oldest first.
    """
    chosen: list[Recalled] = []
    for memory in reversed(list(memories)):
        tokens = size(memory.text)
        if tokens <= budget:
            chosen.append(_recalled(memory, tokens))
            budget -= tokens
    return chosen[::-1]


def recall(
    question: str, searched: Searched, *, size: Size, budget: int, known: str
) -> list[Recalled]:
    """Find texts that match a question: files first, then memories, then earlier conversations.

    Args:
        question: the user's text.
        searched: where to search.
        size: counts the tokens of a text.
        budget: tokens that all found texts may take together.
        known: the content of the model's context; texts that are in it are left out.

    Raises:
        StoreError: the store cannot be read.
    """
    words = terms(question)
    store = searched.store
    found: list[Recalled] = []
    for notes in (*searched.attached, *([store.notes] if store else ())):
        found += [
            Recalled("file", passage.text, f"{passage.path}:{passage.line}", "", 0)
            for passage in notes.match(words, _SEARCH_LIMIT)
        ]
    if store is not None:
        found += [_recalled(memory, 0) for memory in store.memories.match(words, _SEARCH_LIMIT)]
        for hit in store.conversations.match(words, _SEARCH_LIMIT, searched.conversation):
            whole = size(hit.content) <= budget // _WHOLE_MESSAGE
            text = " ".join((hit.content if whole else hit.snippet).split())
            found.append(Recalled("conversation", text, hit.title, hit.created, 0))
    return _fitting(found, words, size, budget, known)


def _fitting(
    found: Sequence[Recalled], words: Sequence[str], size: Size, budget: int, known: str
) -> list[Recalled]:
    needed = min(_LEAST_SHARED, words_in(words))
    fitting = []
    for item in found:
        if item.text in known or shared(words, item.text) < needed:
            continue
        tokens = size(str(item))
        if tokens <= budget:
            fitting.append(replace(item, tokens=tokens))
            known += f"\n{item.text}"
            budget -= tokens
    return fitting


def given(question: str, recalled: Sequence[Recalled]) -> str:
    """The question as the model is given it: with the recalled texts in front, if any."""
    if not recalled:
        return question
    return "\n".join([HEADER, *map(str, recalled), "", question])


def cited(answer: str, question: str, recalled: Iterable[Recalled]) -> tuple[str, ...]:
    """The files that an answer drew on, as path and line.

    An answer drew on a passage if it contains the name of its file, or shares _CITED words with
    it. At least one shared word must not occur in the question.

    Args:
        answer: the model's answer.
        question: the user's question.
        recalled: the texts that were given with the question.
    """
    said = terms(answer)
    asked = {word[:STEM] for word in terms(question)}
    own = [word for word in said if word[:STEM] not in asked]
    sources = dict.fromkeys(
        item.where
        for item in recalled
        if item.kind == "file" and (_name(item.where) in answer or _drawn(said, own, item.text))
    )
    return tuple(sources)


def _drawn(said: Sequence[str], own: Sequence[str], text: str) -> bool:
    return shared(said, text) >= _CITED and shared(own, text) > 0


def _name(where: str) -> str:
    return where.rpartition(":")[0].rpartition("/")[2]


def _recalled(memory: Memory, tokens: int) -> Recalled:
    return Recalled("memory", memory.text, str(memory.id), memory.created, tokens)
