"""What a drafter learned, kept in the store from process to process.

Joins a drafter and a model's part of the store: loads at the start, appends what is new after
every generation, off the token path, and folds many small parts into their sum. A store that
cannot be used never stops a generation: the memory says so in one line and goes on without it.

Does not know SQL, Numba, llama.cpp, or what the arrays mean.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from . import store
from .draft.drafter import AdaptiveDrafter, Learned
from .draft.matrix import Rows
from .errors import StoreError

log = logging.getLogger("aded_edge")

MOST_PARTS = 48
"""With more parts than this their sum is put in their place."""

T = TypeVar("T")


class Memory:
    """One model's memory in one store.

    Args:
        path: the store's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: store.Store | None = None
        self._model: store.ModelStore | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="aded-edge-store")
        self._saving: Future[None] | None = None
        self._store = self._try(lambda: store.Store.open(path))
        if self._store is not None and self._store.read_only:
            log.warning("%s is read-only: what is learned now will not be kept", path)

    def load(self, fingerprint: str, name: str, drafter: AdaptiveDrafter) -> None:
        """Gives the drafter all that was learned about this model before."""
        opened = self._store
        if opened is None:
            return
        model = opened.model(fingerprint, name)
        loaded = self._try(model.load)
        if loaded is None:
            return
        self._model = model
        learned, parts = loaded
        for warning in opened.warnings:
            log.warning("%s", warning)
        for part in learned:
            drafter.absorb(_from_store(part))
        if len(parts) > MOST_PARTS and not opened.read_only:
            whole = _to_store(drafter.everything())
            self._submit(lambda: self._try(lambda: model.replace(parts, whole)))

    def save(self, drafter: AdaptiveDrafter) -> None:
        """Appends what the drafter learned since the last call, in the background."""
        model = self._model
        if model is None or self._store is None or self._store.read_only:
            return
        learned = drafter.take_learned()
        if not learned.is_empty:
            self._submit(lambda: self._try(lambda: model.add(_to_store(learned))))

    def load_costs(self, key: str) -> dict[int, float] | None:
        """A cost curve measured before: width -> seconds."""
        opened = self._store
        return self._try(lambda: opened.load_costs(key)) if opened else None

    def save_costs(
        self, key: str, curve: dict[int, float], conditions: dict[str, object]
    ) -> None:
        """Keeps a cost curve."""
        opened = self._store
        if opened is not None and not opened.read_only:
            self._submit(lambda: self._try(lambda: opened.save_costs(key, curve, conditions)))

    def close(self) -> None:
        """Waits for what is being saved and closes the file."""
        self._worker.shutdown(wait=True)
        if self._store is not None:
            self._store.close()
            self._store = self._model = None

    def _submit(self, work: Callable[[], object]) -> None:
        self._worker.submit(work)

    def _try(self, work: Callable[[], T]) -> T | None:
        # The file's trouble is told once; from then on there is no store.
        try:
            return work()
        except StoreError as error:
            log.warning("%s; going on without the store", error)
            self._store = self._model = None
            return None


def _to_store(learned: Learned) -> store.Learned:
    return store.Learned(
        contexts=learned.rows.keys,
        totals=learned.rows.totals,
        stamps=learned.rows.stamps,
        offsets=learned.rows.offsets,
        successors=learned.rows.tokens,
        weights=learned.rows.weights,
        tokens=learned.tokens,
        trials=learned.expected,
        accepted=learned.accepted,
    )


def _from_store(part: store.Learned) -> Learned:
    rows = Rows(
        part.contexts, part.totals, part.stamps, part.offsets, part.successors, part.weights
    )
    return Learned(rows, part.tokens, part.trials, part.accepted)
