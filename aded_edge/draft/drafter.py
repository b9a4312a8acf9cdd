"""The drafter: everything learned about how the target continues, and the tree drawn from it.

Joins the matrix, the spans, the calibration and a search. Does not know the target, what an
evaluation costs, or that anything is ever saved; `take_learned` and `absorb` exchange plain
arrays with whoever does.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .calibration import Calibration
from .estimate import CONTEXT
from .matrix import Rows, TrigramMatrix
from .search import PUCT_NODES, best_first, puct
from .spans import SEPARATOR, Spans
from .tree import DraftTree

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]

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


class Evaluated(NamedTuple):
    """What the target said in one evaluation of root + nodes; row 0 is the root."""

    lasts: Int32Array  # (rows,) the token of each row
    befores: Int32Array  # (rows,) the token before it, -1 without one
    top_tokens: Int32Array  # (rows, k) the target's likeliest next tokens
    top_probs: Float32Array  # (rows, k)


class Drafter(Protocol):
    """What the loop needs of a drafter; one that does not learn is told nothing."""

    learns: bool

    def draft(self, history: Int32Array, max_nodes: int) -> DraftTree:
        """Candidate continuations of `history`, int32 (n,), whose last token is the root."""
        ...

    def learn(self, tree: DraftTree, path: list[int], emitted: Int32Array) -> None:
        """Learns what became of a draft.

        Args:
            tree: the whole draft, as searched.
            path: indices of its nodes that the target confirmed, in order.
            emitted: int32 (n,), the tokens that the target emitted: path and bonus.
        """
        ...

    def learn_evaluated(self, evaluated: Evaluated) -> None:
        """Learns the target's top candidates at every evaluated node."""
        ...


class NoDrafter:
    """Drafts nothing: plain decoding."""

    learns = False

    def draft(self, history: Int32Array, max_nodes: int) -> DraftTree:
        """The empty tree."""
        return DraftTree.empty()

    def learn(self, tree: DraftTree, path: list[int], emitted: Int32Array) -> None:
        """Nothing to learn."""

    def learn_evaluated(self, evaluated: Evaluated) -> None:
        """Nothing to learn."""


class AdaptiveDrafter:
    """Tri-gram matrix + copied spans + calibration, searched best-first.

    Args:
        max_leaves, max_depth: bounds of every tree.
        kappa: weight of shorter contexts in the blend.
        least: paths less likely than this are not drafted.
    """

    learns = True

    def __init__(
        self,
        *,
        max_leaves: int = 16,
        max_depth: int = 32,
        kappa: float = 0.7,
        least: float = 0.02,
        matrix: TrigramMatrix | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.matrix = matrix or TrigramMatrix()
        self.spans = spans or Spans()
        self.calibration = Calibration()
        self.max_leaves = max_leaves
        self.max_depth = max_depth
        self.kappa = kappa
        self.least = least
        self._news = TrigramMatrix()
        self._news_calibration = Calibration()
        self._news_tokens: list[Int32Array] = []

    def draft(self, history: Int32Array, max_nodes: int) -> DraftTree:
        """The likeliest continuations, likeliest first; probabilities are calibrated."""
        if max_nodes < 1 or not len(history):
            return DraftTree.empty()
        return best_first(
            self.matrix.table,
            self.spans.log,
            self.calibration.trust,
            history[-CONTEXT:],
            kappa=self.kappa,
            max_nodes=max_nodes,
            max_leaves=self.max_leaves,
            max_depth=self.max_depth,
            least=self.least,
        )

    def read(self, tokens: Int32Array, start: int = 0) -> None:
        """Learns a text that the target was given: `tokens[start:]`, the rest is context."""
        first = max(start - CONTEXT, 0)
        piece = np.asarray(tokens[first:], np.int32)
        self._count(piece, start - first)
        self.spans.append(piece, start - first)
        self._news_tokens += [_GAP, piece]

    def learn(self, tree: DraftTree, path: list[int], emitted: Int32Array) -> None:
        """Counts the emitted tokens and how the draft's estimates along the path came out.

        Every child of a node on the path has an outcome, whether it was evaluated or cut off
        by the budget: the target's next token is known there. So calibration costs nothing and
        goes on while nothing is drafted.
        """
        tail = self.spans.tail(2)
        self._count(np.concatenate((tail, emitted)), len(tail))
        self.spans.extend(emitted)
        self._news_tokens.append(emitted)
        if len(tree):
            seen, hits = _outcomes(tree, path, emitted)
            for calibration in (self.calibration, self._news_calibration):
                calibration.record(tree.cells[seen], tree.estimates[seen], hits)

    def learn_evaluated(self, evaluated: Evaluated) -> None:
        """Adds the target's distribution at each evaluated node to the matrix."""
        for matrix in (self.matrix, self._news):
            matrix.observe_top(
                evaluated.befores,
                evaluated.lasts,
                evaluated.top_tokens,
                evaluated.top_probs,
                SOFT_WEIGHT,
            )

    def absorb(self, learned: Learned) -> None:
        """Adds what an earlier process learned."""
        self.matrix.absorb(learned.rows)
        if len(learned.tokens):
            self.spans.append(learned.tokens)
        self.calibration.absorb(learned.expected, learned.accepted)

    def take_learned(self) -> Learned:
        """What was learned since the last call; the next call starts from nothing."""
        tokens = np.concatenate([*self._news_tokens, _NOTHING])
        learned = Learned(
            self._news.export(),
            tokens.astype(np.int32),
            self._news_calibration.expected,
            self._news_calibration.accepted,
        )
        self._news.clear()
        self._news_calibration = Calibration()
        self._news_tokens = []
        return learned

    def everything(self) -> Learned:
        """All that is known, earlier processes' part included."""
        return Learned(
            self.matrix.export(),
            self.spans.tail(len(self.spans)),
            self.calibration.expected.copy(),
            self.calibration.accepted.copy(),
        )

    def _count(self, tokens: Int32Array, start: int) -> None:
        for matrix in (self.matrix, self._news):
            matrix.observe(tokens, start, HARD_WEIGHT)


class PaperDrafter(AdaptiveDrafter):
    """ADED as published: the tri-gram matrix alone, PUCT search, no calibration, no budget."""

    def draft(self, history: Int32Array, max_nodes: int) -> DraftTree:
        """The paper's tree: at most 64 nodes, whatever they cost."""
        return puct(self.matrix.table, history, max_nodes=min(max_nodes, PUCT_NODES))


def _outcomes(
    tree: DraftTree, path: list[int], emitted: Int32Array
) -> tuple[npt.NDArray[np.bool_], Float32Array]:
    # The parents whose next token is known: the root and the confirmed nodes.
    following = np.full(len(tree) + 1, SEPARATOR, np.int32)  # the root's comes last
    parents = [-1, *path][: len(emitted)]
    following[parents] = emitted[: len(parents)]
    known = following[tree.parents]
    seen = known >= 0
    return seen, (known[seen] == tree.tokens[seen]).astype(np.float32)


_GAP = np.asarray([SEPARATOR], np.int32)
_NOTHING = np.empty(0, np.int32)
