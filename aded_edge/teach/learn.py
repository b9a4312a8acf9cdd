"""Teach a model's matrix the texts of files and folders.

Each text counts once: texts are known by the digest of their content, and a piece of the matrix
and the digests of its texts are written in one transaction.

Knows a tokenizer. Does not know which files are text (`aded_edge.files`), nor what the matrix does
with the tokens. Evaluates nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.files import Found, Skipped, cut, readable, texts
from aded_edge.runtime.llama import Llama
from aded_edge.store import LearnedText

from .lessons import Lessons

PIECE_TOKENS = 200_000
"""A transaction has about this many tokens. It is the most that a killed process loses."""

_TOKENIZED_BYTES = 1 << 14
"""Bytes given to the tokenizer at a time. llama-cpp-python tokenizes longer texts twice, because
its first buffer is too small for them."""


class _Text(NamedTuple):
    path: Path
    noted: LearnedText
    tokens: Int32Array


class TextLearner:
    """Tokenizes texts and writes them to a store, piece by piece.

    Args:
        llama: has the tokenizer.
        lessons: the model's part of the store.

    Attributes:
        learned: files with a text that was new and is written.
        known: files with a text that was known already.
        tokens: number of tokens written.
    """

    def __init__(self, llama: Llama, lessons: Lessons) -> None:
        self._llama = llama
        self._lessons = lessons
        self._piece: dict[str, _Text] = {}
        self._piece_tokens = 0
        self.learned: set[Path] = set()
        self.known: set[Path] = set()
        self.tokens = 0

    def read(self, path: Path, data: bytes, text: str) -> None:
        """Learn a text unless it is known.

        Args:
            path: the file that it is from.
            data: its bytes, by which it is known.
            text: the same as a string.

        Raises:
            StoreError: the store cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        if digest in self._piece or self._lessons.known([digest]):
            self.known.add(path)
            return
        tokens = self._tokenize(text.encode())
        # A file name that is not UTF-8 contains surrogates, which SQLite refuses.
        name = os.fsencode(path.absolute()).decode("utf-8", "replace")
        self._piece[digest] = _Text(path, LearnedText(digest, name, len(tokens)), tokens)
        self._piece_tokens += len(tokens)
        if self._piece_tokens >= PIECE_TOKENS:
            self.save()

    def save(self) -> None:
        """Write the texts read since the last call, each once.

        Raises:
            StoreError: the store cannot be written.
        """
        piece, self._piece, self._piece_tokens = self._piece, {}, 0
        while piece:
            drafter = AdaptiveDrafter(keep_news=True)
            for text in piece.values():
                drafter.read(text.tokens)
            learned = drafter.take_news().learned()
            if self._lessons.add(learned, [text.noted for text in piece.values()]):
                self.learned.update(text.path for text in piece.values())
                self.tokens += sum(text.noted.tokens for text in piece.values())
                return
            # Another process has just learned one of the texts: try again without it.
            for digest in self._lessons.known(piece):
                self.known.add(piece.pop(digest).path)

    def finish(self) -> None:
        """Write the rest; put one part in the place of several, which load more slowly.

        Raises:
            StoreError: the store cannot be written.
        """
        self.save()
        if self.tokens > PIECE_TOKENS:
            self._lessons.fold()

    def _tokenize(self, data: bytes) -> Int32Array:
        tokens: list[int] = []
        start = 0
        while start < len(data):
            end = cut(data, start, _TOKENIZED_BYTES)
            tokens += self._llama.tokenize(data[start:end], add_bos=False, special=False)
            start = end
        return np.asarray(tokens, np.int32)


def learn_files(
    files: Sequence[Found],
    learner: TextLearner,
    skipped: Skipped,
    progress: Callable[[int], object],
    interrupted: Callable[[], bool],
) -> None:
    """Learn the texts of files; after an interruption, write those read so far.

    Args:
        files: from `files.find`.
        learner: learns the texts.
        skipped: counts the files that are passed over.
        progress: called with the number of bytes done since its last call.
        interrupted: called between two texts; True ends the loop.

    Raises:
        StoreError: the store cannot be written.
    """
    for file in files:
        if not interrupted():
            _learn_file(file, learner, skipped, progress, interrupted)
    learner.finish()


def _learn_file(
    file: Found,
    learner: TextLearner,
    skipped: Skipped,
    progress: Callable[[int], object],
    interrupted: Callable[[], bool],
) -> None:
    left = file.size
    try:
        for data in texts(file.path):
            text = readable(data)
            if text is None:
                skipped.counts["no text"] += 1
                break  # skip the rest of a binary file
            if text.strip():
                learner.read(file.path, data, text)
            else:
                skipped.counts["empty"] += 1
            progress(len(data))
            left -= len(data)
            if interrupted():
                return
    except OSError as error:
        skipped.failed(file.path, error)
    progress(max(left, 0))
