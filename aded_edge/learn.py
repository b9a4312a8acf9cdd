"""`learn`: the texts of files and folders become part of a model's matrix.

Each text counts once, by its content: a piece of what was learned and the digests of the texts
in it are kept in one transaction.

Knows a tokenizer and a summary. Does not know what is text, evaluates nothing, and does not know
what the matrix makes of it.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from .config import check_store
from .draft.drafter import AdaptiveDrafter
from .errors import ConfigError, ModelError
from .llama import Llama
from .memory import Lessons
from .store import LearnedText, default_store_path
from .target.fingerprint import model_fingerprint, model_name
from .target.llama_cpp import why_plain
from .texts import Found, Skipped, cut, find, readable, texts
from .warm_up import WarmUp

PIECE_TOKENS = 200_000
"""Tokens that are kept in one transaction, about: what a killed process loses at most."""

_TOKENIZED_BYTES = 1 << 14
"""Given to the tokenizer at a time: llama-cpp-python tokenizes a longer text twice, first to
learn how many tokens it has."""

Int32Array = npt.NDArray[np.int32]


class _Text(NamedTuple):
    path: Path
    noted: LearnedText
    tokens: Int32Array


class Pupil:
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


def learn(model: Path, paths: Sequence[Path], store: str) -> None:
    """Learns all texts at these paths, and says what is known now.

    Args:
        model: a GGUF file.
        paths: files and folders.
        store: "default", or the store's path.

    Raises:
        ConfigError: a path does not exist, or there is no text at any of them.
        ModelError: the model cannot be loaded, or never drafts.
        StoreError: the store cannot be read or written.
        KeyboardInterrupt: Ctrl-C; all that was read is kept.
    """
    skipped = Skipped()
    files = find(paths, skipped)
    path = store_path(store)
    with (
        closing(load(model, n_ctx=256)) as llama,
        closing(Lessons(path, model_fingerprint(llama), model_name(llama))) as lessons,
        until_interrupted() as interrupted,
    ):
        pupil = Pupil(llama, lessons)
        with tqdm(total=sum(file.size for file in files), unit="B", unit_scale=True) as bar:
            for file in files:
                if not interrupted():
                    _read(file, pupil, skipped, bar, interrupted)
        pupil.save()
        if pupil.tokens > PIECE_TOKENS:
            lessons.fold()  # so that the next start is quick
    _report(pupil, skipped, lessons, path)
    if interrupted():
        click.echo("stopped: what is named above is kept; the same command goes on from there")
        raise KeyboardInterrupt
    if not pupil.learned and not pupil.known:
        raise ConfigError(f"no text in {', '.join(map(str, paths))}; give files of UTF-8 text")


def _read(
    file: Found, pupil: Pupil, skipped: Skipped, bar: Any, interrupted: Callable[[], bool]
) -> None:
    left = file.size
    try:
        for data in texts(file.path):
            text = readable(data)
            if text is None:
                skipped.counts["no text"] += 1
                break  # of a binary file nothing more is read
            if text.strip():
                pupil.read(file.path, data, text)
            else:
                skipped.counts["empty"] += 1
            bar.update(len(data))
            left -= len(data)
            if interrupted():
                return
    except OSError as error:
        skipped.failed(file.path, error)
    bar.update(max(left, 0))


def _report(pupil: Pupil, skipped: Skipped, lessons: Lessons, path: Path) -> None:
    known = len(pupil.known - pupil.learned)
    click.echo(f"learned {len(pupil.learned):,} files, {pupil.tokens:,} tokens; known {known:,}")
    if str(skipped):
        click.echo(f"skipped: {skipped}")
    for line in holdings(lessons, path, pupil.tokens):
        click.echo(line)


# What is also of use to `prime`.


def load(model: Path, **settings: Any) -> Llama:
    """A model that is taught and drafts nothing meanwhile; the kernels are ready.

    Raises:
        ModelError: it cannot be loaded, or could never draft what it is taught.
    """
    warm_up = WarmUp()
    # All of it: of the vocabulary alone llama.cpp gives no width, and so another fingerprint.
    llama = Llama(model, drafting="off", store=None, verbose=False, **settings)
    why = why_plain(llama)
    if why is not None:
        llama.close()
        raise ModelError(f"{model} has no use for a matrix: {why}")
    warm_up.wait()
    return llama


def store_path(choice: str) -> Path:
    """The file that `--store` means.

    Raises:
        ConfigError: it means that nothing is kept.
    """
    path = None if choice == "none" else check_store(choice, default_store_path())
    if path is None:
        raise ConfigError(f"--store {choice} keeps nothing; give a path, or leave it out")
    return path


def holdings(lessons: Lessons, path: Path, tokens: int) -> Iterator[str]:
    """What a store holds after it was taught `tokens`, and whether that is all, in lines."""
    held = lessons.drafter.everything()
    if tokens > len(held.tokens):
        yield f"the log of copied spans is full at {len(held.tokens):,} tokens: the latest stay"
    contexts, most = len(held.rows.keys), lessons.drafter.matrix.max_contexts
    if contexts >= most * 3 // 4:  # of what is full the rarest quarter is dropped
        yield f"the matrix is full at {most:,} contexts: the oldest and rarest make way"
    size = path.stat().st_size / 1e6
    yield f"the matrix holds {contexts:,} contexts; the store, {path}, {size:.1f} MB"


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks to stop, so that nothing is cut in two; a second one stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
