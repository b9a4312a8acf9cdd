"""The draft tree: candidate continuations as flat arrays.

Knows tokens, parents, probabilities and the kind of evidence behind each node. Does not know
where the estimates came from, nor what evaluating a node costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aded_edge.arrays import Float32Array, Int32Array

ROOT = -1
"""Parent of the nodes that follow the root."""


@dataclass(frozen=True)
class DraftTree:
    """Candidate continuations of a history, in best-first order.

    A parent stands before its children, so any prefix of the node list is itself a valid tree.

    Attributes:
        tokens: int32 (n,), the token of each node.
        parents: int32 (n,), index of the parent node, -1 where the parent is the root.
        probs: float32 (n,), estimated probability that the target accepts the whole path down
            to the node; never rises from parent to child.
        estimates: float32 (n,), the raw, uncalibrated estimate of the node given its parent.
        cells: int16 (n,), the calibration cell of that estimate (`calibration.py`), -1 where it
            has none.
    """

    tokens: Int32Array
    parents: Int32Array
    probs: Float32Array
    estimates: Float32Array
    cells: npt.NDArray[np.int16]

    @classmethod
    def empty(cls) -> DraftTree:
        """The tree without nodes: a step with it is plain decoding."""
        return _EMPTY

    @classmethod
    def chain(cls, tokens: Sequence[int]) -> DraftTree:
        """One continuation without branches, believed in completely."""
        return cls.build(tokens, range(-1, len(tokens) - 1))

    @classmethod
    def build(
        cls,
        tokens: Sequence[int],
        parents: Sequence[int],
        probs: Sequence[float] | None = None,
    ) -> DraftTree:
        """A tree from plain sequences; without `probs` every node is certain."""
        n = len(tokens)
        return cls(
            np.asarray(tokens, np.int32).reshape(n),
            np.asarray(parents, np.int32).reshape(n),
            np.ones(n, np.float32) if probs is None else np.asarray(probs, np.float32),
            np.ones(n, np.float32),
            np.full(n, -1, np.int16),
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def prefix(self, n: int) -> DraftTree:
        """The tree of the first `n` nodes (views, no copies)."""
        if n >= len(self.tokens):
            return self
        if n == 0:
            return _EMPTY
        return DraftTree(
            self.tokens[:n], self.parents[:n], self.probs[:n], self.estimates[:n], self.cells[:n]
        )

    def child(self, parent: int, token: int) -> int | None:
        """Index of the child of `parent` (-1 = root) that carries `token`, None without one."""
        if not len(self.tokens):
            return None
        hits = np.flatnonzero((self.parents == parent) & (self.tokens == token))
        return int(hits[0]) if hits.size else None


_EMPTY = DraftTree.build([], [])
