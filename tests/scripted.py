"""A target without a model: logits come from a known function of the tokens.

It has the interface of `LlamaTarget` and is stricter: it asserts the order of calls and well-formed
trees. Does not know llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.errors import EvaluationError


class ScriptedTarget:
    """A target whose logits are a function of the last tokens.

    Args:
        logits_of: the last tokens, int32 (order,) or fewer -> logits behind them, float32
            (n_vocab,).
        n_vocab: size of the vocabulary.
        order: number of tokens that `logits_of` is given.
        n_ctx: the most tokens the history holds.

    Attributes:
        widths: rows of each evaluation so far.
    """

    def __init__(
        self,
        logits_of: Callable[[Int32Array], Float32Array],
        n_vocab: int,
        order: int = 2,
        n_ctx: int = 1 << 16,
    ) -> None:
        self.n_vocab = n_vocab
        self.widths: list[int] = []
        self.row = -1
        self._logits_of = logits_of
        self._order = order
        self._tokens = np.empty(n_ctx, np.int32)
        self._length = 0
        self._base = 0
        self._rows: Float32Array = np.empty((0, n_vocab), np.float32)
        self._paths: list[list[int]] | None = None

    @classmethod
    def ngram(
        cls, n_vocab: int, order: int = 2, seed: int = 0, sharpness: float = 3.0
    ) -> ScriptedTarget:
        """A random n-gram model: a context's logits are random, from a seed of its own."""
        known: dict[tuple[int, ...], Float32Array] = {}

        def logits_of(context: Int32Array) -> Float32Array:
            key = tuple(context.tolist())
            if key not in known:
                rng = np.random.default_rng([seed, *key])
                known[key] = (sharpness * rng.standard_normal(n_vocab)).astype(np.float32)
            return known[key]

        return cls(logits_of, n_vocab, order)

    @property
    def history(self) -> Int32Array:
        """int32 (n,): the evaluated tokens, a view."""
        return self._tokens[: self._length]

    @property
    def max_nodes(self) -> int:
        """The most draft nodes that the next evaluation can take beside its root."""
        return max(len(self._tokens) - self._length - 1, 0)

    @property
    def ticket(self) -> int:
        """Number of the evaluation that waits to be settled, 0 when none does."""
        return len(self.widths) if self._paths is not None else 0

    def read(self, tokens: Sequence[int]) -> None:
        """Start over with these tokens as the evaluated history."""
        self._length = len(tokens)
        self._tokens[: self._length] = tokens
        self._paths = None
        self._rows = self.behind([])[np.newaxis]
        self.row = -1

    def submit(self, root: int, tokens: Int32Array, parents: Int32Array) -> None:
        """Evaluate the root and a draft tree."""
        self.settle()
        if len(tokens) > self.max_nodes or self._length == len(self._tokens):
            raise EvaluationError(f"{len(tokens) + 1} tokens do not fit into the context")
        paths = [[root]]
        for node, (token, parent) in enumerate(zip(tokens.tolist(), parents.tolist(), strict=True)):
            assert -1 <= parent < node, "a parent stands before its children"
            assert 0 <= token < self.n_vocab
            paths.append([*paths[parent + 1], token])
        assert len({tuple(path) for path in paths}) == len(paths), "a node is drafted twice"
        self._base = self._length
        self._paths = paths
        self._rows = np.stack([self.behind(path) for path in paths])
        self.widths.append(len(paths))

    def collect(self) -> Float32Array:
        """Logits float32 (n + 1, n_vocab) behind the root and each node."""
        assert self._paths is not None, "collect() belongs behind submit()"
        return self._rows

    def evaluate(self, root: int, tokens: Int32Array, parents: Int32Array) -> Float32Array:
        """`submit` and `collect` in one."""
        self.submit(root, tokens, parents)
        return self.collect()

    def advance(self, row: int) -> None:
        """Append the token of a row to the history."""
        assert self._paths is not None, "advance() belongs between submit() and settle()"
        path = self._paths[row]
        walked = self._tokens[self._base : self._length].tolist()
        assert path[:-1] == walked, "the row's parent ends the history"
        self._tokens[self._length] = path[-1]
        self._length += 1
        self.row = row

    def settle(self) -> None:
        """Drop all nodes that are not in the history."""
        self._paths = None

    def rewind(self, length: int) -> None:
        """Cut the history back to its first `length` tokens."""
        self._length = length

    def logits(self) -> Float32Array:
        """float32 (n_vocab,): logits behind the last token of the history."""
        row: Float32Array = self._rows[self.row]
        return row

    def behind(self, path: Sequence[int]) -> Float32Array:
        """float32 (n_vocab,): logits behind the history followed by `path`."""
        tail = self.history[-self._order :].tolist()
        return self._logits_of(np.asarray([*tail, *path][-self._order :], np.int32))
