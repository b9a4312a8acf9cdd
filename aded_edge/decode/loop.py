"""The loop: draft -> budget -> evaluate -> accept -> commit -> learn.

Joins a drafter, a budget and a target, and knows each only by its protocol. Does not know
llama.cpp, files, text, or where a choice comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..draft.drafter import Drafter, Step
from ..draft.tree import ROOT, DraftTree
from .accept import Walk
from .budget import Budget
from .candidates import top_candidates
from .stats import Meter

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]

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

    def evaluate(self, root: int, tokens: Int32Array, parents: Int32Array) -> Float32Array:
        """Logits float32 (n + 1, n_vocab) behind the root and each node."""
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


class Loop:
    """Decodes behind an evaluated history.

    Attributes:
        meter: the figures of the generation that runs, or ran last.
    """

    def __init__(self, target: Target, drafter: Drafter, budget: Budget) -> None:
        self.target = target
        self.drafter = drafter
        self.budget = budget
        self.meter = Meter()

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
        walk = Walk(DraftTree.empty())  # the prompt's evaluation is a step without a draft
        forced = yield from self._choose(meter, walk, target.row, target.logits(), choose, stop)
        self._learn(DraftTree.empty(), walk, _NO_ROWS, _NO_CANDIDATES)
        while not walk.stopped:
            root = self._force(walk.emitted[-1], forced)
            draft = self.drafter.draft(target.history, root, self._most_nodes())
            tree = self.budget.cut(draft)
            meter.lap("drafting")
            before = int(target.history[-1]) if len(target.history) else -1
            logits = self._evaluate(meter, root, tree)
            walk, ticket = Walk(tree), target.ticket
            try:
                forced = yield from self._accept(meter, walk, logits, choose, stop)
            finally:
                intact = target.ticket == ticket  # else the consumer used the context meanwhile
                target.settle()  # commit
                meter.lap("accepting")
                if intact:
                    self._learn(draft, walk, _rows(before, root, tree), top_candidates(logits))
                else:
                    self._learn(draft, walk, _NO_ROWS, _NO_CANDIDATES)
                meter.lap("learning")
                meter.step(len(tree), len(walk.path), len(walk.emitted), self.budget.plain_seconds)

    def _most_nodes(self) -> int:
        return min(self.budget.most_nodes, self.target.max_nodes)

    def _evaluate(self, meter: Meter, root: int, tree: DraftTree) -> Float32Array:
        logits = self.target.evaluate(root, tree.tokens, tree.parents)
        self.budget.observe(len(tree) + 1, meter.lap("evaluating"))
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
            self.target.evaluate(earlier, _NOTHING, _NOTHING)
            self.target.advance(0)
            self.target.settle()
        return tokens[-1]

    def _learn(self, draft: DraftTree, walk: Walk, rows: _Rows, top: _Candidates) -> None:
        emitted = walk.tokens()
        parents = np.asarray([ROOT, *walk.path][: len(emitted)], np.int32)
        self.drafter.learn(Step(draft, parents, emitted, *rows, *top))


def _rows(before: int, root: int, tree: DraftTree) -> _Rows:
    """Contexts of the evaluated rows: for each the token before its own, and its own."""
    lasts = np.empty(len(tree) + 1, np.int32)
    befores = np.empty_like(lasts)
    lasts[0], befores[0] = root, before
    if len(tree):
        lasts[1:] = tree.tokens
        befores[1:] = lasts[tree.parents + 1]
    return befores, lasts


_Rows = tuple[Int32Array, Int32Array]
_Candidates = tuple[Int32Array, Float32Array]

_NOTHING = np.empty(0, np.int32)
_NO_ROWS: _Rows = (_NOTHING, _NOTHING)
_NO_CANDIDATES: _Candidates = (np.empty((0, 1), np.int32), np.empty((0, 1), np.float32))
