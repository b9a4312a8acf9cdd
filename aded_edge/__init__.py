"""aded-edge: a local GGUF model answers faster and says the same.

These are all public names. `Llama` is a drop-in for `llama_cpp.Llama`, `Assistant` keeps
conversations and memories, `Stats` holds the figures of a generation. All errors derive from
`AdedError`.

The classes are imported when they are first used: that takes a second, and a command must be able
to handle Ctrl-C before.
"""

import importlib
import typing

from .errors import (
    AdapterError,
    AdedError,
    BenchError,
    ConfigError,
    EvaluationError,
    ModelError,
    ModelFetchError,
    PromptError,
    StoreError,
    WorkerError,
)

if typing.TYPE_CHECKING:
    from .assistant import Assistant
    from .assistant.settings import Persona
    from .decode.stats import Stats
    from .runtime.llama import Llama

__all__ = [
    "AdapterError",
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
    "WorkerError",
]

_MODULES = {
    "Assistant": "assistant",
    "Llama": "runtime.llama",
    "Persona": "assistant.settings",
    "Stats": "decode.stats",
}


def __getattr__(name: str) -> typing.Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULES[name]}", __name__)
    member = globals()[name] = getattr(module, name)
    return member
