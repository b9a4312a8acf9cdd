"""What somebody is told who chats with the default model for the first time.

Knows memory sizes and names of models. Does not know how a model is loaded.
"""

from __future__ import annotations

import psutil

_GB = 1 << 30

_MODELS = (
    (14, "hf:Qwen/Qwen3-8B-GGUF:Q4_K_M"),
    (7, "hf:Qwen/Qwen3-4B-GGUF:Q4_K_M"),
    (0, "hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M"),
)
"""GB of memory, and an instruct model that runs well in it, the largest first."""


def advice(memory: int | None = None) -> str:
    """One line: what the default model is for, and which model to use instead.

    Args:
        memory: bytes of the machine's memory; None asks the machine.
    """
    total = psutil.virtual_memory().total if memory is None else memory
    model = next(model for size, model in _MODELS if total >= size * _GB)
    return (
        "this small model only shows that everything works, and often answers nonsense; "
        f"for real use: aded-edge chat {model}"
    )
