"""The target in llama.cpp: tree batches, KV cells, logits.

The only place that calls llama_cpp's C API to decode. A `LlamaTarget` works on the context and
the history of a `llama_cpp.Llama` (`n_tokens`, `input_ids`), so that everything inherited from
it (states, caches, `eval`) goes on seeing the truth.

Between `evaluate` and `settle` the KV holds cells of draft nodes; the history grows by one
token with each `advance`. `settle` keeps the cells of the history and drops all others. It may
be called at any time, any number of times, and after an interruption at any point.

Does not know where drafts come from, what they cost or which token is chosen.
"""

from __future__ import annotations

import contextlib
import ctypes
import weakref
from typing import Any, NamedTuple

import llama_cpp
import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.errors import EvaluationError, ModelError

from .layout import layout

MAX_LEAVES = 64
"""The most root-to-leaf paths of one batch; llama.cpp itself ends at LLAMA_MAX_SEQ = 256."""

MAX_WIDTH = 65
"""The most rows of one batch: root + the paper's 64 nodes."""

LAST_ROW = -1
"""llama.cpp's index of the last row of the last evaluation."""

_EVALUATE_ERRORS = {
    1: "the context is full (no free KV cells); ask for fewer tokens or a larger n_ctx",
    2: "the evaluation was aborted",
    -1: "the batch was refused; this is a fault of aded-edge, please report it",
}


class _Pending(NamedTuple):
    """An evaluation whose cells are not settled yet."""

    tokens: Int32Array  # (rows,)
    first_leaf: Int32Array  # (rows,)
    leaves: int
    base: int  # position of the root


class LlamaTarget:
    """A context of llama.cpp that evaluates trees.

    Args:
        llama: the model, whose history is read and extended. For trees that branch, its
            context must have been opened by `open_tree_context`; a chain needs nothing.

    Attributes:
        n_vocab: tokens in the vocabulary.
        row: the row of the last evaluation that holds the logits behind the history.
    """

    def __init__(self, llama: llama_cpp.Llama) -> None:
        self._llama: Any = weakref.proxy(llama)  # which owns this target: `del llama` frees it
        self._ctx = llama._ctx.ctx
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self.n_vocab = llama.n_vocab()
        self._pending: _Pending | None = None
        self._evaluations = 0
        self._leaf = 0
        self._rows: Float32Array = np.empty((0, self.n_vocab), np.float32)
        self._view = self._rows  # of llama.cpp's logits
        self._address: int | None = None  # where they lie
        self.row = LAST_ROW
        width = min(MAX_WIDTH, llama.n_batch)
        self._tokens = np.zeros(width, np.int32)
        self._positions = np.zeros(width, np.int32)
        self._id_counts = np.ones(width, np.int32)
        self._ids = np.arange(MAX_LEAVES, dtype=np.int32)  # 4 bytes each
        self._id_pointers = np.zeros(width, np.uintp)
        self._outputs = np.ones(width, np.int8)
        self._batch = self._bind_batch()

    @property
    def history(self) -> Int32Array:
        """int32 (n,): the tokens that are evaluated, a view."""
        history: Int32Array = self._llama.input_ids[: self._llama.n_tokens]
        return history

    @property
    def max_nodes(self) -> int:
        """How many draft nodes the next evaluation can take beside its root."""
        return max(min(self._room(), len(self._tokens)) - 1, 0)

    def submit(self, root: int, tokens: Int32Array, parents: Int32Array) -> None:
        """Starts the evaluation of the root and a draft tree behind the history, in one batch.

        On a CPU it is done at the return; a GPU goes on with it until `collect`.

        Args:
            root: the token that is decided and not evaluated.
            tokens, parents: int32 (n,), the nodes; n <= max_nodes, at most MAX_LEAVES leaves.

        Raises:
            EvaluationError: llama.cpp refused; history and KV are as before.
        """
        self.settle()
        if self._ctx is None:
            raise EvaluationError("the model is closed")
        if self._room() < 1:
            raise EvaluationError(f"the context of {self._llama._n_ctx} tokens is full")
        rows = len(tokens) + 1
        tree = layout(parents)
        base = int(self._llama.n_tokens)
        self.truncate(base)  # whoever set n_tokens back need not know of the KV
        self._tokens[0] = root
        self._tokens[1:rows] = tokens
        self._positions[:rows] = base + tree.depths
        self._id_counts[:rows] = tree.leaf_count
        self._id_pointers[:rows] = self._ids.ctypes.data + 4 * tree.first_leaf.astype(np.uintp)
        self._batch.n_tokens = rows
        # Noted before anything changes: an interruption from here on is undone by settle().
        self._leaf = 0
        self._evaluations += 1
        self._llama._requires_eval = True
        self._pending = _Pending(self._tokens[:rows], tree.first_leaf, tree.leaves, base)
        for leaf in range(1, tree.leaves):
            llama_cpp.llama_memory_seq_cp(self._memory, 0, leaf, -1, -1)
        code = llama_cpp.llama_decode(self._ctx, self._batch)
        if code != 0:
            self.settle()
            cause = _EVALUATE_ERRORS.get(code, "llama.cpp gives no reason")
            raise EvaluationError(f"llama_decode returned {code} for {rows} tokens: {cause}")

    def collect(self) -> Float32Array:
        """Waits for what was submitted.

        Returns:
            float32 (n + 1, n_vocab): logits behind the root (row 0) and node i (row i + 1). A
            view of llama.cpp's memory, valid until the next evaluation.
        """
        assert self._pending is not None, "collect() belongs behind submit()"
        # Fetching the logits waits for a GPU.
        pointer = llama_cpp.llama_get_logits(self._ctx)
        rows, address = len(self._pending.tokens), ctypes.c_void_p.from_buffer(pointer).value
        # They lie where they lay before, nearly always, and making a view takes 30 us.
        if address != self._address or rows > len(self._view):
            self._address = address
            self._view = np.ctypeslib.as_array(pointer, shape=(rows, self.n_vocab))
        self._rows = self._view[:rows]
        return self._rows

    def evaluate(self, root: int, tokens: Int32Array, parents: Int32Array) -> Float32Array:
        """`submit` and `collect` in one."""
        self.submit(root, tokens, parents)
        return self.collect()

    def advance(self, row: int) -> None:
        """The history grows by the token of `row`, whose parent it ends with."""
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
        """Keeps the KV cells of the history and drops those of all other nodes."""
        pending = self._pending
        if pending is None:
            return
        # Each line leaves a state from which all of them can run again.
        if self._leaf != 0:
            llama_cpp.llama_memory_seq_rm(self._memory, 0, pending.base, -1)
            llama_cpp.llama_memory_seq_cp(self._memory, self._leaf, 0, pending.base, -1)
            self._leaf = 0
        if pending.leaves > 1:
            llama_cpp.llama_memory_seq_keep(self._memory, 0)
        if self._llama.n_tokens != pending.base + len(pending.tokens):  # else all were accepted
            self.truncate(self._llama.n_tokens)
        self._pending = None

    def rewind(self, length: int) -> None:
        """Cuts the history and its KV back to the first `length` tokens."""
        self._llama.n_tokens = length
        self._llama._requires_eval = True
        self.truncate(length)

    def truncate(self, length: int) -> bool:
        """Drops the KV cells from position `length` on; False if this memory cannot."""
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, 0, length, -1))

    @property
    def ticket(self) -> int:
        """Number of the evaluation that waits to be settled, 0 when none does."""
        return self._evaluations if self._pending is not None else 0

    def logits(self) -> Float32Array:
        """float32 (n_vocab,): logits behind the last token of the history, a view."""
        pointer = llama_cpp.llama_get_logits_ith(self._ctx, self.row)
        return np.ctypeslib.as_array(pointer, shape=(self.n_vocab,))

    def close(self) -> None:
        """The context is about to be freed: nothing may reach it any more."""
        self._pending = None
        self._ctx = None

    def _room(self) -> int:
        llama = self._llama
        return int(llama._n_ctx - llama.n_tokens)

    def _bind_batch(self) -> Any:
        batch = llama_cpp.llama_batch()
        kind: Any
        for name, array, kind in (
            ("token", self._tokens, ctypes.c_int32),
            ("pos", self._positions, ctypes.c_int32),
            ("n_seq_id", self._id_counts, ctypes.c_int32),
            ("seq_id", self._id_pointers, ctypes.POINTER(ctypes.c_int32)),
            ("logits", self._outputs, ctypes.c_int8),
        ):
            setattr(batch, name, ctypes.cast(array.ctypes.data, ctypes.POINTER(kind)))
        return batch


def open_tree_context(llama: llama_cpp.Llama, leaves: int) -> None:
    """Opens the context of a loaded model again, with room for that many paths in one KV.

    The constructor of llama_cpp.Llama opens it for a single sequence and offers no way to say
    otherwise; to close it and open it again costs no visible time.

    Raises:
        ModelError: llama.cpp refused, for want of memory or because of a LoRA adapter.
    """
    internals, inner = llama_cpp._internals, llama_cpp.llama_cpp
    llama._ctx.close()
    llama.context_params.n_seq_max = min(leaves, llama.n_batch)
    llama.context_params.kv_unified = True
    try:
        context = internals.LlamaContext(
            model=llama._model, params=llama.context_params, verbose=llama.verbose
        )
    except ValueError as error:
        raise ModelError(
            f"llama.cpp cannot open a context of {llama.context_params.n_ctx} tokens for "
            f"{llama.model_path!r}; a smaller n_ctx needs less memory"
        ) from error
    llama._ctx = llama._stack.enter_context(contextlib.closing(context))
    if llama._lora_adapter is not None:
        adapter: Any = llama._lora_adapter
        adapters = (inner.llama_adapter_lora_p_ctypes * 1)(adapter)
        scales = (ctypes.c_float * 1)(llama.lora_scale)
        if inner.llama_set_adapters_lora(llama._ctx.ctx, adapters, 1, scales):
            raise ModelError(f"the LoRA adapter {llama.lora_path!r} does not fit this model")


def why_plain(llama: llama_cpp.Llama) -> str | None:
    """Why this model cannot evaluate drafts, None where it can."""
    if llama.context_params.embeddings:
        return "an embedding model does not generate"
    if llama._is_recurrent or llama._is_hybrid:
        return "a recurrent or hybrid model cannot drop rejected tokens from its memory"
    if llama_cpp.llama_model_has_encoder(llama._model.model):
        return "an encoder-decoder model is left to llama.cpp"
    if llama_cpp.llama_get_memory(llama._ctx.ctx) is None:
        return "the model keeps no KV memory"
    return None


def offloads(llama: llama_cpp.Llama) -> bool:
    """The model's layers run on a GPU, so that a wider batch costs next to nothing."""
    return bool(llama.model_params.n_gpu_layers != 0 and llama_cpp.llama_supports_gpu_offload())
