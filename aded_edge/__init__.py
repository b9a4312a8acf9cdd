"""aded-edge: a local GGUF model answers faster and says the same.

The public names, and nothing else.
"""

from .assistant import Assistant
from .assistant.settings import Persona
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
from .runtime.llama import Llama

__all__ = [
    "AdedError",
    "Assistant",
    "BenchError",
    "ConfigError",
    "EvaluationError",
    "Llama",
    "ModelError",
    "ModelFetchError",
    "Persona",
    "PromptError",
    "Stats",
    "StoreError",
]
