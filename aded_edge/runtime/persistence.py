"""What a drafter learned, kept in the store from process to process.

`Persistence` loads it when a model is opened, appends what is new after each answer, on a thread of
its own, and replaces many parts by their sum. A store that cannot be used never stops an answer:
one line is logged, and the model goes on without the store.

Knows a drafter and a model's parts in the store. Does not know SQL, Numba, llama.cpp, or what the
arrays mean.
"""

from __future__ import annotations

import logging
import os
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
"""With more parts than this, one part with their sum takes their place."""

MOST_UNSAVED = 64
"""The most answers kept in memory while the store cannot be written; the oldest are dropped."""


class Persistence:
    """What one model learned, in one store.

    A thread of its own writes in order. Only `wait` and `close` wait for it.

    Args:
        path: the store's file.
        keep: append to the store; if False, it is only read.

    Attributes:
        source: uid of the conversation that the next parts belong to, if any.
    """

    def __init__(self, path: Path, keep: bool = True) -> None:
        self.source: str | None = None
        self._worker, self._pid = _thread(), os.getpid()
        self._try = WarnOnce("the store")
        self._model: store.ModelParts | None = None
        self._count = 0  # parts whose sum the drafter knows, those still to be written included
        self._parts: list[int] = []  # ids of those that are written; only the thread adds to them
        self._may_fold = True
        self._unsaved: deque[tuple[store.Part, str | None]] = deque(maxlen=MOST_UNSAVED)
        self._store: store.Store | None = None
        if keep or path.exists():
            self._store = self._try(lambda: store.Store.open(path, read_only=not keep))
        if keep and self._store is not None and self._store.read_only:
            log.warning("%s is read-only: what is learned from now on will not be kept", path)

    def load(
        self, fingerprint: str, name: str, drafter: AdaptiveDrafter, n_vocab: int = 1 << 31
    ) -> None:
        """Give the drafter everything that was learned about a model before.

        Args:
            fingerprint: identifies the model, see `model_fingerprint`.
            name: its name, shown to people.
            drafter: also told to note what it learns from now on, unless the store is read-only.
            n_vocab: size of the model's vocabulary; a part with other tokens is left out.
        """
        opened = self._store
        if opened is None:
            return
        path, model = opened.path, opened.model(fingerprint, name)
        loaded = self._try(model.load)
        for warning in opened.warnings:
            log.warning("%s", warning)
        if loaded is None:
            return
        learned, self._parts = loaded
        for part in learned:
            if part.fits(n_vocab):
                drafter.absorb(learned_from_part(part))
            else:
                log.warning("%s: a part has tokens that %s does not have; ignored", path, name)
        drafter.calibration.doubt()
        if opened.read_only:
            return
        self._model = model
        drafter.keep_news = True
        self._count = len(learned)
        total = self._sum_if_due(drafter)
        if total is not None:
            self._submit(self._fold, model, total)

    def save(self, drafter: AdaptiveDrafter) -> None:
        """Append what the drafter learned since the last call; returns before it is written."""
        model = self._model
        if model is None:
            return
        news = drafter.take_news()
        if news.events:
            self._count += 1
            total = self._sum_if_due(drafter)
            self._submit(self._append, model, news, self.source, total)

    def load_costs(self, key: str) -> dict[int, float] | None:
        """Cost curve that was saved under a `cost_key`: width -> seconds. None if there is none."""
        opened = self._store
        return self._try(lambda: opened.load_costs(key)) if opened is not None else None

    def save_costs(self, key: str, curve: dict[int, float], conditions: dict[str, object]) -> None:
        """Save a cost curve; returns before it is written.

        Args:
            key: `cost_key` of the conditions.
            curve: width -> seconds of one evaluation.
            conditions: what the costs depend on, see `cost_conditions`.
        """
        opened = self._store
        if opened is not None and not opened.read_only:
            self._submit(self._try, lambda: opened.save_costs(key, curve, conditions))

    def load_proof(self, key: str) -> store.Proof | None:
        """Proof of exactness that was saved under a key. None if there is none."""
        opened = self._store
        return self._try(lambda: opened.load_proof(key)) if opened is not None else None

    def save_proof(self, key: str, proof: store.Proof, conditions: dict[str, object]) -> None:
        """Save a proof of exactness; returns before it is written.

        Args:
            key: `cost_key` of the conditions.
            proof: see `store.Proof`.
            conditions: what the proof depends on, see `proof_conditions`.
        """
        opened = self._store
        if opened is not None and not opened.read_only:
            self._submit(self._try, lambda: opened.save_proof(key, proof, conditions))

    def wait(self) -> None:
        """Wait until everything that was saved is written."""
        self._own_thread().submit(lambda: None).result()

    def close(self) -> None:
        """Wait until everything that was saved is written, and close the file."""
        self._model = None
        self._own_thread().shutdown(wait=True)
        if self._store is not None:
            self._store.close()
            self._store = None

    def _sum_if_due(self, drafter: AdaptiveDrafter) -> store.Part | None:
        """The sum of all parts, if there are more than MOST_PARTS of them."""
        if self._count <= MOST_PARTS:
            return None
        self._count = 1
        return part_from_learned(drafter.everything())

    def _own_thread(self) -> ThreadPoolExecutor:
        """The thread that writes. A forked process starts its own: threads are not copied."""
        if self._pid != os.getpid():
            self._worker, self._pid = _thread(), os.getpid()
            self._unsaved = deque(maxlen=MOST_UNSAVED)  # the parent writes what is in there
            self._may_fold = False  # and has parts that this process does not know
        return self._worker

    # Jobs of the thread.

    def _submit(self, job: Callable[..., object], *arguments: object) -> None:
        try:
            future = self._own_thread().submit(job, *arguments)
        except RuntimeError:  # the interpreter is shutting down and starts no more threads
            job(*arguments)
        else:
            # result() raises the job's exception again, and the executor then logs it. Without
            # this, an error of our own would be lost in the future.
            future.add_done_callback(Future.result)

    def _append(
        self,
        model: store.ModelParts,
        news: News,
        source: str | None,
        total: store.Part | None,
    ) -> None:
        self._unsaved.append((part_from_learned(news.learned()), source))
        while self._unsaved:
            learned, source = self._unsaved[0]
            part = self._try(lambda: model.add(learned, source=source))  # noqa: B023, called at once
            if part is None:
                return  # tried again after the next answer: a lock or a full disk may be gone then
            self._unsaved.popleft()
            self._parts.append(part)
        if total is not None:
            self._fold(model, total)

    def _fold(self, model: store.ModelParts, total: store.Part) -> None:
        """Put the sum of all parts in their place."""
        # Jobs run in order, so `total` is exactly the sum of the parts written up to now.
        if not self._may_fold:
            return
        replaced = self._try(lambda: (model.replace(self._parts, total),))
        if replaced is None:
            return  # the next try comes after MOST_PARTS more parts
        if replaced[0] is not None:
            self._parts = [replaced[0]]
        else:
            # Another process replaced some of these parts, and this one does not know their sum.
            self._may_fold = False


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="aded-edge-store")


def load_learned(path: Path, fingerprint: str) -> list[Learned]:
    """Read everything that a store holds about a model; the store is not changed.

    Args:
        path: the store's file.
        fingerprint: identifies the model, see `model_fingerprint`.

    Returns:
        Part by part, oldest first.

    Raises:
        StoreError: the store does not exist or cannot be read.
    """
    with store.Store.open(path, read_only=True) as opened:
        parts, _ = opened.model(fingerprint, "").load()
        for warning in opened.warnings:
            log.warning("%s", warning)
    return [learned_from_part(part) for part in parts]


def part_from_learned(learned: Learned) -> store.Part:
    """What a drafter learned, in the form that the store keeps."""
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


def learned_from_part(part: store.Part) -> Learned:
    """A part of the store, in the form that a drafter absorbs."""
    rows = Rows(
        part.contexts, part.totals, part.stamps, part.offsets, part.successors, part.weights
    )
    return Learned(rows, part.tokens, part.trials, part.accepted)
