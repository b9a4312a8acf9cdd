"""The loop: draft -> budget -> evaluate -> accept -> commit -> learn.

Joins a drafter, a budget and a target, and knows each only by its protocol. Does not know
llama.cpp, files, text, or where a choice comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.draft.drafter import Drafter, Step
from aded_edge.draft.tree import ROOT, DraftTree

from .accept import Walk
from .budget import Budget
from .candidates import CANDIDATES, top_candidates
from .stats import Meter

Choose = Callable[[int, Float32Array], int]
"""The target's choice behind a row: (row, its logits) -> token. Called once per token emitted."""

Stop = Callable[[Int32Array, Float32Array], bool]
"""(history, logits behind it) -> end here, without the token that was just chosen."""


class Target(Protocol):
    """The model that decides. `row` is where the logits behind the history lie."""

    row: int

    @property
    def history(self) -> Int32Array:
        """int32 (n,): the evaluated tokens."""
        ...

    @property
    def max_nodes(self) -> int:
        """How many draft nodes the next evaluation can take."""
        ...

    @property
    def ticket(self) -> int:
        """Number of the evaluation that waits to be settled, 0 when none does."""
        ...

    def submit(self, root: int, tokens: Int32Array, parents: Int32Array) -> None:
        """Starts the evaluation of the root and a draft; a GPU goes on with it by itself."""
        ...

    def collect(self) -> Float32Array:
        """Waits for it: logits float32 (n + 1, n_vocab) behind the root and each node."""
        ...

    def advance(self, row: int) -> None:
        """The history grows by the token of `row`."""
        ...

    def settle(self) -> None:
        """Keeps what is in the history, drops all other nodes."""
        ...

    def rewind(self, length: int) -> None:
        """Cuts the history back to its first `length` tokens."""
        ...

    def logits(self) -> Float32Array:
        """float32 (n_vocab,): logits behind the history."""
        ...


LESSONS = 4
"""Steps that are learned from together: after an evaluation every cache is cold, and the first
lesson costs as much as the next three. To know a little later costs nothing (NOTES.md)."""


class Loop:
    """Decodes behind an evaluated history.

    Args:
        target: what decides.
        drafter: what proposes, and learns.
        budget: what chooses the width.
        candidates: how many of the target's likeliest tokens the drafter learns at every evaluated
            row; 0 for none.

    Attributes:
        meter: the figures of the generation that runs, or ran last.
    """

    def __init__(
        self, target: Target, drafter: Drafter, budget: Budget, candidates: int = CANDIDATES
    ) -> None:
        self.target = target
        self.drafter = drafter
        self.budget = budget
        self.meter = Meter()
        self._candidates = candidates
        self._lessons: list[Step] = []

    def run(
        self, choose: Choose, stop: Stop | None = None, meter: Meter | None = None
    ) -> Generator[int, Sequence[int] | None, None]:
        """Yields the target's tokens without end; tokens sent in are forced behind the last.

        Closing it at any yield leaves history and KV in agreement: the history then holds all
        tokens yielded but the last, as in plain decoding.
        """
        target = self.target
        self.meter = meter = meter or Meter()
        meter.resume()
        self.budget.begin()
        # The prompt's evaluation is a step without a draft.
        draft, walk, logits = DraftTree.empty(), Walk(DraftTree.empty()), target.logits()
        last = target.history[-1:].copy()  # a step may be kept longer than this history
        known = self._known(target.history[:-1], last, _NOTHING, logits[np.newaxis])
        forced = yield from self._choose(meter, walk, target.row, logits, choose, stop)
        self._teach(draft, walk, known)
        try:
            while not walk.stopped:
                root = self._force(walk.emitted[-1], forced)
                draft = self._draft(root)
                tree = self.budget.cut(draft)
                meter.lap("drafting")
                logits = self._evaluate(meter, root, tree)
                rows = np.asarray([root, *tree.tokens], np.int32)
                known = self._known(target.history, rows, tree.parents, logits)
                meter.lap("learning")
                walk = Walk(tree)
                try:
                    forced = yield from self._accept(meter, walk, logits, choose, stop)
                finally:
                    target.settle()  # commit
                    meter.lap("accepting")
                    self._teach(draft, walk, known)
                    accepted, emitted = len(walk.path), len(walk.emitted)
                    self.budget.settle(len(tree) + 1, emitted)
                    meter.step(len(tree), accepted, emitted, self.budget.plain_seconds)
        finally:
            self._learn(least=1)

    def _draft(self, root: int) -> DraftTree:
        most = min(self.budget.most_nodes, self.target.max_nodes)
        return self.drafter.draft(self.target.history, root, most, self.budget.worth)

    def _evaluate(self, meter: Meter, root: int, tree: DraftTree) -> Float32Array:
        self.target.submit(root, tree.tokens, tree.parents)
        seconds = meter.lap("evaluating")
        self._learn(least=LESSONS)  # while a GPU evaluates
        meter.lap("learning")
        logits = self.target.collect()
        self.budget.observe(len(tree) + 1, seconds + meter.lap("evaluating"))
        return logits

    def _accept(
        self, meter: Meter, walk: Walk, logits: Float32Array, choose: Choose, stop: Stop | None
    ) -> Generator[int, Sequence[int] | None, Sequence[int] | None]:
        ticket = self.target.ticket
        for row in walk:
            self.target.advance(row)
            forced = yield from self._choose(meter, walk, row, logits[row], choose, stop)
            if forced or self.target.ticket != ticket:
                return forced
        return None

    def _choose(
        self,
        meter: Meter,
        walk: Walk,
        row: int,
        logits: Float32Array,
        choose: Choose,
        stop: Stop | None,
    ) -> Generator[int, Sequence[int] | None, Sequence[int] | None]:
        token = choose(row, logits)
        if stop is not None and stop(self.target.history, logits):
            walk.stopped = True
            return None
        walk.take(token)
        meter.tokens += 1
        meter.lap("accepting")
        length = len(self.target.history)
        forced = yield token
        meter.resume()
        if len(self.target.history) > length:
            self.target.rewind(length)  # the consumer evaluated something of its own meanwhile
        return None if forced is None else list(forced)

    def _force(self, token: int, forced: Sequence[int] | None) -> int:
        # All but the last of them are evaluated one by one: rare, and simple is enough.
        tokens = [token, *(forced or ())]
        for earlier in tokens[:-1]:
            self.target.submit(earlier, _NOTHING, _NOTHING)
            self.target.collect()
            self.target.advance(0)
            self.target.settle()
        return tokens[-1]

    def _teach(self, draft: DraftTree, walk: Walk, known: _Known) -> None:
        emitted = walk.tokens()
        parents = np.asarray([ROOT, *walk.path][: len(emitted)], np.int32)
        self._lessons.append(Step(draft, parents, emitted, *known))

    def _learn(self, least: int) -> None:
        if len(self._lessons) >= least:
            lessons, self._lessons = self._lessons, []
            for lesson in lessons:
                self.drafter.learn(lesson)

    def _known(
        self, history: Int32Array, tokens: Int32Array, parents: Int32Array, logits: Float32Array
    ) -> _Known:
        """What the target says at each evaluated row: context, likeliest tokens, probabilities.

        Taken at once, because the logits are gone with the next evaluation, whoever starts it.
        """
        if not self._candidates:
            return _NOTHING_KNOWN
        befores = np.full(1, history[-1] if len(history) else -1, np.int32)
        if len(parents):
            befores = np.concatenate((befores, tokens[parents + 1]))
        return befores, tokens, *top_candidates(logits, self._candidates)


_Known = tuple[Int32Array, Int32Array, Int32Array, Float32Array]

_NOTHING = np.empty(0, np.int32)
_NOTHING_KNOWN: _Known = (
    _NOTHING,
    _NOTHING,
    np.empty((0, 1), np.int32),
    np.empty((0, 1), np.float32),
)
