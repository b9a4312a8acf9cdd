"""Sliding windows: whether the KV cache still holds all that a token at some place attends to.

Layers with a sliding window keep the cells of the last tokens only, unless the cache is as large as
the context (`swa_full`, llama_cpp's default); a state that was saved and loaded has only these in
either case. llama.cpp cuts such a cache back to any length and goes on with what is left, which
gives other logits. So whoever cuts a history asks here.

Knows llama.cpp's memory. Does not know why a history is cut.
"""

from __future__ import annotations

import llama_cpp


def holds_window(llama: llama_cpp.Llama, length: int) -> bool:
    """Whether a token that follows the first `length` ones would find all cells that it sees."""
    window: int = llama_cpp.llama_model_n_swa(llama._model.model)
    if window <= 0 or length <= 0:
        return True
    memory = llama_cpp.llama_get_memory(llama._ctx.ctx)
    # All cells behind the first one are there; -1 if there is none. The token itself is one of
    # the window.
    first: int = llama_cpp.llama_memory_seq_pos_min(memory, 0)
    return 0 <= first <= max(length - window + 1, 0)


def most_rows(llama: llama_cpp.Llama) -> int:
    """Rows of the widest batch after which any of its tokens can be dropped again."""
    parameters = llama.context_params
    if parameters.swa_full or llama_cpp.llama_model_n_swa(llama._model.model) <= 0:
        return int(llama.n_batch)
    # A batch is evaluated in pieces of n_ubatch rows, and a later piece overwrites cells that are
    # out of the window of the earlier ones only.
    return int(min(llama.n_batch, parameters.n_ubatch))
