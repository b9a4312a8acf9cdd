"""Every error that a user can cause, in one hierarchy.

    AdedError
    ├── ConfigError (ValueError)         an option, argument or request that cannot be used
    ├── ModelError (ValueError)          a model that cannot be found, loaded or used
    │   └── AdapterError (RuntimeError)  a LoRA adapter that cannot be used
    ├── ModelFetchError                  a model that could not be downloaded
    ├── EvaluationError (RuntimeError)   a batch that llama.cpp could not evaluate
    │   └── WorkerError                  a worker that cannot be used, or was lost
    ├── PromptError (ValueError)         a prompt that is empty or too long for the context
    ├── StoreError                       a store, or a saved KV, that cannot be used
    └── BenchError                       a benchmark that cannot run or be drawn

Messages name the value and, where there is one, the remedy. If llama-cpp-python raises a built-in
exception for the same mistake, ours derives from it too, so that code written for
`llama_cpp.Llama` catches it.

Knows nothing else of the package.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AdedError(Exception):
    """Base class of all errors that aded-edge raises on purpose."""


class ConfigError(AdedError, ValueError):
    """An option, an argument, a file or a request of the user cannot be used."""


class ModelError(AdedError, ValueError):
    """A model cannot be found (or not clearly), is damaged, or cannot be used for this."""


class AdapterError(ModelError, RuntimeError):
    """A LoRA adapter is missing, damaged, or made for another model."""


class ModelFetchError(AdedError):
    """A model could not be downloaded."""


class EvaluationError(AdedError, RuntimeError):
    """llama.cpp could not evaluate a batch. The history and the KV cache still agree."""


class WorkerError(EvaluationError):
    """A worker (`rpc_servers`) cannot be used, or was lost. A model that was on it is of no more
    use; what was said before is right."""


class PromptError(AdedError, ValueError):
    """A prompt is empty, or does not fit into the context."""


class StoreError(AdedError):
    """A store, or a file with a saved KV, cannot be opened, read or written."""


class BenchError(AdedError):
    """A benchmark cannot run, or its results cannot be read or drawn."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint for an error message about an unknown name.

    Args:
        name: the unknown name.
        known: the known names.
        otherwise: the hint if no known name is similar.

    Returns:
        "did you mean 'x'?" with the most similar known name, or `otherwise`.
    """
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else otherwise
