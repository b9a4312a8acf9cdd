"""The loop: draft -> budget -> evaluate -> accept -> commit -> learn.

Joins a drafter, a budget and a target, and knows each only by its protocol: `Drafter`
(`aded_edge.draft.drafter`), `Budget` (`budget.py`) and `Target` (here). Does not know llama.cpp,
files, text, or how a token is chosen.
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
"""The target's choice of the next token: (row, its logits) -> token. Called once for each emitted
token; the logits are float32 (n_vocab,)."""

Stop = Callable[[Int32Array, Float32Array], bool]
"""A stopping criterion: (history, logits of the next token) -> whether the generation ends here,
without the token that was just chosen."""


class Target(Protocol):
    """The model that decides, as the decoding loop uses it.

    Attributes:
        row: row of the last evaluation that holds the logits of the token after the history.
    """

    row: int

    @property
    def history(self) -> Int32Array:
        """The evaluated tokens, int32 (n,)."""
        ...

    @property
    def max_nodes(self) -> int:
        """Largest number of draft nodes that the next evaluation can hold."""
        ...

    @property
    def ticket(self) -> int:
        """Number of the evaluation that is not settled yet, 0 if there is none."""
        ...

    def submit(self, root: int, tokens: Int32Array, parents: Int32Array) -> None:
        """Start to evaluate the root and a draft; a GPU works on while this returns."""
        ...

    def collect(self) -> Float32Array:
        """Wait for the evaluation; return the logits of the root and each node.

        Returns:
            float32 (n + 1, n_vocab): logits of the token after the root (row 0) and after node i
            (row i + 1).
        """
        ...

    def advance(self, row: int) -> None:
        """Append the token of `row` to the history."""
        ...

    def settle(self) -> None:
        """Keep the evaluated tokens that are in the history, drop all other nodes."""
        ...

    def rewind(self, length: int) -> None:
        """Cut the history back to its first `length` tokens."""
        ...

    def logits(self) -> Float32Array:
        """Return the logits of the token after the history, float32 (n_vocab,)."""
        ...


LEARN_TOGETHER = 4
"""Number of steps that are learned from together while drafts are evaluated. After an evaluation
the CPU's caches are cold, so the first of them takes as long as the next three; learning a few
steps later loses nothing (NOTES.md)."""

LEARN_PLAIN = 16
"""Number of steps that are learned from together where no draft was worth its evaluation lately."""

_LATELY = 8
"""After so many plain steps in a row, no draft was worth its evaluation lately."""


def learn_together(plain_steps: int) -> int:
    """Return the number of steps to learn from together, after so many plain steps in a row."""
    return LEARN_PLAIN if plain_steps >= _LATELY else LEARN_TOGETHER


class Loop:
    """Generates tokens after an evaluated history.

    Args:
        target: decides every token.
        drafter: drafts continuations, and learns from each step.
        budget: chooses the width of each evaluation.
        candidates: number of the target's likeliest tokens that the drafter learns at every
            evaluated row; 0 for none.

    Attributes:
        meter: the figures of the current generation, or of the last one.
    """

    def __init__(
        self, target: Target, drafter: Drafter, budget: Budget, candidates: int = CANDIDATES
    ) -> None:
        self.target = target
        self.drafter = drafter
        self.budget = budget
        self.meter = Meter()
        self._candidates = candidates
        self._unlearned: list[tuple[DraftTree, Walk, _Top]] = []
        self._plain_steps = 0  # in a row in this generation, up to now

    def run(
        self,
        choose: Choose,
        stop: Stop | None = None,
        meter: Meter | None = None,
        read: Callable[[], None] = lambda: None,
    ) -> Generator[int, Sequence[int] | None, None]:
        """Yield the target's tokens without end.

        Tokens that are sent in (`generator.send`) are evaluated after the last token yielded, and
        the generation continues after them. Closing the generator at any yield leaves history and
        KV cache in agreement: the history then holds all tokens yielded but the last, as in plain
        decoding.

        Args:
            choose: the target's choice of each token.
            stop: ends the generation when it returns True.
            meter: collects the figures; a new one if left out.
            read: gives the prompt to the drafter. Called once, behind the first token, which no
                draft can make come sooner.
        """
        target = self.target
        self.meter = meter = meter or Meter()
        meter.resume()
        self.budget.begin()
        self._plain_steps = 0
        # The evaluation of the prompt counts as a step without a draft.
        draft, walk, logits = DraftTree.empty(), Walk(DraftTree.empty()), target.logits()
        top = self._top(target.history[:-1], target.history[-1], draft, logits[np.newaxis])
        try:
            forced = yield from self._choose(meter, walk, target.row, logits, choose, stop)
        finally:
            read()
        meter.lap("learning")
        self._unlearned.append((draft, walk, top))
        try:
            while not walk.stopped:
                root = self._force(walk.emitted[-1], forced)
                draft = self._draft(root)
                tree = self.budget.cut(draft)
                if len(tree) > len(draft):  # filled up by the budget, which knows no context
                    tree = tree.prefix(target.max_nodes)
                meter.lap("drafting")
                logits, seconds = self._evaluate(meter, root, tree)
                top = self._top(target.history, root, tree, logits)
                meter.lap("learning")
                walk = Walk(tree)
                try:
                    forced = yield from self._accept(meter, walk, logits, choose, stop)
                finally:
                    meter.lap("accepting")
                    target.settle()  # commit
                    # A rejected branch has to be removed, which is part of what a tree costs.
                    self.budget.observe(len(tree) + 1, seconds + meter.lap("accepting"))
                    self._unlearned.append((draft, walk, top))
                    accepted, emitted = len(walk.path), len(walk.emitted)
                    self.budget.settle(len(tree) + 1, emitted)
                    meter.step(len(tree), accepted, emitted, self.budget.plain_seconds)
        finally:
            self._learn(least=1)

    def _draft(self, root: int) -> DraftTree:
        most = min(self.budget.most_nodes, self.target.max_nodes)
        return self.drafter.draft(self.target.history, root, most, self.budget.worth)

    def _evaluate(self, meter: Meter, root: int, tree: DraftTree) -> tuple[Float32Array, float]:
        self.target.submit(root, tree.tokens, tree.parents)
        seconds = meter.lap("evaluating")
        self._plain_steps = 0 if len(tree) else self._plain_steps + 1
        self._learn(least=learn_together(self._plain_steps))  # while a GPU evaluates
        meter.lap("learning")
        logits = self.target.collect()
        return logits, seconds + meter.lap("evaluating")

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
            self.target.rewind(length)  # the consumer has evaluated tokens of its own meanwhile
        return None if forced is None else list(forced)

    def _force(self, token: int, forced: Sequence[int] | None) -> int:
        # Evaluates `token` and the forced ones, and returns the last of them as the next root. One
        # by one, because this is rare.
        tokens = [token, *(forced or ())]
        for earlier in tokens[:-1]:
            self.target.submit(earlier, _NOTHING, _NOTHING)
            self.target.collect()
            self.target.advance(0)
            self.target.settle()
        return tokens[-1]

    def _learn(self, least: int) -> None:
        if len(self._unlearned) >= least:
            unlearned, self._unlearned = self._unlearned, []
            self.drafter.learn(*(_step(*each) for each in unlearned))

    def _top(self, history: Int32Array, root: int, tree: DraftTree, logits: Float32Array) -> _Top:
        # Taken before tokens are yielded: the consumer may start another evaluation, which
        # overwrites the logits.
        if not self._candidates:
            return _NO_TOP
        tokens = np.asarray([root, *tree.tokens], np.int32)
        befores = np.full(1, history[-1] if len(history) else -1, np.int32)
        if len(tree):
            befores = np.concatenate((befores, tokens[tree.parents + 1]))
        return befores, tokens, *top_candidates(logits, self._candidates)


def _step(draft: DraftTree, walk: Walk, top: _Top) -> Step:
    emitted = walk.tokens()
    parents = np.asarray([ROOT, *walk.path][: len(emitted)], np.int32)
    return Step(draft, parents, emitted, *top)


_Top = tuple[Int32Array, Int32Array, Int32Array, Float32Array]
"""Contexts and the target's likeliest tokens at each evaluated row: the last four of a `Step`."""

_NOTHING = np.empty(0, np.int32)
_NO_TOP: _Top = (
    _NOTHING,
    _NOTHING,
    np.empty((0, 1), np.int32),
    np.empty((0, 1), np.float32),
)
