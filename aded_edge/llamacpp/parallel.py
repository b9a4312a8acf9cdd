"""Several independent texts evaluated in one batch, for many tokens a second in total.

Each text is a sequence with a KV cache of its own: in a unified cache every row would compute
attention over the cells of all texts (with eight texts SmolLM2 took a quarter longer). Works on
the context of a `llama_cpp.Llama` and opens it again, so nothing else may evaluate in it.

Does not know how tokens are chosen or what the texts are for.
"""

from __future__ import annotations

from collections.abc import Sequence

import llama_cpp
import numpy as np
import numpy.typing as npt

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.errors import EvaluationError

from .context import bind_batch, ends_answer, reopen
from .rpc import check_workers

LEAST_ROOM = 256
"""llama.cpp rounds the context of each sequence up to a multiple of this many tokens."""


class ParallelTarget:
    """A context of llama.cpp that holds several texts.

    Args:
        llama: the model; the texts share its context in equal parts.
        sequences: number of texts.

    Attributes:
        n_vocab: number of tokens in the vocabulary.
        room: the most tokens of each text, at least LEAST_ROOM.
        lengths: int32 (sequences,), number of evaluated tokens of each text.

    Raises:
        ModelError: llama.cpp cannot open such a context.
    """

    def __init__(self, llama: llama_cpp.Llama, sequences: int) -> None:
        room = -(-llama.context_params.n_ctx // (sequences * LEAST_ROOM)) * LEAST_ROOM
        reopen(
            llama,
            n_seq_max=sequences,
            kv_unified=False,
            n_ctx=room * sequences,
            remedy="fewer texts at once, or a smaller --ctx, need less memory",
        )
        self._llama = llama  # keeps the context alive
        self._ctx = llama._ctx.ctx
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self._most_rows = llama.n_batch
        self.n_vocab = llama.n_vocab()
        self.room = int(llama_cpp.llama_n_ctx_seq(self._ctx))
        self.lengths = np.zeros(sequences, np.int32)
        self._logits = np.empty((sequences, self.n_vocab), np.float32)

    def evaluate(self, sequences: Sequence[int], texts: Sequence[Int32Array]) -> Float32Array:
        """Append tokens to some of the texts and evaluate them together.

        Args:
            sequences: numbers of the texts, each at most once.
            texts: int32 (n,) for each of them, the tokens to append; n >= 1.

        Returns:
            float32 (len(sequences), n_vocab): logits after each of these texts. A view of this
            object's memory, valid until the next evaluation.

        Raises:
            EvaluationError: llama.cpp refused; the texts are as before.
            WorkerError: a worker is lost.
        """
        which = np.repeat(np.asarray(sequences, np.int32), [len(text) for text in texts])
        tokens = np.concatenate(texts).astype(np.int32)
        positions = np.concatenate(
            [self.lengths[s] + np.arange(len(t)) for s, t in zip(sequences, texts, strict=True)]
        ).astype(np.int32)
        ends = np.cumsum([len(text) for text in texts]) - 1
        outputs = np.zeros(len(tokens), np.int8)
        outputs[ends] = 1
        done = 0
        for start in range(0, len(tokens), self._most_rows):
            rows = slice(start, start + self._most_rows)
            code = self._decode(tokens[rows], positions[rows], which[rows], outputs[rows])
            if code != 0:
                for sequence in sequences:
                    self._drop_cells(sequence)
                check_workers(self._llama)
                raise EvaluationError(
                    f"llama_decode returned {code} for {len(tokens)} tokens of {len(texts)} "
                    "texts; ask for fewer sequences or a larger --ctx"
                )
            count = int(outputs[rows].sum())
            if count:
                pointer = llama_cpp.llama_get_logits(self._ctx)
                check_workers(self._llama)
                found = np.ctypeslib.as_array(pointer, shape=(count, self.n_vocab))
                self._logits[done : done + count] = found
                done += count
        self.lengths[list(sequences)] += [len(text) for text in texts]
        return self._logits[:done]

    def cut(self, sequence: int, length: int) -> int:
        """Cut a text back to its first `length` tokens, or to none if its memory cannot do that.

        Returns:
            Number of tokens that are kept.
        """
        self.lengths[sequence] = length
        if not self._drop_cells(sequence):
            self.lengths[sequence] = 0
            self._drop_cells(sequence)
        return int(self.lengths[sequence])

    def ends(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        return ends_answer(self._llama, token)

    def _drop_cells(self, sequence: int) -> bool:
        """Remove the KV cells of a text from its length on; False if recurrent layers refuse."""
        begin = int(self.lengths[sequence])
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, begin, -1))

    def _decode(
        self,
        tokens: Int32Array,
        positions: Int32Array,
        which: Int32Array,
        outputs: npt.NDArray[np.int8],
    ) -> int:
        counts = np.ones(len(tokens), np.int32)
        pointers = which.ctypes.data + which.itemsize * np.arange(len(tokens), dtype=np.uintp)
        batch = bind_batch(tokens, positions, counts, pointers, outputs)
        return int(llama_cpp.llama_decode(self._ctx, batch))
