"""Reading a prompt: what the KV cache already holds is kept, and the rest is evaluated.

Knows prompts, the history and the KV cache. Does not know drafting or sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.errors import EvaluationError, PromptError
from aded_edge.llamacpp.context import NO_TOKEN
from aded_edge.llamacpp.prompt import common_prefix
from aded_edge.llamacpp.purpose import encode
from aded_edge.llamacpp.target import LlamaTarget

if TYPE_CHECKING:
    import llama_cpp


def prefill(llama: llama_cpp.Llama, target: LlamaTarget, tokens: list[int], reset: bool) -> int:
    """Evaluate the part of a prompt that the KV cache does not hold yet.

    Afterwards the logits in memory are those after the history.

    Args:
        llama: the model, whose history is cut back and extended.
        target: works on the context of the model.
        tokens: the prompt.
        reset: the prompt takes the place of the history; else it is appended to it.

    Returns:
        Number of tokens that the KV cache held already.

    Raises:
        PromptError: the prompt is empty or does not fit into the context.
        EvaluationError: llama.cpp could not evaluate it.
    """
    target.settle()
    shared = common_prefix(llama.input_ids[: llama.n_tokens], tokens) if reset else llama.n_tokens
    kept = _keep_prefix(llama, target, tokens, shared) if reset else 0
    if reset and kept == 0:
        llama.reset()
    new = tokens[kept:]
    if not new and llama.n_tokens > 0 and llama._requires_eval:
        # The logits in memory belong to a different position, so the last token is evaluated
        # again.
        llama.n_tokens -= 1
        new = [int(llama.input_ids[llama.n_tokens])]
    known = int(llama.n_tokens)
    if not new and known == 0:
        raise PromptError("the prompt is empty; give at least one token")
    room = int(llama._n_ctx) - known
    if len(new) > room:
        raise PromptError(
            f"the prompt needs {known + len(new)} tokens and the context holds "
            f"{known + room}; shorten it or give Llama() a larger n_ctx"
        )
    if NO_TOKEN in new:
        raise PromptError(
            "the prompt holds a picture or sound that is no longer in memory; give it again, as a "
            "message of create_chat_completion()"
        )
    if new:
        target.read(new, shared)
    return known


def restore(
    llama: llama_cpp.Llama, target: LlamaTarget | None, history: Int32Array, encoded: list[int]
) -> None:
    """Bring history and KV cache back to what they were when a stream was suspended.

    Args:
        llama: the model.
        target: works on the context of the model; None if nothing is drafted.
        history: int32 (n,), the tokens that were evaluated then.
        encoded: the prompt that the encoder read before, if there is an encoder.

    Raises:
        EvaluationError: llama.cpp could not evaluate them.
    """
    if encoded:
        encode(llama, encoded)
    held = llama.input_ids[: llama.n_tokens]
    if np.array_equal(held, history):
        return
    kept = min(common_prefix(held, history), len(history) - 1)
    if kept > 0 and target is not None:
        kept = target.cut_back(kept)
    elif kept > 0 and not llama._ctx.kv_cache_seq_rm(0, kept, -1):
        kept = 0
    if kept <= 0:
        llama.reset()
        kept = 0
    if NO_TOKEN in history[kept:]:
        raise EvaluationError(
            "another answer took the memory of the picture or sound that this one is about; let "
            "one answer end before the next begins"
        )
    llama.n_tokens = kept
    llama._requires_eval = True
    llama.eval(history[kept:].tolist())


def _keep_prefix(
    llama: llama_cpp.Llama, target: LlamaTarget, tokens: list[int], prefix: int
) -> int:
    """Cut the history back to the prefix that it shares with the prompt.

    As in llama_cpp, at least one token is left to evaluate, unless the logits in memory are those
    after the whole prompt.

    Args:
        prefix: number of tokens that history and prompt share.

    Returns:
        Number of tokens that are kept: fewer than are shared, or 0, where the memory cannot be cut
        back to every place.
    """
    if prefix == len(tokens):
        if prefix == llama.n_tokens and not llama._requires_eval:
            return prefix
        prefix -= 1
    prefix = target.cut_back(prefix) if prefix > 0 else 0
    if prefix <= 0:
        return 0
    llama.n_tokens = prefix
    llama._requires_eval = True
    return prefix
