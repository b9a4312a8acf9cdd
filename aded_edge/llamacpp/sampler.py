"""Sampler chains that are freed as soon as nobody refers to them.

llama_cpp's clean-up of a chain refers to the chain's own object, and a logits processor to the
model. Only Python's collector of cycles would free them, and the model with them.

Knows llama_cpp's samplers. Does not know how a token is chosen.
"""

from __future__ import annotations

from typing import Any

import llama_cpp


def without_cycles(sampler: Any) -> Any:
    """Replace the clean-up of a `LlamaSampler` by one that does not refer to it; return it."""
    sampler._exit_stack.pop_all()  # not run, only dropped
    sampler._exit_stack.callback(_free, sampler.sampler, sampler.custom_samplers)
    return sampler


def _free(chain: Any, custom_samplers: list[tuple[int, Any]]) -> None:
    # llama.cpp would free custom samplers too, but their memory is Python's.
    for index, _ in reversed(custom_samplers):
        llama_cpp.llama_sampler_chain_remove(chain, index)
    llama_cpp.llama_sampler_free(chain)
    for _, custom in custom_samplers:
        vars(custom).clear()  # its callback refers to it
    custom_samplers.clear()
