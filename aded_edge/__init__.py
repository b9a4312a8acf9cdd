"""aded-edge: a local GGUF model answers faster and says the same.

The public names, and nothing else.
"""

from .decode.stats import Stats
from .errors import (
    AdedError,
    BenchError,
    ConfigError,
    EvaluationError,
    ModelError,
    ModelFetchError,
    PromptError,
    StoreError,
)
from .llama import Llama

__all__ = [
    "AdedError",
    "BenchError",
    "ConfigError",
    "EvaluationError",
    "Llama",
    "ModelError",
    "ModelFetchError",
    "PromptError",
    "Stats",
    "StoreError",
]
