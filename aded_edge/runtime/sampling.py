"""How a token is chosen from logits: by llama.cpp's sampler chain, or by an equal argmax.

Knows the sampling arguments of `generate`. Does not know drafts or the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aded_edge.arrays import Float32Array
from aded_edge.decode.loop import Choose

if TYPE_CHECKING:
    import llama_cpp


def sampler_choice(llama: llama_cpp.Llama, sampling: dict[str, Any]) -> Choose:
    """Set up a model's sampler chain and return the function that chooses tokens by it.

    Args:
        llama: the model.
        sampling: keyword arguments of its `_init_sampler`.
    """
    llama._sampler = sampler = llama._init_sampler(**sampling)
    if _is_greedy(sampling):
        return _argmax
    return lambda row, logits: int(sampler.sample(llama._ctx, row))


def _is_greedy(sampling: dict[str, Any]) -> bool:
    """Whether the sampler chain would only take the largest logit."""
    return (
        sampling["temp"] == 0.0
        and sampling["repeat_penalty"] == 1.0
        and sampling["frequency_penalty"] == 0.0
        and sampling["presence_penalty"] == 0.0
        and sampling["logits_processor"] is None
        and sampling["grammar"] is None
    )


def _argmax(row: int, logits: Float32Array) -> int:
    return int(logits.argmax())
