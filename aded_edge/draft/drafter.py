"""The drafter: everything learned about how the target continues, and the tree drawn from it.

Joins the matrix, the spans, the calibration and a search. Does not know the target, what an
evaluation costs, or that anything is ever saved; `take_news` and `absorb` exchange plain
arrays with whoever does.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array

from .best_first import best_first
from .calibration import ACCEPTED, EXPECTED, Calibration, record
from .compile import kernel
from .estimate import CONTEXT
from .matrix import LEAST_PROB, Rows, TrigramMatrix, observe, observe_top
from .puct import PUCT_NODES, puct
from .spans import SEPARATOR, Spans, extend
from .tree import DraftTree

SOFT_WEIGHT = 1.0
"""What the target's distribution at one evaluated node adds to the matrix."""

HARD_WEIGHT = 1.0
"""What one token that was read or written adds."""


class Learned(NamedTuple):
    """What a drafter learned, as plain arrays."""

    rows: Rows
    tokens: Int32Array  # (k,) the log, SEPARATOR between texts
    expected: Float32Array  # (CELLS,)
    accepted: Float32Array  # (CELLS,)


class Step(NamedTuple):
    """What became of a draft: all that one step of decoding teaches."""

    draft: DraftTree  # as searched, before the budget cut it
    parents: Int32Array  # (n,) the node before each emitted token: -1 for the root, then the path
    emitted: Int32Array  # (n,) the tokens that the target emitted
    befores: Int32Array  # (rows,) for each evaluated row the token before its own, -1 without one
    lasts: Int32Array  # (rows,) and its own
    top_tokens: Int32Array  # (rows, k) the target's likeliest tokens behind it
    top_probs: Float32Array  # (rows, k)


class Text(NamedTuple):
    """A text that was read; its first `start` tokens were known already."""

    tokens: Int32Array
    start: int
    goes_on: bool  # they are the last ones logged before it


class News(NamedTuple):
    """What a drafter learned since somebody asked, event by event."""

    before: Int32Array  # (2,) or fewer: what was logged before all this
    events: list[Step | Text]
    expected: Float32Array  # (CELLS,)
    accepted: Float32Array  # (CELLS,)

    def learned(self) -> Learned:
        """The events summed up; takes milliseconds, and may run on any thread."""
        matrix, log, tail = TrigramMatrix(), [_GAP, self.before], self.before
        for event in self.events:
            if isinstance(event, Text):
                matrix.observe(event.tokens, event.start, HARD_WEIGHT)
                log += [event.tokens[event.start :]] if event.goes_on else [_GAP, event.tokens]
                tail = event.tokens[-2:]
            else:
                text = np.concatenate((tail, event.emitted))
                matrix.observe(text, len(tail), HARD_WEIGHT)
                matrix.observe_top(*event[-4:], SOFT_WEIGHT)
                log.append(event.emitted)
                tail = text[-2:]
        return Learned(matrix.export(), np.concatenate(log), self.expected, self.accepted)


class Drafter(Protocol):
    """What the loop needs of a drafter."""

    def draft(
        self, history: Int32Array, root: int, max_nodes: int, worth: float = 0.0
    ) -> DraftTree:
        """Candidate continuations of history + root, int32 (n,).

        At most `max_nodes`; what follows on a path less likely than `worth` need not be found.
        """
        ...

    def learn(self, step: Step) -> None:
        """Learns what became of a draft."""
        ...


@kernel
def _learn(
    table: Any,
    log: Any,
    counts: Any,
    draft_tokens: Any,
    draft_parents: Any,
    draft_estimates: Any,
    draft_cells: Any,
    parents: Any,
    emitted: Any,
    befores: Any,
    lasts: Any,
    top_tokens: Any,
    top_probs: Any,
    hard: float,
    soft: float,
) -> None:
    # Every child of a node on the path has an outcome, whether it was evaluated or cut off by
    # the budget: the target's next token is known there. So calibration costs nothing and goes
    # on while nothing is drafted.
    for i in range(emitted.size):
        for node in range(draft_parents.size):
            if draft_parents[node] == parents[i]:
                hit = draft_tokens[node] == emitted[i]
                record(counts, draft_cells[node], draft_estimates[node], hit)
    recent = extend(log, emitted)
    table.state[1] += 1
    observe(table, recent, recent.size - emitted.size, hard)
    observe_top(table, befores, lasts, top_tokens, top_probs, soft, LEAST_PROB)


class AdaptiveDrafter:
    """Tri-gram matrix + copied spans + calibration, searched best-first.

    Args:
        max_leaves, max_depth: bounds of every tree.
        kappa: weight of shorter contexts in the blend.
        longest: contexts of more tokens are not looked at.
        trusting: estimates are taken as they are, without calibration.
        hard, soft: what a token read or emitted adds to the matrix, and what the target's
            distribution at an evaluated node adds.
        least: paths less likely than this are not drafted.
        keep_news: hold what is learned for `take_news`.
    """

    def __init__(
        self,
        *,
        max_leaves: int = 16,
        max_depth: int = 32,
        kappa: float = 0.7,
        longest: int = CONTEXT,
        trusting: bool = False,
        hard: float = HARD_WEIGHT,
        soft: float = SOFT_WEIGHT,
        least: float = 0.02,
        keep_news: bool = False,
        matrix: TrigramMatrix | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.matrix = TrigramMatrix() if matrix is None else matrix
        self.spans = Spans() if spans is None else spans
        self.calibration = Calibration()
        self.max_leaves = max_leaves
        self.max_depth = max_depth
        self.kappa = kappa
        self.longest = longest
        self.trusting = trusting
        self.hard = hard
        self.soft = soft
        self.least = least
        self.keep_news = keep_news
        self._news: list[Step | Text] = []
        self._before = _NOTHING

    def draft(
        self, history: Int32Array, root: int, max_nodes: int, worth: float = 0.0
    ) -> DraftTree:
        """The likeliest continuations, likeliest first; probabilities are calibrated."""
        return best_first(
            self.matrix.table,
            self.spans.log,
            self.calibration.counts,
            history,
            root,
            kappa=self.kappa,
            longest=self.longest,
            trusting=self.trusting,
            max_nodes=max_nodes,
            max_leaves=self.max_leaves,
            max_depth=self.max_depth,
            least=self.least,
            worth=worth,
        )

    def read(self, tokens: Int32Array, start: int = 0) -> None:
        """Learns a text that the target was given: `tokens[start:]`, the rest is context."""
        first = max(start - CONTEXT, 0)
        piece = np.array(tokens[first:], np.int32)
        known = start - first
        # The last token written is not evaluated yet: a prompt that goes on gives it back.
        if 0 < known < len(piece) and self._ends_with(piece[: known + 1]):
            known += 1
        if known == len(piece):
            return
        goes_on = known > 0 and self._ends_with(piece[:known])
        self.matrix.observe(piece, known, self.hard)
        if goes_on:
            self.spans.extend(piece[known:])
        else:
            self.spans.append(piece, known)
        if self.keep_news:
            self._news.append(Text(piece, known, goes_on))

    def learn(self, step: Step) -> None:
        """Learns from one step, in one pass."""
        draft = step.draft
        self.matrix.reserve(2 * (len(step.emitted) + len(step.lasts)))
        _learn(
            self.matrix.table,
            self.spans.log,
            self.calibration.counts,
            draft.tokens,
            draft.parents,
            draft.estimates,
            draft.cells,
            step.parents,
            step.emitted,
            step.befores,
            step.lasts,
            step.top_tokens,
            step.top_probs,
            self.hard,
            self.soft,
        )
        if self.keep_news:
            self._news.append(step)

    def absorb(self, learned: Learned) -> None:
        """Adds what an earlier process learned."""
        self.matrix.absorb(learned.rows)
        # As a text of its own: what was logged last may be another process's.
        self.spans.append(learned.tokens)
        self.calibration.absorb(learned.expected, learned.accepted)

    def _ends_with(self, tokens: Int32Array) -> bool:
        return np.array_equal(self.spans.tail(len(tokens)), tokens)

    def take_news(self) -> News:
        """What was learned since the last call; the next call starts from nothing."""
        before, self._before = self._before, self.spans.tail(2)
        events, self._news = self._news, []
        return News(before, events, *self.calibration.take_new())

    def everything(self) -> Learned:
        """All that is known, earlier processes' part included."""
        return Learned(
            self.matrix.export(),
            self.spans.tail(len(self.spans)),
            self.calibration.counts[EXPECTED].copy(),
            self.calibration.counts[ACCEPTED].copy(),
        )


class PaperDrafter(AdaptiveDrafter):
    """ADED's search and tree: tri-grams alone, PUCT, no calibration, no budget.

    The matrix below it is ours: it learns from the target's probabilities too, and holds 16
    successors a context where the paper holds 12.
    """

    def draft(
        self, history: Int32Array, root: int, max_nodes: int, worth: float = 0.0
    ) -> DraftTree:
        """The paper's tree: at most 64 nodes, whatever they cost."""
        if not len(history):
            return DraftTree.empty()
        before = int(history[-1])
        return puct(self.matrix.table, before, root, max_nodes=min(max_nodes, PUCT_NODES))


_GAP = np.asarray([SEPARATOR], np.int32)
_NOTHING = np.empty(0, np.int32)
