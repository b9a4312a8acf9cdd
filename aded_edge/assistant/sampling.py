"""The sampling that a model file recommends: its metadata `general.sampling.*`.

Knows the names in GGUF files and in `create_chat_completion`. Does not know what a user wants: a
persona and explicit settings override what is recommended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_PREFIX = "general.sampling."

_NAMES: Mapping[str, tuple[str, type, float, float]] = {
    "temp": ("temperature", float, 0.0, 5.0),
    "top_k": ("top_k", int, 0, 2**31 - 1),
    "top_p": ("top_p", float, 0.0, 1.0),
    "min_p": ("min_p", float, 0.0, 1.0),
    "penalty_repeat": ("repeat_penalty", float, 0.1, 10.0),
}
"""Name in the metadata -> argument of `create_chat_completion`, its type, least, largest value."""


def recommended_sampling(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read the recommended sampling from a model's metadata.

    Args:
        metadata: `Llama.metadata`.

    Returns:
        Keyword arguments of `create_chat_completion`. Values that are no number, or out of range,
        are left out: a file is data, and must not break a chat.
    """
    found: dict[str, Any] = {}
    for name, (argument, kind, least, largest) in _NAMES.items():
        try:
            value = float(metadata[_PREFIX + name])
        except (KeyError, ValueError):
            continue
        if math.isfinite(value) and least <= value <= largest:
            found[argument] = kind(value)
    return found
