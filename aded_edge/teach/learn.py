"""`learn`: the texts of files and folders become part of a model's matrix.

Each text counts once, by its content: a piece of what was learned and the digests of the texts
in it are kept in one transaction.

Knows a tokenizer. Does not know what is text, evaluates nothing, and does not know what the matrix
makes of it.
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
"""Tokens that are kept in one transaction, about: what a killed process loses at most."""

_TOKENIZED_BYTES = 1 << 14
"""Given to the tokenizer at a time: llama-cpp-python tokenizes a longer text twice, first to
learn how many tokens it has."""


class _Text(NamedTuple):
    path: Path
    noted: LearnedText
    tokens: Int32Array


class TextLearner:
    """Tokenizes texts and keeps them, piece by piece.

    Args:
        llama: whose tokenizer is used.
        lessons: where they are kept.

    Attributes:
        learned: files with a text that was new and is kept.
        known: files with a text that was known already.
        tokens: how many are kept.
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
        """Learns a text, if its bytes are new."""
        digest = hashlib.sha256(data).hexdigest()
        if digest in self._piece or self._lessons.known([digest]):
            self.known.add(path)
            return
        tokens = self._tokenize(text.encode())
        # A name that is no UTF-8 holds surrogates, which SQLite refuses.
        name = os.fsencode(path.absolute()).decode("utf-8", "replace")
        self._piece[digest] = _Text(path, LearnedText(digest, name, len(tokens)), tokens)
        self._piece_tokens += len(tokens)
        if self._piece_tokens >= PIECE_TOKENS:
            self.save()

    def save(self) -> None:
        """Keeps the texts read since the last call, each once."""
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
            # Another process learned one of them meanwhile: the piece is made anew without it.
            for digest in self._lessons.known(piece):
                self.known.add(piece.pop(digest).path)

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
    """Learns the texts in files, until interrupted; what was read by then is kept.

    Args:
        files: as `files.find` gives them.
        learner: gets their texts.
        skipped: gets what is passed over.
        progress: called with the number of bytes done since its last call.
        interrupted: asked between two texts.

    Raises:
        StoreError: the store cannot be written.
    """
    for file in files:
        if not interrupted():
            _learn_file(file, learner, skipped, progress, interrupted)
    learner.save()


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
                break  # nothing more is read of a binary file
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
