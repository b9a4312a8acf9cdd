"""The drafter: learns how the target continues texts, and drafts trees from what it learned.

Joins the matrix, the spans, the calibration and a search. Does not know the target, what an
evaluation costs, or that anything is ever saved: `take_news` and `everything` return plain arrays,
and `absorb` takes them.
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
"""Weight that the target's distribution at one evaluated node adds to the matrix."""

HARD_WEIGHT = 1.0
"""Weight that one token that was read or generated adds to the matrix."""


class Learned(NamedTuple):
    """A drafter's knowledge as plain arrays, the form in which it is saved and merged."""

    rows: Rows  # of the matrix
    tokens: Int32Array  # (k,) the log of the spans, SEPARATOR between texts
    expected: Float32Array  # (CELLS,) calibration: sum of the estimates
    accepted: Float32Array  # (CELLS,) calibration: how many were accepted


class Step(NamedTuple):
    """One step of decoding: what was drafted, and what the target said to it."""

    draft: DraftTree  # as searched, before the budget cut it
    parents: Int32Array  # (n,) the node before each emitted token: -1 for the root, then the path
    emitted: Int32Array  # (n,) the tokens that the target emitted
    befores: Int32Array  # (rows,) the token before each evaluated row's token, -1 without one
    lasts: Int32Array  # (rows,) each evaluated row's token
    top_tokens: Int32Array  # (rows, k) the target's likeliest next tokens at each row
    top_probs: Float32Array  # (rows, k) their probabilities


class Text(NamedTuple):
    """A text that was read; its first `start` tokens are context that was learned before."""

    tokens: Int32Array
    start: int
    continues: bool  # the context is the end of the log, so the text continues what is logged


class News(NamedTuple):
    """What a drafter learned since the last `take_news`, event by event."""

    before: Int32Array  # (2,) or fewer: the last tokens logged before the first event
    events: list[Step | Text]
    expected: Float32Array  # (CELLS,) as in `Learned`, of these events only
    accepted: Float32Array  # (CELLS,)

    def learned(self) -> Learned:
        """Sum the events up. Takes milliseconds, and may run on any thread."""
        # A text that begins anew is not preceded by the end of another one, which may be deleted.
        first = self.events[0] if self.events else None
        before = _NOTHING if isinstance(first, Text) and not first.continues else self.before
        matrix, log, tail = TrigramMatrix(), [_GAP, before], before
        for event in self.events:
            if isinstance(event, Text):
                matrix.observe(event.tokens, event.start, HARD_WEIGHT)
                log += [event.tokens[event.start :]] if event.continues else [_GAP, event.tokens]
                tail = event.tokens[-2:]
            else:
                text = np.concatenate((tail, event.emitted))
                matrix.observe(text, len(tail), HARD_WEIGHT)
                matrix.observe_top(*event[-4:], SOFT_WEIGHT)
                log.append(event.emitted)
                tail = text[-2:]
        return Learned(matrix.export(), np.concatenate(log), self.expected, self.accepted)


class Drafter(Protocol):
    """The drafter as the decoding loop uses it."""

    def draft(
        self, history: Int32Array, root: int, max_nodes: int, worth: float = 0.0
    ) -> DraftTree:
        """Draft continuations of history + root.

        Args:
            history: int32 (n,), the tokens before the root.
            root: the last token that is already decided.
            max_nodes: largest number of nodes.
            worth: nodes whose path is less likely than this need no children.
        """
        ...

    def learn(self, *steps: Step) -> None:
        """Learn from one or more steps of decoding, oldest first."""
        ...


@kernel
def _learn(
    table: Any,
    log: Any,
    counts: Any,
    ends: Any,
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
    # The arrays from `draft_tokens` to `top_probs` hold several steps, one after the other. `ends`,
    # int64 (steps, 3), has the end of each step's part: draft nodes, emitted tokens, rows.
    node_start = token_start = row_start = 0
    for step in range(ends.shape[0]):
        # The target's next token is known at every node of the accepted path. So every child of
        # these nodes has an outcome, even if the budget cut it off, and the calibration learns
        # without extra evaluations, even while the budget drafts nothing.
        for i in range(token_start, ends[step, 1]):
            for node in range(node_start, ends[step, 0]):
                if draft_parents[node] == parents[i]:
                    hit = draft_tokens[node] == emitted[i]
                    record(counts, draft_cells[node], draft_estimates[node], hit)
        new = emitted[token_start : ends[step, 1]]
        recent = extend(log, new)
        table.state[1] += 1
        observe(table, recent, recent.size - new.size, hard)
        rows = slice(row_start, ends[step, 2])
        observe_top(
            table, befores[rows], lasts[rows], top_tokens[rows], top_probs[rows], soft, LEAST_PROB
        )
        node_start, token_start, row_start = ends[step, 0], ends[step, 1], ends[step, 2]


class AdaptiveDrafter:
    """Tri-gram matrix + copied spans + calibration, searched best-first.

    Args:
        max_leaves, max_depth: bounds of every tree.
        kappa: weight of shorter contexts in the blend.
        longest: longest context that is used, in tokens.
        trusting: use the raw estimates, without calibration.
        hard: weight that a token that was read or emitted adds to the matrix.
        soft: weight that the target's distribution at an evaluated node adds.
        least: leave out nodes whose path is less likely than this.
        least_branch: the same of nodes that add a leaf beyond the first.
        keep_news: keep what is learned for `take_news`.
        matrix, spans: used instead of new, empty ones.
    """

    def __init__(
        self,
        *,
        max_leaves: int = 16,
        max_depth: int = 64,
        kappa: float = 0.7,
        longest: int = CONTEXT,
        trusting: bool = False,
        hard: float = HARD_WEIGHT,
        soft: float = SOFT_WEIGHT,
        least: float = 0.02,
        least_branch: float = 0.0,
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
        self.least_branch = least_branch
        self.keep_news = keep_news
        self._news: list[Step | Text] = []
        self._before = _NOTHING

    def draft(
        self, history: Int32Array, root: int, max_nodes: int, worth: float = 0.0
    ) -> DraftTree:
        """Draft the likeliest continuations, likeliest node first; probabilities are calibrated."""
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
            least_branch=self.least_branch,
            worth=worth,
        )

    def read(self, tokens: Int32Array, start: int = 0) -> None:
        """Learn a text that the target was given.

        Args:
            tokens: int32 (n,).
            start: the tokens before this index are context that was learned before.
        """
        first = max(start - CONTEXT, 0)
        piece = np.array(tokens[first:], np.int32)
        known = start - first
        # The last generated token was logged but not evaluated, so a prompt that continues the
        # conversation contains it as its first new token.
        if 0 < known < len(piece) and self._ends_with(piece[: known + 1]):
            known += 1
        if known == len(piece):
            return
        continues = known > 0 and self._ends_with(piece[:known])
        self.matrix.observe(piece, known, self.hard)
        if continues:
            self.spans.extend(piece[known:])
        else:
            self.spans.append(piece, known)
        if self.keep_news:
            self._news.append(Text(piece, known, continues))

    def learn(self, *steps: Step) -> None:
        """Learn from steps of decoding, oldest first, in one call of a kernel."""
        drafts = [step.draft for step in steps]
        sizes = [(len(step.draft), len(step.emitted), len(step.lasts)) for step in steps]
        ends = np.cumsum(np.asarray(sizes, np.int64), axis=0)
        self.matrix.reserve(2 * int(ends[-1, 1] + ends[-1, 2]))
        _learn(
            self.matrix.table,
            self.spans.log,
            self.calibration.counts,
            ends,
            _joined([draft.tokens for draft in drafts]),
            _joined([draft.parents for draft in drafts]),
            _joined([draft.estimates for draft in drafts]),
            _joined([draft.cells for draft in drafts]),
            _joined([step.parents for step in steps]),
            _joined([step.emitted for step in steps]),
            _joined([step.befores for step in steps]),
            _joined([step.lasts for step in steps]),
            _joined([step.top_tokens for step in steps]),
            _joined([step.top_probs for step in steps]),
            self.hard,
            self.soft,
        )
        if self.keep_news:
            self._news.extend(steps)

    def absorb(self, learned: Learned) -> None:
        """Add what an earlier process learned."""
        self.matrix.absorb(learned.rows)
        # Not as a continuation: the text that was logged last may come from another process.
        self.spans.append(learned.tokens)
        self.calibration.absorb(learned.expected, learned.accepted)

    def _ends_with(self, tokens: Int32Array) -> bool:
        return np.array_equal(self.spans.tail(len(tokens)), tokens)

    def take_news(self) -> News:
        """Return what was learned since the last call, and forget that it is new."""
        before, self._before = self._before, self.spans.tail(2)
        events, self._news = self._news, []
        return News(before, events, *self.calibration.take_new())

    def everything(self) -> Learned:
        """Return all that is known, including what was absorbed."""
        return Learned(
            self.matrix.export(),
            self.spans.tail(len(self.spans)),
            self.calibration.counts[EXPECTED].copy(),
            self.calibration.counts[ACCEPTED].copy(),
        )


class PaperDrafter(AdaptiveDrafter):
    """The drafter of ADED (arXiv 2407.12021): tri-grams alone, PUCT search, no calibration.

    Only the search and its tree are the paper's. The matrix is ours: it also learns from the
    target's probabilities, and holds 16 successors for each context where the paper holds 12.
    """

    def draft(
        self, history: Int32Array, root: int, max_nodes: int, worth: float = 0.0
    ) -> DraftTree:
        """Draft the paper's tree of at most 64 nodes; `worth` is ignored."""
        if not len(history):
            return DraftTree.empty()
        before = int(history[-1])
        return puct(self.matrix.table, before, root, max_nodes=min(max_nodes, PUCT_NODES))


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


_GAP = np.asarray([SEPARATOR], np.int32)
_NOTHING = np.empty(0, np.int32)
