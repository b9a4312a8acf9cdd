"""Accept: follows the target's own choices through the draft tree.

At each node the target chooses its next token as it would without a draft. If a child carries that
token, its logits are already evaluated, and the walk continues there. Each emitted token *is* a
choice of the target, so its distribution is preserved exactly, at every temperature and with
every sampler and grammar, whatever was drafted.

Knows trees. Does not know the target, logits, or how a token is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.draft.tree import ROOT, DraftTree


class Walk:
    """A walk from the root down the path that the target confirms.

    Iterating yields the rows at which the target chooses a token (0 = root, i + 1 = node i).
    Before the next iteration, call `take` with the chosen token.

    Attributes:
        path: the nodes confirmed so far.
        emitted: the tokens chosen so far: those of the path, and at the end the target's own one.
        stopped: set it to end the walk here (a stopping criterion was met).
    """

    def __init__(self, tree: DraftTree) -> None:
        self.path: list[int] = []
        self.emitted: list[int] = []
        self.stopped = False
        self._tree = tree
        self._next: int | None = ROOT

    def __iter__(self) -> Iterator[int]:
        while self._next is not None and not self.stopped:
            if self._next != ROOT:
                self.path.append(self._next)
            yield self._next + 1

    def take(self, token: int) -> None:
        """Record that the target chose `token` at the current row."""
        assert self._next is not None, "the walk has ended"
        self.emitted.append(token)
        self._next = self._tree.child(self._next, token)

    def tokens(self) -> Int32Array:
        """Return the tokens chosen so far, int32 (n,)."""
        return np.asarray(self.emitted, np.int32)
