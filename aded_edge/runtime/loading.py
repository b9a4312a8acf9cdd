"""Loading a model file: the file is checked first, and llama.cpp's failures become ModelErrors.

Knows files and the messages of llama_cpp's constructor. Does not know drafting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aded_edge.errors import ModelError

_MAGIC = b"GGUF"
"""The first bytes of every GGUF file."""

_DEFAULT_CTX = 512
"""Tokens of the context where llama_cpp.Llama is given no n_ctx."""


def load(constructor: Callable[..., None], model_path: str, arguments: dict[str, Any]) -> None:
    """Call llama_cpp's constructor with a file that is known to be GGUF.

    Args:
        constructor: `llama_cpp.Llama.__init__`, bound to the object.
        model_path: the model file.
        arguments: keyword arguments of the constructor.

    Raises:
        ModelError: the file is missing, damaged or not GGUF, or its context needs too much memory.
    """
    _check_file(Path(model_path), model_path)
    try:
        constructor(model_path, **arguments)
    except ValueError as error:
        if str(error).startswith("Failed to create llama_context"):
            raise ModelError(
                f"llama.cpp cannot open a context of {arguments.get('n_ctx', _DEFAULT_CTX)} tokens "
                f"for {model_path}; a smaller n_ctx needs less memory"
            ) from error
        if not str(error).startswith("Failed to load model"):
            raise
        raise ModelError(
            f"Failed to load model from file: {model_path}; it may be cut short (fetch it "
            "again) or need a newer llama-cpp-python"
        ) from error


def _check_file(path: Path, named: str) -> None:
    if not path.exists():
        raise ModelError(
            f"Model path does not exist: {named}; check the spelling, or download the model first"
        )
    if not path.is_file():
        raise ModelError(f"{named} is a folder; give the path of a .gguf file")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"{named} cannot be read: {error.strerror}") from error
    if magic != _MAGIC:
        raise ModelError(f"{named} is no GGUF file; give the path of a .gguf file")
