"""Every error that a user can cause, in one hierarchy.

    AdedError
    ├── ConfigError (ValueError)         an option whose value cannot be used
    ├── ModelError (ValueError)          a model file that is missing, damaged or no GGUF
    ├── ModelFetchError                  a model could not be downloaded
    ├── EvaluationError (RuntimeError)   llama.cpp refused to evaluate a batch
    ├── PromptError (ValueError)         a prompt that the context cannot hold
    ├── StoreError                       the matrix store cannot be read or written
    └── BenchError                       a prompt file or a benchmark that cannot run

Each message names the value and the remedy. Where llama-cpp-python raises a built-in exception
for the same mistake, ours derives from that one too, so that code written for `llama_cpp.Llama`
still catches it.

Knows nothing else of the package.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AdedError(Exception):
    """Base of all errors that aded-edge raises on purpose."""


class ConfigError(AdedError, ValueError):
    """An option has a value that cannot be used."""


class ModelError(AdedError, ValueError):
    """A model file is missing, damaged or not a GGUF file."""


class ModelFetchError(AdedError):
    """A model could not be downloaded."""


class EvaluationError(AdedError, RuntimeError):
    """llama.cpp refused to evaluate a batch; history and KV are still in agreement."""


class PromptError(AdedError, ValueError):
    """A prompt does not fit into the context."""


class StoreError(AdedError):
    """The matrix store cannot be opened, read or written."""


class BenchError(AdedError):
    """A benchmark cannot run: its prompt file is missing or malformed."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a message about an unknown name: the nearest known one.

    Args:
        name: what was given.
        known: what could be meant.
        otherwise: what to say when nothing known is near.

    Returns:
        "did you mean 'x'?", or `otherwise`.
    """
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else otherwise
