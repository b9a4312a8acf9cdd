"""One model's part of a store while the model is taught, and the model itself.

Knows parts and their sum. Does not know what is taught. Unlike a chat, which goes on without its
store, it raises every error: without the store, teaching is useless.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aded_edge import store
from aded_edge.draft.drafter import AdaptiveDrafter, Learned
from aded_edge.errors import ModelError, StoreError
from aded_edge.llamacpp.context import why_plain
from aded_edge.llamacpp.fingerprint import model_fingerprint, model_name
from aded_edge.llamacpp.recurrent import why_no_rollback
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.persistence import MOST_PARTS, learned_from_part, part_from_learned
from aded_edge.runtime.warm_up import WarmUp

log = logging.getLogger("aded_edge")

MOST_TOKENS = 1 << 20
"""Parts are replaced by their sum when those not yet in a sum have more tokens than this."""

PATIENCE = 30.0
"""Seconds to wait while another process writes. A chat waits for a shorter time, because its user
waits too."""


class Lessons:
    """One model's part of a store, to which learned parts are added.

    Args:
        path: the store's file.
        fingerprint: of the model.
        name: of the model, for people.
        n_vocab: size of the model's vocabulary; a part with other tokens is left out of every sum.

    Attributes:
        drafter: knows everything in the store about the model. `fold` and `add` may replace it.

    Raises:
        StoreError: the store cannot be opened, or is read-only.
    """

    def __init__(self, path: Path, fingerprint: str, name: str, n_vocab: int = 1 << 31) -> None:
        self._n_vocab = n_vocab
        self._store = store.Store.open(path, busy_timeout=PATIENCE)
        try:
            if self._store.read_only:
                raise StoreError(
                    f"{path} is read-only, so nothing that is learned could be saved; make it and "
                    "its folder writable, or give another path"
                )
            self._model = self._store.model(fingerprint, name)
            self.drafter, self._parts, self._unfolded = self._load()
        except BaseException:
            self._store.close()
            raise

    def known(self, digests: Iterable[str]) -> set[str]:
        """Return those of the SHA-256 digests whose texts any process has learned before."""
        return self._model.known(digests)

    def add(self, learned: Learned, texts: Sequence[store.LearnedText] = ()) -> bool:
        """Write a learned part, as a whole or not at all.

        Args:
            learned: the part.
            texts: the texts that it was learned from, each of which must count only once.

        Returns:
            False if another process has learned one of the texts; then nothing was written.

        Raises:
            StoreError: the store cannot be written.
        """
        part = self._model.add(part_from_learned(learned), texts)
        if part is None:
            return False
        self._parts.append(part)
        self._unfolded += len(learned.tokens)
        self.drafter.absorb(learned)
        if len(self._parts) > MOST_PARTS or self._unfolded > MOST_TOKENS:
            self.fold()
        return True

    def fold(self) -> None:
        """Replace all parts in the store by their sum; `drafter` may be another one afterwards.

        Raises:
            StoreError: the store cannot be written.
        """
        part = self._model.replace(self._parts, part_from_learned(self.drafter.everything()))
        if part is None:
            # Another process has replaced the parts by a sum with more in it: load that one.
            self.drafter, self._parts, self._unfolded = self._load()
        else:
            self._parts, self._unfolded = [part], 0

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _load(self) -> tuple[AdaptiveDrafter, list[int], int]:
        loaded = list(zip(*self._model.load(), strict=True))
        for warning in self._store.warnings:
            log.warning("%s", warning)
        # In a sum, one part that does not fit would make a chat ignore all of them.
        fitting = [(part, id) for part, id in loaded if part.fits(self._n_vocab)]
        if len(fitting) < len(loaded):
            about = self._store.path, self._model.name
            log.warning("%s: a part has tokens that %s does not have; ignored", *about)
        drafter = AdaptiveDrafter()
        for part, _ in fitting:
            drafter.absorb(learned_from_part(part))
        # The first part is the sum if there is one: a sum takes the place of its oldest part.
        unfolded = sum(len(part.tokens) for part, _ in fitting[1:])
        return drafter, [id for _, id in fitting], unfolded


def lessons_of(llama: Llama, path: Path) -> Lessons:
    """Open the part of a store that belongs to a loaded model.

    Raises:
        StoreError: the store cannot be opened, or is read-only.
    """
    return Lessons(path, model_fingerprint(llama), model_name(llama), llama.n_vocab())


def load_for_teaching(model: Path, **settings: Any) -> Llama:
    """Load a model that drafts nothing, and wait until the kernels are compiled.

    Args:
        model: a GGUF file.
        **settings: arguments of `Llama`.

    Raises:
        ModelError: the model cannot be loaded, or can never draft what it is taught.
    """
    warm_up = WarmUp()
    # Not vocab_only: then llama.cpp does not know the model's width, and the fingerprint differs.
    llama = Llama(model, drafting="off", store=None, **{"verbose": False, **settings})
    why = why_plain(llama) or why_no_rollback(llama)
    if why is not None:
        llama.close()
        raise ModelError(f"{model} cannot use a matrix: {why}")
    warm_up.wait()
    return llama
