"""A LoRA adapter that is freed with its model.

llama_cpp's clean-up of an adapter refers to the model. Only Python's collector of cycles would
free them.

Knows what llama_cpp's constructor leaves to clean up. Does not know what an adapter changes.
"""

from __future__ import annotations

import os
from typing import Any

import llama_cpp


def without_cycle(llama: llama_cpp.Llama) -> None:
    """Replace the clean-up of a model's adapter, if it has one, by one that does not refer to it.

    Args:
        llama: a model whose constructor has just returned.
    """
    if llama._lora_adapter is None:
        return
    cleaning = llama._stack._exit_callbacks  # type: ignore[attr-defined]  # no public name
    for one in list(cleaning):
        if getattr(getattr(one[1], "__wrapped__", None), "__name__", "") == "free_lora_adapter":
            cleaning.remove(one)
            llama._stack.callback(_free, llama._lora_adapter, os.getpid())


def _free(adapter: Any, process: int) -> None:
    # A process made by fork has only a copy: to free it there would tell workers to free theirs.
    if os.getpid() == process:
        llama_cpp.llama_adapter_lora_free(adapter)
