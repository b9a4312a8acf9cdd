"""Several texts evaluated in one batch, for whoever needs many tokens and not the next one soon.

Each text is a sequence with a KV of its own: in a unified one every row would look at the cells
of all texts, to no avail (8 of SmolLM2's answers took a quarter longer). Works on the context of
a `llama_cpp.Llama`, which it opens again: nothing else may evaluate in it.

Does not know what is sampled, nor what the texts are for.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.errors import EvaluationError, ModelError

LEAST_ROOM = 256
"""llama.cpp gives each text a multiple of so many places."""


class ParallelTarget:
    """A context of llama.cpp that holds several texts.

    Args:
        llama: the model; the texts share the places of its context equally.
        sequences: how many texts.

    Attributes:
        n_vocab: tokens in the vocabulary.
        room: tokens that each text can have, at least LEAST_ROOM.
        lengths: int32 (sequences,), evaluated tokens of each text.

    Raises:
        ModelError: llama.cpp cannot open such a context.
    """

    def __init__(self, llama: llama_cpp.Llama, sequences: int) -> None:
        _open(llama, sequences)
        self._llama = llama  # which must live as long
        self._ctx = llama._ctx.ctx
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self._most_rows = llama.n_batch
        self.n_vocab = llama.n_vocab()
        self.room = int(llama_cpp.llama_n_ctx_seq(self._ctx))
        self.lengths = np.zeros(sequences, np.int32)
        self._logits = np.empty((sequences, self.n_vocab), np.float32)

    def evaluate(self, sequences: Sequence[int], texts: Sequence[Int32Array]) -> Float32Array:
        """Puts tokens behind some of the texts, all together.

        Args:
            sequences: which texts, each once.
            texts: int32 (n,), what is put behind each; n >= 1.

        Returns:
            float32 (len(sequences), n_vocab): logits behind each of these texts. A view of this
            object's memory, valid until the next evaluation.

        Raises:
            EvaluationError: llama.cpp refused; the texts are as before.
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
                    self._cut(sequence)
                raise EvaluationError(
                    f"llama_decode returned {code} for {len(tokens)} tokens of {len(texts)} "
                    "texts; ask for fewer sequences or a larger --ctx"
                )
            count = int(outputs[rows].sum())
            if count:
                pointer = llama_cpp.llama_get_logits(self._ctx)
                found = np.ctypeslib.as_array(pointer, shape=(count, self.n_vocab))
                self._logits[done : done + count] = found
                done += count
        self.lengths[list(sequences)] += [len(text) for text in texts]
        return self._logits[:done]

    def cut(self, sequence: int, length: int) -> None:
        """Cuts a text back to its first `length` tokens."""
        self.lengths[sequence] = length
        self._cut(sequence)

    def ends(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        return bool(llama_cpp.llama_vocab_is_eog(self._llama._model.vocab, token))

    def _cut(self, sequence: int) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, int(self.lengths[sequence]), -1)

    def _decode(
        self, tokens: Int32Array, positions: Int32Array, which: Int32Array, outputs: Any
    ) -> int:
        counts = np.ones(len(tokens), np.int32)
        pointers = which.ctypes.data + 4 * np.arange(len(tokens), dtype=np.uintp)
        batch = llama_cpp.llama_batch()
        batch.n_tokens = len(tokens)
        kind: Any
        for name, array, kind in (
            ("token", tokens, ctypes.c_int32),
            ("pos", positions, ctypes.c_int32),
            ("n_seq_id", counts, ctypes.c_int32),
            ("seq_id", pointers, ctypes.POINTER(ctypes.c_int32)),
            ("logits", outputs, ctypes.c_int8),
        ):
            setattr(batch, name, ctypes.cast(array.ctypes.data, ctypes.POINTER(kind)))
        return int(llama_cpp.llama_decode(self._ctx, batch))


def _open(llama: llama_cpp.Llama, sequences: int) -> None:
    llama._ctx.close()
    room = -(-llama.context_params.n_ctx // (sequences * LEAST_ROOM)) * LEAST_ROOM
    llama.context_params.n_ctx = room * sequences
    llama.context_params.n_seq_max = sequences
    llama.context_params.kv_unified = False
    try:
        context = llama_cpp._internals.LlamaContext(
            model=llama._model, params=llama.context_params, verbose=llama.verbose
        )
    except ValueError as error:
        raise ModelError(
            f"llama.cpp cannot open a context of {llama.context_params.n_ctx} tokens for "
            f"{sequences} texts; fewer of them, or a smaller --ctx, need less memory"
        ) from error
    llama._ctx = llama._stack.enter_context(contextlib.closing(context))
