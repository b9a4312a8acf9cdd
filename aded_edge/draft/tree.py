"""The draft tree: candidate continuations as flat arrays.

Knows tokens, parents, probabilities and the calibration cell of each node. Does not know where the
estimates come from, nor what evaluating a node costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aded_edge.arrays import Float32Array, Int32Array

ROOT = -1
"""Parent of the nodes that follow the root, the last token that is already decided."""


@dataclass(slots=True, eq=False)  # frozen ones take three times as long to make
class DraftTree:
    """Candidate continuations of a history, likeliest node first.

    A parent comes before its children, so any prefix of the node list is itself a valid tree.

    Attributes:
        tokens: int32 (n,), the token of each node.
        parents: int32 (n,), index of the parent node, -1 where the parent is the root.
        probs: float32 (n,), estimated probability that the target accepts the whole path down
            to the node; a child's is never higher than its parent's.
        estimates: float32 (n,), the raw, uncalibrated estimate of the node given its parent.
        cells: int16 (n,), the calibration cell of that estimate (`calibration.py`), -1 without one.
    """

    tokens: Int32Array
    parents: Int32Array
    probs: Float32Array
    estimates: Float32Array
    cells: npt.NDArray[np.int16]

    @classmethod
    def empty(cls) -> DraftTree:
        """Return the tree without nodes; a step with it is plain decoding."""
        return _EMPTY

    @classmethod
    def build(
        cls,
        tokens: Sequence[int],
        parents: Sequence[int],
        probs: Sequence[float] | None = None,
    ) -> DraftTree:
        """Build a tree from plain sequences.

        Args:
            tokens, parents: one entry a node.
            probs: probability of the path to each node; 1 for all nodes if left out.

        Returns:
            A tree whose nodes have no calibration cell.
        """
        n = len(tokens)
        return cls(
            np.asarray(tokens, np.int32).reshape(n),
            np.asarray(parents, np.int32).reshape(n),
            np.ones(n, np.float32) if probs is None else np.asarray(probs, np.float32),
            np.ones(n, np.float32),
            np.full(n, -1, np.int16),
        )

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.tokens)

    def prefix(self, n: int) -> DraftTree:
        """Return the tree of the first `n` nodes (views, no copies)."""
        if n >= len(self.tokens):
            return self
        if n == 0:
            return _EMPTY
        return DraftTree(
            self.tokens[:n], self.parents[:n], self.probs[:n], self.estimates[:n], self.cells[:n]
        )

    def filled(self, n: int) -> DraftTree:
        """Return the tree with `n` nodes: those that it lacks continue the last one's path.

        They are not expected to be accepted, and carry the last node's token.
        """
        lacking = n - len(self.tokens)
        if lacking <= 0:
            return self
        last = len(self.tokens) - 1
        return DraftTree(
            np.append(self.tokens, np.repeat(self.tokens[-1:], lacking)),
            np.append(self.parents, np.arange(last, last + lacking, dtype=np.int32)),
            np.append(self.probs, np.zeros(lacking, np.float32)),
            np.append(self.estimates, np.ones(lacking, np.float32)),
            np.append(self.cells, np.full(lacking, -1, np.int16)),
        )

    def child(self, parent: int, token: int) -> int | None:
        """Return the index of the child of `parent` (-1 = root) with this token, or None."""
        if not len(self.tokens):
            return None
        hits = np.flatnonzero((self.parents == parent) & (self.tokens == token))
        return int(hits[0]) if hits.size else None


_EMPTY = DraftTree.build([], [])
