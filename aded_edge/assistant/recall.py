"""Recall: what else the model is given with a question, within a budget of tokens.

Memories, places in earlier conversations, and passages of documents, found by the words of the
question (BM25). What does not share its words with the question is left out: a small model
takes whatever it is given for important.

Knows the store's searches and sizes. Does not know how the model is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from aded_edge.store import MemoryNote, Notes, Store, any_of, terms

_LOOKED_AT = 12
"""Hits of each kind that are looked at."""

_LEAST_SHARED = 2
"""Words of a question that a place must share with it, if the question has so many."""

_STEM = 5
"""Letters in which two forms of a word agree."""

_CITED = 3
"""Words that an answer must share with a passage that it drew on."""

HEADER = "You may find this useful; use it only where it helps, and name the file you used:"

Size = Callable[[str], int]
"""How many tokens a text has, about."""


@dataclass(frozen=True)
class Recalled:
    """Something that the model was given with a question.

    Attributes:
        kind: "memory", "conversation" or "file".
        text: what was given.
        where: number of the memory, title of the conversation, or path and line of the file.
        date: since when it is known, UTC; "" for a file.
        tokens: what it took of the budget.
    """

    kind: str
    text: str
    where: str
    date: str
    tokens: int

    def __str__(self) -> str:
        day = self.date[:10]
        label = {"memory": "remembered", "conversation": "earlier conversation", "file": "file"}
        about = self.where if self.kind == "file" else day
        return f"[{label[self.kind]}, {about}] {self.text}"


def standing(memories: Iterable[MemoryNote], size: Size, budget: int) -> list[Recalled]:
    """The memories that stand in every context: the newest that fit, oldest first."""
    kept: list[Recalled] = []
    for memory in reversed(list(memories)):
        tokens = size(memory.text)
        if tokens <= budget:
            kept.append(_memory(memory, tokens))
            budget -= tokens
    return kept[::-1]


def recall(
    question: str,
    store: Store | None,
    attached: Sequence[Notes],
    size: Size,
    budget: int,
    conversation: int,
    known: str,
) -> list[Recalled]:
    """What matches a question: files first, then memories, then earlier conversations.

    Args:
        question: the user's text.
        store: memories, notes and conversations; None without one.
        attached: documents of this conversation.
        size: tokens of a text.
        budget: tokens that may be given.
        conversation: the number of the running one, which is left out.
        known: what the model has in its context already, as one text.

    Raises:
        StoreError: the store cannot be read.
    """
    words = terms(question)
    query = any_of(words)
    found: list[Recalled] = []
    for notes in (*attached, *([store.notes] if store else ())):
        found += [
            Recalled("file", passage.text, f"{passage.path}:{passage.line}", "", 0)
            for passage in notes.match(query, _LOOKED_AT)
        ]
    if store is not None:
        found += [_memory(memory, 0) for memory in store.memories.match(query, _LOOKED_AT)]
        for hit in store.conversations.match(query, _LOOKED_AT, conversation):
            text = hit.content if size(hit.content) <= budget // 4 else hit.snippet
            found.append(
                Recalled("conversation", " ".join(text.split()), hit.title, hit.created, 0)
            )
    return _fitting(found, words, size, budget, known)


def _fitting(
    found: Sequence[Recalled], words: Sequence[str], size: Size, budget: int, known: str
) -> list[Recalled]:
    needed = min(_LEAST_SHARED, len(words))
    fitting = []
    for use in found:
        if use.text in known or shared(words, use.text) < needed:
            continue
        tokens = size(str(use))
        if tokens <= budget:
            fitting.append(replace(use, tokens=tokens))
            known += f"\n{use.text}"
            budget -= tokens
    return fitting


def given(question: str, uses: Sequence[Recalled]) -> str:
    """The question as the model gets it."""
    if not uses:
        return question
    return "\n".join([HEADER, *map(str, uses), "", question])


def cited(answer: str, question: str, uses: Iterable[Recalled]) -> tuple[str, ...]:
    """The files among these that an answer drew on: it names one, or shares words with it.

    At least one of them must be none that the question brought.
    """
    said = terms(answer, len(answer))
    asked = {word[:_STEM] for word in terms(question, len(question))}
    own = [word for word in said if word[:_STEM] not in asked]
    sources = dict.fromkeys(
        use.where
        for use in uses
        if use.kind == "file" and (_name(use.where) in answer or _drawn(said, own, use.text))
    )
    return tuple(sources)


def _drawn(said: Sequence[str], own: Sequence[str], text: str) -> bool:
    return shared(said, text) >= _CITED and shared(own, text) > 0


def shared(words: Iterable[str], text: str) -> int:
    """How many of the words a text holds, in whatever form."""
    stems = {word[:_STEM] for word in re.findall(r"\w+", text.lower())}
    return sum(word[:_STEM] in stems for word in words)


def _name(where: str) -> str:
    return where.rpartition(":")[0].rpartition("/")[2]


def _memory(memory: MemoryNote, tokens: int) -> Recalled:
    return Recalled("memory", memory.text, str(memory.id), memory.created, tokens)
