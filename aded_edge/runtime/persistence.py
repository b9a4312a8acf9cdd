"""What a drafter learned, kept in the store from process to process.

Joins a drafter and a model's part of the store: loads at the start, appends what is new, and
folds many parts into their sum. `Persistence` stands beside generations: it appends after each, off
the token path, and a store that cannot be used never stops one; the memory says so in one line
and goes on without it. `Lessons` is for whoever only teaches: it appends at once and raises.

Does not know SQL, Numba, llama.cpp, or what the arrays mean.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from aded_edge import store
from aded_edge.draft.drafter import AdaptiveDrafter, Learned, News
from aded_edge.draft.matrix import Rows
from aded_edge.store.warn_once import WarnOnce

log = logging.getLogger("aded_edge")

MOST_PARTS = 48
"""With more parts than this their sum is put in their place."""

MOST_UNSAVED = 64
"""Turns held while the store cannot be written; the oldest are given up first."""

MOST_TOKENS = 1 << 20
"""Lessons hold many tokens: with more than this in parts beside the sum they are folded too."""

PATIENCE = 30.0
"""Seconds that a lesson waits while another process writes: there is nobody to keep waiting."""


class Persistence:
    """One model's memory in one store.

    Writing is done on a thread of its own, in order; the caller waits for it only in `close`.

    Args:
        path: the store's file.
        keep: append to it; without, it is only read.

    Attributes:
        source: the conversation that what is learned next belongs to, if any.
    """

    def __init__(self, path: Path, keep: bool = True) -> None:
        self.source: str | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="aded-edge-store")
        self._try = WarnOnce("the store")
        self._model: store.ModelParts | None = None
        self._turns = 0  # parts that the drafter's knowledge is the sum of, as of the last save
        self._parts: list[int] = []  # their ids, as far as the thread has come
        self._folds = True
        self._unsaved: deque[tuple[store.Part, str | None]] = deque(maxlen=MOST_UNSAVED)
        self._store: store.Store | None = None
        if keep or path.exists():
            self._store = self._try(lambda: store.Store.open(path, read_only=not keep))
        if keep and self._store is not None and self._store.read_only:
            log.warning("%s is read-only: what is learned now will not be kept", path)

    def load(self, fingerprint: str, name: str, drafter: AdaptiveDrafter) -> None:
        """Gives the drafter all that was learned about this model before."""
        opened = self._store
        if opened is None:
            return
        model = opened.model(fingerprint, name)
        loaded = self._try(model.load)
        for warning in opened.warnings:
            log.warning("%s", warning)
        if loaded is None:
            return
        learned, self._parts = loaded
        for part in learned:
            drafter.absorb(from_store(part))
        if opened.read_only:
            return
        self._model = model
        drafter.keep_news = True
        self._turns = len(learned)
        whole = self._whole(drafter)
        if whole is not None:
            self._submit(self._fold, model, whole)

    def save(self, drafter: AdaptiveDrafter) -> None:
        """Appends what the drafter learned since the last call, in the background."""
        model = self._model
        if model is None:
            return
        news = drafter.take_news()
        if news.events:
            self._turns += 1
            self._submit(self._keep, model, news, self.source, self._whole(drafter))

    def load_costs(self, key: str) -> dict[int, float] | None:
        """A cost curve measured before: width -> seconds."""
        opened = self._store
        return self._try(lambda: opened.load_costs(key)) if opened is not None else None

    def save_costs(self, key: str, curve: dict[int, float], conditions: dict[str, object]) -> None:
        """Keeps a cost curve."""
        opened = self._store
        if opened is not None and not opened.read_only:
            self._submit(self._try, lambda: opened.save_costs(key, curve, conditions))

    def wait(self) -> None:
        """Waits for what is being saved."""
        self._worker.submit(lambda: None).result()

    def close(self) -> None:
        """Waits for what is being saved and closes the file."""
        self._model = None
        self._worker.shutdown(wait=True)
        if self._store is not None:
            self._store.close()
            self._store = None

    def _whole(self, drafter: AdaptiveDrafter) -> store.Part | None:
        """All that is known, when it is time to fold."""
        if self._turns <= MOST_PARTS:
            return None
        self._turns = 1
        return to_store(drafter.everything())

    # The jobs of the thread.

    def _submit(self, job: Callable[..., object], *arguments: object) -> None:
        try:
            future = self._worker.submit(job, *arguments)
        except RuntimeError:  # the interpreter ends and starts no thread any more
            job(*arguments)
        else:
            # A fault of ours must not vanish in a future that nobody asks.
            future.add_done_callback(Future.result)

    def _keep(
        self,
        model: store.ModelParts,
        news: News,
        source: str | None,
        whole: store.Part | None,
    ) -> None:
        self._unsaved.append((to_store(news.learned()), source))
        while self._unsaved:
            learned, source = self._unsaved[0]
            part = self._try(lambda: model.add(learned, source=source))  # noqa: B023, at once
            if part is None:
                return  # kept for the next turn: a lock goes away, a full disk is emptied
            self._unsaved.popleft()
            self._parts.append(part)
        if whole is not None:
            self._fold(model, whole)

    def _fold(self, model: store.ModelParts, whole: store.Part) -> None:
        # Jobs run in order: by now the parts are exactly what `whole` is the sum of.
        if not self._folds:
            return
        replaced = self._try(lambda: (model.replace(self._parts, whole),))
        if replaced is None:
            return  # tried again when as many parts have come together once more
        if replaced[0] is not None:
            self._parts = [replaced[0]]
        else:
            # Another process was first, and the sum of what is left is not known here.
            self._folds = False


def stored(path: Path, fingerprint: str) -> list[Learned]:
    """All that a store holds about a model, part by part, oldest first; nothing is changed.

    Raises:
        StoreError: the store does not exist, or cannot be read.
    """
    with store.Store.open(path, read_only=True) as opened:
        parts, _ = opened.model(fingerprint, "").load()
        for warning in opened.warnings:
            log.warning("%s", warning)
    return [from_store(part) for part in parts]


def to_store(learned: Learned) -> store.Part:
    """What a drafter learned, as the store keeps it."""
    return store.Part(
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


def from_store(part: store.Part) -> Learned:
    """What the store kept, as a drafter takes it."""
    rows = Rows(
        part.contexts, part.totals, part.stamps, part.offsets, part.successors, part.weights
    )
    return Learned(rows, part.tokens, part.trials, part.accepted)
