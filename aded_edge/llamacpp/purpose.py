"""What a model is for: which ones write no answers, or only behind an encoder.

Knows llama.cpp's kinds of models. Does not know how answers are generated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llama_cpp

from aded_edge.errors import EvaluationError, PromptError

from .context import reopen


def why_no_answer(llama: llama_cpp.Llama) -> str | None:
    """What this model is and how to use it, if it cannot write an answer; None if it can."""
    model = llama._model.model
    name = f"{llama.model_path} ({llama.metadata.get('general.architecture', 'unknown')})"
    if llama_cpp.llama_model_is_diffusion(model):
        return (
            f"{name} is a diffusion model: it fills a whole text in many rounds and does not write "
            "token after token; use llama.cpp's llama-diffusion-cli for it"
        )
    if (
        llama_cpp.llama_get_memory(llama._ctx.ctx) is None
        or not llama_cpp.llama_model_has_decoder(model)
        or not llama_cpp.llama_get_causal_attn(llama._ctx.ctx)
    ):
        return (
            f"{name} is an embedding model: it writes nothing; give Llama() embedding=True, and "
            "call create_embedding() or embed()"
        )
    return None


def reads_at_once(llama: llama_cpp.Llama) -> bool:
    """Whether the model reads a whole text in one batch, so that every token sees all others."""
    return bool(
        llama_cpp.llama_get_memory(llama._ctx.ctx) is None
        or llama_cpp.llama_model_has_encoder(llama._model.model)
        or not llama_cpp.llama_get_causal_attn(llama._ctx.ctx)
    )


def widen(llama: llama_cpp.Llama) -> None:
    """Let a model that reads at once read as many tokens as `n_batch` says, or it was trained with.

    llama.cpp ends the process where such a batch has more rows than `n_ubatch`, or than the model
    has positions.

    Raises:
        ModelError: there is not enough memory.
    """
    parameters = llama.context_params
    if llama_cpp.llama_get_memory(llama._ctx.ctx) is None:
        llama.n_batch = min(llama.n_batch, llama._model.n_ctx_train())
    if reads_at_once(llama) and parameters.n_ubatch < llama.n_batch:
        parameters.n_ubatch = llama.n_batch
        reopen(llama, n_seq_max=parameters.n_seq_max, kv_unified=parameters.kv_unified)


@contextmanager
def sized_embeddings(llama: llama_cpp.Llama) -> Iterator[None]:
    """Let `embed` read as many numbers as there are, inside the `with` block.

    llama_cpp reads as many as a token's vector has. A reranker gives one for each label, and some
    models end with vectors of another length.
    """
    if llama_cpp.llama_pooling_type(llama._ctx.ctx) == llama_cpp.LLAMA_POOLING_TYPE_RANK:
        size = llama_cpp.llama_model_n_cls_out(llama._model.model)
    else:
        size = llama_cpp.llama_model_n_embd_out(llama._model.model)
    own: dict[str, Any] = vars(llama)
    own["n_embd"] = lambda: size
    try:
        yield
    finally:
        del own["n_embd"]


def encode(llama: llama_cpp.Llama, tokens: list[int]) -> list[int]:
    """Let the encoder of an encoder-decoder model read a prompt; the history is empty afterwards.

    Returns:
        The tokens that the decoder's answer begins behind.

    Raises:
        PromptError: the prompt is empty, or longer than a batch.
        EvaluationError: llama.cpp refused it.
    """
    if not tokens:
        raise PromptError("the prompt is empty; give at least one token")
    most = min(llama.n_batch, llama.context_params.n_ubatch)
    if len(tokens) > most:
        raise PromptError(
            f"the prompt has {len(tokens)} tokens, and the encoder of this model reads it as one "
            f"batch of at most {most}; shorten it, or give Llama() a larger n_batch and n_ctx"
        )
    llama.reset()
    llama._ctx.kv_cache_clear()
    llama._batch.set_batch(batch=tokens, n_past=0, logits_all=True)
    code = llama_cpp.llama_encode(llama._ctx.ctx, llama._batch.batch)
    if code != 0:
        raise EvaluationError(f"llama_encode returned {code} for a prompt of {len(tokens)} tokens")
    start = llama_cpp.llama_model_decoder_start_token(llama._model.model)
    return [start if start != llama_cpp.LLAMA_TOKEN_NULL else max(llama.token_bos(), 0)]


def has_encoder(llama: llama_cpp.Llama) -> bool:
    """Whether a prompt goes to an encoder, and the answer comes from a decoder."""
    return bool(llama_cpp.llama_model_has_encoder(llama._model.model))
