"""aded-edge: a local GGUF model answers faster and says the same.

These are all public names. `Llama` is a drop-in for `llama_cpp.Llama`, `Assistant` keeps
conversations and memories, `Stats` holds the figures of a generation. All errors derive from
`AdedError`.
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
