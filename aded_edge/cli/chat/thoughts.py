"""Tells a model's reasoning, between <think> and </think>, from its answer.

Knows the two tags. Does not know how either is shown.
"""

from __future__ import annotations

from collections.abc import Iterator

OPENS, CLOSES = "<think>", "</think>"


class Thoughts:
    """Splits a stream into answer and reasoning; a tag may be cut between two pieces.

    Many chat templates write <think> into the prompt, so that the answer has only </think>. The
    first </think> therefore ends the reasoning also where no <think> came before it.

    Args:
        thinking: the prompt opened the reasoning, so the answer begins in it.

    Attributes:
        late: a </think> showed that text which was yielded as answer had been reasoning.
        thinking: what comes next is reasoning.
    """

    def __init__(self, thinking: bool = False) -> None:
        self.late = False
        self.thinking = thinking
        self._held = ""
        self._tagged = thinking  # a tag was there already: another </think> is text
        self._said = False

    def feed(self, piece: str) -> Iterator[tuple[bool, str]]:
        """Yields (is it reasoning, text) for all text that cannot be part of a tag."""
        self._held += piece
        while True:
            tags = self._tags()
            found = min((tag for tag in tags if tag in self._held), key=self._held.find, default="")
            if not found:
                break
            before, _, self._held = self._held.partition(found)
            thought = found == CLOSES
            if thought and not self._tagged:
                self.late = self._said
            self._tagged, self.thinking = True, not thought
            if before:
                self._said |= not thought and bool(before.strip())
                yield thought, before
        kept = max(_begun(self._held, tag) for tag in tags)
        text = self._held[: len(self._held) - kept]
        self._held = self._held[len(text) :]
        if text:
            self._said |= not self.thinking and bool(text.strip())
            yield self.thinking, text

    def rest(self) -> Iterator[tuple[bool, str]]:
        """Yields the text that was held back because it could be the beginning of a tag."""
        held, self._held = self._held, ""
        if held:
            yield self.thinking, held

    def _tags(self) -> tuple[str, ...]:
        if self.thinking:
            return (CLOSES,)
        return (OPENS,) if self._tagged else (OPENS, CLOSES)


def _begun(text: str, tag: str) -> int:
    """Returns how many characters at the end of a text may be the beginning of a tag."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)
