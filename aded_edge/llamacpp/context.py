"""The context of a loaded model: reopening it, building batches, reading its logits and properties.

Knows llama.cpp's contexts, batches and vocabularies. Does not know trees or the texts of a batch;
`target` and `parallel` do.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
from llama_cpp.llama_tokenizer import LlamaTokenizer

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.errors import ModelError

from .rpc import check_workers

if TYPE_CHECKING:
    import numpy.typing as npt

NO_TOKEN = -1
"""The token of places in a history that hold none: llama_cpp's chat handlers evaluate a picture as
vectors, and leave the tokens of its places as they were. It stands for a border between two texts
wherever text is learned and drafted, and no prompt holds it."""


def reopen(
    llama: llama_cpp.Llama,
    *,
    n_seq_max: int,
    kv_unified: bool,
    n_ctx: int | None = None,
    n_rs_seq: int = 0,
    remedy: str = "a smaller n_ctx needs less memory",
) -> None:
    """Close a model's context and open it again with other parameters.

    llama_cpp.Llama opens its context for a single sequence and has no argument for more. The
    model stays loaded, so this takes no visible time. A LoRA adapter is applied again.

    Args:
        llama: the model; its history and KV cache are lost.
        n_seq_max: the number of sequences that the KV cache can hold.
        kv_unified: whether all sequences share one KV cache.
        n_ctx: tokens of the context, None for as many as before.
        n_rs_seq: tokens that can be taken back from a recurrent memory, where llama.cpp can.
        remedy: end of the error message where the context cannot be opened.

    Raises:
        ModelError: there is not enough memory, or the LoRA adapter does not fit.
    """
    llama._ctx.close()
    parameters = llama.context_params
    parameters.n_seq_max = n_seq_max
    parameters.kv_unified = kv_unified
    parameters.n_rs_seq = n_rs_seq
    if n_ctx is not None:
        parameters.n_ctx = n_ctx
    try:
        context = llama_cpp._internals.LlamaContext(
            model=llama._model, params=parameters, verbose=llama.verbose
        )
    except ValueError as error:
        check_workers(llama)
        raise ModelError(
            f"llama.cpp cannot open a context of {parameters.n_ctx} tokens and {n_seq_max} "
            f"sequences for {llama.model_path!r}; {remedy}"
        ) from error
    llama._ctx = llama._stack.enter_context(contextlib.closing(context))
    if llama._lora_adapter is not None:
        _apply_lora(llama, llama._lora_adapter)


def _apply_lora(llama: llama_cpp.Llama, adapter: Any) -> None:
    api = llama_cpp.llama_cpp
    adapters = (api.llama_adapter_lora_p_ctypes * 1)(adapter)
    scales = (ctypes.c_float * 1)(llama.lora_scale)
    if api.llama_set_adapters_lora(llama._ctx.ctx, adapters, 1, scales):
        raise ModelError(
            f"the LoRA adapter {llama.lora_path!r} does not fit the model {llama.model_path!r}; "
            "give the adapter that was trained for it"
        )


def bind_batch(
    tokens: Int32Array,
    positions: Int32Array,
    id_counts: Int32Array,
    id_pointers: npt.NDArray[np.uintp],
    outputs: npt.NDArray[np.int8],
) -> llama_cpp.llama_batch:
    """A `llama_batch` that reads NumPy arrays in place.

    The caller keeps the arrays alive, may write new values into them, and sets `n_tokens` when
    fewer rows are used than the arrays have.

    Args:
        tokens: int32 (rows,).
        positions: int32 (rows,), place of each token in its sequence.
        id_counts: int32 (rows,), number of sequences that a token belongs to.
        id_pointers: uintp (rows,), address of each token's first sequence id (int32).
        outputs: int8 (rows,), 1 where logits are wanted.
    """
    batch = llama_cpp.llama_batch()
    batch.n_tokens = len(tokens)
    kind: Any
    for name, array, kind in (
        ("token", tokens, ctypes.c_int32),
        ("pos", positions, ctypes.c_int32),
        ("n_seq_id", id_counts, ctypes.c_int32),
        ("seq_id", id_pointers, ctypes.POINTER(ctypes.c_int32)),
        ("logits", outputs, ctypes.c_int8),
    ):
        setattr(batch, name, ctypes.cast(array.ctypes.data, ctypes.POINTER(kind)))
    return batch


def last_logits(llama: llama_cpp.Llama) -> Float32Array:
    """float32 (n_vocab,): logits of the last row of the last evaluation.

    A view of llama.cpp's memory, valid until the next evaluation.
    """
    pointer = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
    check_workers(llama)
    return np.ctypeslib.as_array(pointer, shape=(llama.n_vocab(),))


def ends_answer(llama: llama_cpp.Llama, token: int) -> bool:
    """Whether the model ends its answer with this token."""
    return bool(llama_cpp.llama_vocab_is_eog(llama._model.vocab, token))


def takes_pieces(llama: llama_cpp.Llama) -> bool:
    """Whether the text of several tokens is the texts of each, put together."""
    return isinstance(llama.tokenizer_, LlamaTokenizer)


def set_threads(llama: llama_cpp.Llama, threads: int) -> None:
    """Evaluate with this number of threads from now on, single tokens and batches alike."""
    llama_cpp.llama_set_n_threads(llama.ctx, threads, threads)


def is_recurrent(llama: llama_cpp.Llama) -> bool:
    """Whether layers of the model keep a state that each token changes."""
    return bool(llama._is_recurrent or llama._is_hybrid)


def why_plain(llama: llama_cpp.Llama) -> str | None:
    """The reason why this model cannot evaluate drafts; None if it can."""
    if llama.context_params.embeddings:
        return "an embedding model does not generate"
    if llama_cpp.llama_model_has_encoder(llama._model.model):
        return "an encoder-decoder model is left to llama.cpp"
    if llama_cpp.llama_get_memory(llama._ctx.ctx) is None:
        return "the model keeps no KV memory"
    return None
