"""The target in llama.cpp: tree batches, KV cells, logits.

A `LlamaTarget` works on the context and the history of a `llama_cpp.Llama` (`n_tokens`,
`input_ids`), so that everything that is inherited from it (states, caches, `eval`) stays correct.

Between `submit` and `settle` the KV cache holds cells of draft nodes; the history grows by one
token with each `advance`. `settle` keeps the cells of the history and drops all others. It may be
called at any time, any number of times, and after an interruption at any point.

Sequence 0 is the history. A tree with several leaves needs the history in one more sequence for
each of them. These sequences keep it from tree to tree, so that a tree only adds the cells that
are new since the last one: adding all of them would take longer with each token of the history.

Does not know where drafts come from, what they cost or which token is chosen.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, NamedTuple

import llama_cpp
import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.errors import EvaluationError

from .context import bind_batch, is_recurrent, reopen
from .layout import ROOT_ALONE, Layout, layout
from .rpc import check_workers
from .window import holds_window, most_rows

MAX_LEAVES = 64
"""The most root-to-leaf paths in one batch. llama.cpp's own limit is LLAMA_MAX_SEQ = 256."""

MAX_WIDTH = 65
"""The most rows in one batch: the root and the paper's 64 nodes."""

LAST_ROW = -1
"""llama.cpp's index of the last row of the last evaluation."""

_EVALUATE_ERRORS = {
    1: "the context is full (no free KV cells); ask for fewer tokens or a larger n_ctx",
    2: "the evaluation was aborted",
    -1: "the batch was refused; this is a fault of aded-edge, please report it",
}
"""Return code of llama_decode -> cause and remedy."""


class _Pending(NamedTuple):
    """An evaluation whose cells are not settled yet."""

    tokens: Int32Array  # (rows,)
    first_leaf: Int32Array  # (rows,)
    leaves: int
    base: int  # position of the root


class LlamaTarget:
    """A context of llama.cpp that evaluates draft trees.

    Args:
        llama: the model, whose history is read and extended. Trees that branch need a context
            opened by `open_tree_context`; chains need nothing.

    Attributes:
        n_vocab: number of tokens in the vocabulary.
        row: the row of the last evaluation that holds the logits after the history.
    """

    def __init__(self, llama: llama_cpp.Llama) -> None:
        self._llama: Any = weakref.proxy(llama)  # owns this target, and `del llama` must free it
        self.n_vocab = llama.n_vocab()
        self.reopened()
        self._evaluations = 0
        self._leaf = 0
        self._window = _drops_what_left_a_window(llama)
        self._filled = 0  # rows of the last batch
        self._rows: Float32Array = np.empty((0, self.n_vocab), np.float32)
        self._view = self._rows  # of llama.cpp's logits
        width = min(MAX_WIDTH, most_rows(llama))
        self._tokens = np.zeros(width, np.int32)
        self._positions = np.zeros(width, np.int32)
        self._id_counts = np.ones(width, np.int32)
        self._ids = np.arange(MAX_LEAVES, dtype=np.int32)
        self._id_pointers = np.zeros(width, np.uintp)
        self._outputs = np.ones(width, np.int8)
        self._batch = bind_batch(
            self._tokens, self._positions, self._id_counts, self._id_pointers, self._outputs
        )

    def reopened(self) -> None:
        """Go on with the model's context that is open now; history and KV cache are empty."""
        self._ctx = self._llama._ctx.ctx
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self._pending: _Pending | None = None
        self._settled = -1  # length of the history after which the KV cache has no cells, if known
        # Whether there are sequences for the leaves of trees; recurrent memory shares no cells.
        self._trees = not is_recurrent(self._llama) and llama_cpp.llama_n_seq_max(self._ctx) > 1
        self._address: int | None = None  # of llama.cpp's logits
        self.row = LAST_ROW

    @property
    def history(self) -> Int32Array:
        """int32 (n,): the evaluated tokens, a view."""
        history: Int32Array = self._llama.input_ids[: self._llama.n_tokens]
        return history

    @property
    def max_nodes(self) -> int:
        """The most draft nodes that the next evaluation can take beside its root."""
        return max(min(self._room(), len(self._tokens)) - 1, 0)

    def submit(self, root: int, tokens: Int32Array, parents: Int32Array) -> None:
        """Start the evaluation of the root and a draft tree after the history, in one batch.

        On a CPU the evaluation is done when this returns; a GPU works on until `collect`.

        Args:
            root: the last token that is decided and not yet evaluated.
            tokens, parents: int32 (n,), the nodes; n <= max_nodes, at most MAX_LEAVES leaves.

        Raises:
            EvaluationError: llama.cpp refused; history and KV cache are as before.
            WorkerError: a worker is lost.
        """
        self.settle()
        if self._ctx is None:
            raise EvaluationError("the model is closed; load it again")
        check_workers(self._llama)
        if self._room() < 1:
            raise EvaluationError(
                f"the context of {self._llama._n_ctx} tokens is full; ask for fewer tokens or a "
                "larger n_ctx"
            )
        rows = len(tokens) + 1
        tree = layout(parents)
        base = int(self._llama.n_tokens)
        if base != self._settled:
            self._cut(base)  # a caller that lowered n_tokens may have left cells behind it
        self._settled = -1
        self._fill(root, tokens, tree, base)
        self._batch.n_tokens = rows
        # Recorded before anything changes, so that settle() undoes an interruption from here on.
        self._leaf = 0
        self._evaluations += 1
        self._llama._requires_eval = True
        self._pending = _Pending(self._tokens[:rows], tree.first_leaf, tree.leaves, base)
        for leaf in range(1, tree.leaves):
            self._share_history(leaf, base)
        code = llama_cpp.llama_decode(self._ctx, self._batch)
        if code != 0:
            self.settle()
            check_workers(self._llama)
            cause = _EVALUATE_ERRORS.get(code, "llama.cpp gives no reason")
            raise EvaluationError(f"llama_decode returned {code} for {rows} tokens: {cause}")

    def _share_history(self, leaf: int, length: int) -> None:
        """Add those cells of the history to a leaf's sequence that it does not have yet."""
        # llama.cpp is asked, because a state may have been loaded. What a sequence has begins at
        # position 0 and is part of the history: whoever cuts this back cuts all sequences.
        known = llama_cpp.llama_memory_seq_pos_max(self._memory, leaf) + 1
        if known < length:
            llama_cpp.llama_memory_seq_cp(self._memory, 0, leaf, known, length)
        elif known > length:
            llama_cpp.llama_memory_seq_rm(self._memory, leaf, length, -1)

    def _fill(self, root: int, tokens: Int32Array, tree: Layout, base: int) -> None:
        """Write the rows of the batch."""
        self._tokens[0] = root
        if tree is ROOT_ALONE and self._filled == 1:
            self._positions[0] = base
            return
        rows = len(tokens) + 1
        self._filled = 0  # until all of it is written, as Ctrl-C may come in between
        self._tokens[1:rows] = tokens
        self._positions[:rows] = base + tree.depths
        self._id_counts[:rows] = tree.leaf_count
        offsets = self._ids.itemsize * tree.first_leaf.astype(np.uintp)
        self._id_pointers[:rows] = self._ids.ctypes.data + offsets
        self._filled = rows

    def collect(self) -> Float32Array:
        """Wait for the evaluation that `submit` started.

        Returns:
            float32 (n + 1, n_vocab): logits after the root (row 0) and node i (row i + 1). A
            view of llama.cpp's memory, valid until the next evaluation.

        Raises:
            WorkerError: a worker is lost.
        """
        assert self._pending is not None, "collect() must follow submit()"
        pointer = llama_cpp.llama_get_logits(self._ctx)  # waits for a GPU
        check_workers(self._llama)
        rows, address = len(self._pending.tokens), ctypes.c_void_p.from_buffer(pointer).value
        # llama.cpp nearly always reuses the same memory, and making a new view takes 30 us.
        if address != self._address or rows > len(self._view):
            self._address = address
            self._view = np.ctypeslib.as_array(pointer, shape=(rows, self.n_vocab))
        self._rows = self._view[:rows]
        return self._rows

    def evaluate(self, root: int, tokens: Int32Array, parents: Int32Array) -> Float32Array:
        """Call `submit`, then `collect`."""
        self.submit(root, tokens, parents)
        return self.collect()

    def advance(self, row: int) -> None:
        """Append the token of a row to the history, which must end with the row's parent."""
        assert self._pending is not None, "advance() belongs between submit() and settle()"
        llama, place = self._llama, self._llama.n_tokens
        llama._requires_eval = True
        llama.input_ids[place] = self._pending.tokens[row]
        if llama._logits_all:
            llama.scores[place] = self._rows[row]
        self.row = row
        self._leaf = int(self._pending.first_leaf[row])
        llama.n_tokens = place + 1
        llama._requires_eval = False

    def settle(self) -> None:
        """Keep the KV cells of the history and drop those of all other nodes."""
        pending = self._pending
        if pending is None:
            return
        length = int(self._llama.n_tokens)
        # After an interruption after any of these lines, all of them can run again.
        if self._leaf != 0:
            llama_cpp.llama_memory_seq_rm(self._memory, 0, pending.base, -1)
            llama_cpp.llama_memory_seq_cp(self._memory, self._leaf, 0, pending.base, length)
            self._leaf = 0
        if pending.leaves > 1 and self._window:
            self.drop_leaves()
        else:
            for leaf in range(1, pending.leaves):
                llama_cpp.llama_memory_seq_rm(self._memory, leaf, pending.base, -1)
        if length < pending.base + len(pending.tokens):
            self.truncate(length)
        self._settled = length
        self._pending = None

    def drop_leaves(self) -> None:
        """Take the history out of the sequences of leaves; the next tree adds it again.

        A saved state then has one sequence only, and fits into a context for chains.
        """
        if self._trees:
            llama_cpp.llama_memory_seq_keep(self._memory, 0)

    def rewind(self, length: int) -> None:
        """Cut the history and its KV cache back to the first `length` tokens."""
        self._llama.n_tokens = length
        self._llama._requires_eval = True
        self._cut(length)

    def _cut(self, length: int) -> None:
        """Drop the KV cells from position `length` on; read the history again if that is not all
        that it takes."""
        if not self.truncate(length):
            tokens = self.history[:length].tolist()
            self.truncate(0)
            self._llama.n_tokens = 0
            self._llama.eval(tokens)

    def evaluated_elsewhere(self) -> None:
        """Note that llama_cpp itself will evaluate tokens: it knows sequence 0 only."""
        self.row = LAST_ROW
        self._settled = -1
        if self._trees:
            self.truncate(int(self._llama.n_tokens))  # a caller may have lowered it

    def truncate(self, length: int) -> bool:
        """Drop the KV cells from position `length` on.

        Returns:
            False if this kind of memory cannot drop them, or holds too little of what is before
            them to go on there.
        """
        sequence = -1 if self._trees else 0  # -1: in all of them
        dropped = bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1))
        return dropped and holds_window(self._llama, length)

    def bring_back(self) -> None:
        """Make the memory hold the history and nothing else; attention's cells always do."""

    def cut_back(self, length: int) -> int:
        """Cut the memory back to its first `length` tokens.

        Returns:
            Number of tokens that are kept: `length`, or 0 if this kind of memory cannot do that.
        """
        return length if self.truncate(length) else 0

    def mark(self) -> None:
        """Prepare for going back to here; attention's cells need nothing for that."""

    def read(self, tokens: list[int], shared: int) -> None:
        """Evaluate the rest of a prompt after the history.

        Args:
            tokens: what follows the history.
            shared: number of tokens that the prompt shares with the history before it.
        """
        self._llama.eval(tokens)

    @property
    def ticket(self) -> int:
        """Number of the evaluation that is not settled yet, 0 if there is none."""
        return self._evaluations if self._pending is not None else 0

    def logits(self) -> Float32Array:
        """float32 (n_vocab,): logits after the last token of the history, a view."""
        pointer = llama_cpp.llama_get_logits_ith(self._ctx, self.row)
        check_workers(self._llama)
        return np.ctypeslib.as_array(pointer, shape=(self.n_vocab,))

    def close(self) -> None:
        """Drop the context, which the caller frees next."""
        self._pending = None
        self._ctx = None

    def _room(self) -> int:
        llama = self._llama
        return int(llama._n_ctx - llama.n_tokens)


def _drops_what_left_a_window(llama: llama_cpp.Llama) -> bool:
    """Whether cells that a sliding window has left are used again, if one sequence alone has them.

    So a leaf's sequence must not keep the history there, or such a cache would be full soon.
    """
    return not llama.context_params.swa_full and (
        llama_cpp.llama_model_n_swa(llama._model.model) > 0
    )


def open_tree_context(llama: llama_cpp.Llama, leaves: int) -> None:
    """Reopen a model's context so that trees with up to `leaves` leaves share one KV cache.

    Raises:
        ModelError: there is not enough memory, or the LoRA adapter does not fit.
    """
    reopen(llama, n_seq_max=min(leaves, llama.n_batch), kv_unified=True)
