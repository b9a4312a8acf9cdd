"""Files that the user attached to the running conversation.

A small file is given whole with the next question. A large one is cut into passages, and each
question is given those that match it. Neither is kept when the conversation ends.

Knows texts and their sizes. Does not know how passages are found, nor how the model is asked.
"""

from __future__ import annotations

import os
from pathlib import Path

from aded_edge.store import Notes, Store

from .documents import put, read_text
from .recall import Size

WHOLE = 3
"""Files are given whole while they take at most a third of the context together."""


class Attachments:
    """The files attached to one conversation.

    Args:
        n_ctx: size of the model's context in tokens.
        size: counts the tokens of a text.

    Attributes:
        whole: (file, text) of the files that are given whole with the next question.
    """

    def __init__(self, n_ctx: int, size: Size) -> None:
        self.whole: list[tuple[Path, str]] = []
        self._n_ctx = n_ctx
        self._size = size
        self._passages: Store | None = None

    @property
    def notes(self) -> list[Notes]:
        """The passages of the large files, to be searched; empty if there are none."""
        return [self._passages.notes] if self._passages is not None else []

    def add(self, path: str | os.PathLike[str]) -> str:
        """Attach a file.

        Returns:
            A line for the user that says how the model is given it.

        Raises:
            ConfigError: the file cannot be read, or is no text.
        """
        file = Path(os.path.expanduser(path))
        text = read_text(file)
        tokens = self._size(text)
        others = sum(self._size(text) for _, text in self.whole)
        if tokens + others <= self._n_ctx // WHOLE:
            self.whole.append((file, text))
            return f"{file.name}: {tokens} tokens, given whole with the next question"
        if self._passages is None:
            self._passages = Store.in_memory()
        count = put(self._passages.notes, file, text.encode(), text)
        return (
            f"{file.name}: {tokens} tokens in {count} passages; each question is given the "
            "passages that match it"
        )

    def in_front_of(self, question: str) -> str:
        """The question with the whole files in front of it."""
        files = [f"File {file.name}:\n{text}\n" for file, text in self.whole]
        return "\n".join([*files, question])

    def drop_whole(self) -> None:
        """Remove the whole files, after they were given with a question."""
        self.whole = []

    def clear(self) -> None:
        """Remove all files, when another conversation begins."""
        self.drop_whole()
        if self._passages is not None:
            self._passages.close()
            self._passages = None
