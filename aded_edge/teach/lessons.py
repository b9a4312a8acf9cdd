"""One model's part of a store while it is taught: every trouble is raised.

Knows parts and their sum. Does not know what is taught.
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
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.persistence import MOST_PARTS, learned_from_part, part_from_learned
from aded_edge.runtime.warm_up import WarmUp

log = logging.getLogger("aded_edge")

MOST_TOKENS = 1 << 20
"""Lessons hold many tokens: with more than this in parts beside the sum they are folded too."""

PATIENCE = 30.0
"""Seconds that a lesson waits while another process writes: there is nobody to keep waiting."""


class Lessons:
    """One model's memory while it is taught: written part by part, and every trouble is raised.

    Args:
        path: the store's file.
        fingerprint: what tells the model from others.
        name: what people call it.

    Attributes:
        drafter: knows all that was learned about the model so far.

    Raises:
        StoreError: the store cannot be opened, or not written.
    """

    def __init__(self, path: Path, fingerprint: str, name: str) -> None:
        self._store = store.Store.open(path, busy_timeout=PATIENCE)
        try:
            if self._store.read_only:
                raise StoreError(
                    f"{path} is read-only, so nothing that is learned could be kept; make it and "
                    "its folder writable, or give another path"
                )
            self._model = self._store.model(fingerprint, name)
            self.drafter, self._parts, self._unfolded = self._load()
        except BaseException:
            self._store.close()
            raise

    def known(self, digests: Iterable[str]) -> set[str]:
        """Which of these SHA-256 digests are those of texts learned before, by any process."""
        return self._model.known(digests)

    def add(self, learned: Learned, texts: Sequence[store.LearnedText] = ()) -> bool:
        """Keeps what was learned, as a whole or not at all.

        Args:
            learned: a part.
            texts: what it was learned from, if that must count once.

        Returns:
            False if one of the texts was learned meanwhile: then nothing was kept.

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
        """Puts the sum of all parts in their place; `drafter` may be another one afterwards.

        Raises:
            StoreError: the store cannot be written.
        """
        part = self._model.replace(self._parts, part_from_learned(self.drafter.everything()))
        if part is None:
            # Another process was first, and what it put there is not known here.
            self.drafter, self._parts, self._unfolded = self._load()
        else:
            self._parts, self._unfolded = [part], 0

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def _load(self) -> tuple[AdaptiveDrafter, list[int], int]:
        learned, parts = self._model.load()
        for warning in self._store.warnings:
            log.warning("%s", warning)
        drafter = AdaptiveDrafter()
        for part in learned:
            drafter.absorb(learned_from_part(part))
        # The first is the sum, if there is one: sums stand where their oldest part stood.
        return drafter, parts, sum(len(part.tokens) for part in learned[1:])


def load_pupil(model: Path, **settings: Any) -> Llama:
    """A model that is taught and drafts nothing meanwhile; the kernels are ready.

    Raises:
        ModelError: it cannot be loaded, or could never draft what it is taught.
    """
    warm_up = WarmUp()
    # All of it: of the vocabulary alone llama.cpp gives no width, and so another fingerprint.
    llama = Llama(model, drafting="off", store=None, **{"verbose": False, **settings})
    why = why_plain(llama)
    if why is not None:
        llama.close()
        raise ModelError(f"{model} has no use for a matrix: {why}")
    warm_up.wait()
    return llama
