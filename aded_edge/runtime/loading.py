"""Loading a model file: the file is checked first, and llama.cpp's failures become ModelErrors.

Knows files and the messages of llama_cpp's constructor. Does not know drafting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from jinja2 import TemplateError

from aded_edge.errors import AdapterError, ConfigError, ModelError
from aded_edge.llamacpp import offloading
from aded_edge.llamacpp.memory import kv_tokens_and_bytes, metadata_of
from aded_edge.llamacpp.rpc import Workers

from .first_load import check_first_load
from .options import MOST_CTX

_MAGIC = b"GGUF"
"""The first bytes of every GGUF file."""

_RANGES = {
    "n_ctx": (0, MOST_CTX),
    "n_batch": (1, 1 << 20),
    "n_ubatch": (1, 1 << 20),
    "n_threads": (0, 512),
    "n_threads_batch": (0, 512),
}
"""Least and most of numbers that llama.cpp takes without a check: it would allocate what they say,
or end the process. ggml stops at 512 threads. 0 stands for the model's context, and for llama_cpp's
number of threads."""

_CHECKED_CTX = 1 << 15
"""A context with more tokens is compared with the memory of the machine before it is made; for a
smaller one it is not worth the half second."""

_DEFAULT_BATCH = 512
"""Tokens of a batch where llama_cpp.Llama is given no n_batch."""

_DEFAULT_CTX = 512
"""Tokens of the context where llama_cpp.Llama is given no n_ctx."""


def load(
    constructor: Callable[..., None],
    model_path: str,
    arguments: dict[str, Any],
    workers: Workers | None = None,
) -> None:
    """Call llama_cpp's constructor with a file that is known to be GGUF.

    Args:
        constructor: `llama_cpp.Llama.__init__`, bound to the object.
        model_path: the model file.
        arguments: keyword arguments of the constructor.
        workers: where layers of the model go.

    Raises:
        ConfigError: a size or a number of threads is no whole number, or beyond reason.
        ModelError: the file is missing, damaged or not GGUF, its chat template cannot be compiled,
            or its context needs too much memory.
        AdapterError: its LoRA adapter cannot be used.
        WorkerError: a worker was lost meanwhile.
    """
    _check_numbers(arguments)
    _check_file(Path(model_path), model_path)
    lora_path = arguments.get("lora_path")
    if lora_path and not Path(lora_path).is_file():
        raise AdapterError(f"LoRA adapter does not exist: {lora_path}; check the spelling")
    check_first_load(model_path, arguments)
    if workers is None:  # they have memory of their own
        _check_memory(model_path, arguments)
    try:
        constructor(model_path, **_widened(arguments))
        if workers is not None:
            workers.check()
    except ValueError as error:
        if workers is not None:
            workers.check()
        if str(error).startswith("Failed to create llama_context"):
            raise ModelError(
                f"llama.cpp cannot open a context of {arguments.get('n_ctx', _DEFAULT_CTX)} tokens "
                f"for {model_path}; a smaller n_ctx needs less memory"
            ) from error
        if not str(error).startswith("Failed to load model"):
            raise
        raise ModelError(
            f"Failed to load model from file: {model_path}; it may be cut short (fetch it "
            "again) or need a newer llama-cpp-python" + _or_memory(workers)
        ) from error
    except MemoryError as error:
        raise ModelError(
            f"there is not enough memory for {model_path} with n_ctx "
            f"{arguments.get('n_ctx', _DEFAULT_CTX)}; a smaller n_ctx or n_batch needs less"
        ) from error
    except (TemplateError, SyntaxError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"the chat template in {model_path} cannot be used ({reason}); take another copy of "
            "the model"
        ) from error


def _widened(arguments: dict[str, Any]) -> dict[str, Any]:
    if not arguments.get("embedding"):
        return arguments
    # llama.cpp ends the process where a batch of texts is longer than n_ubatch, or has more texts.
    most = max(arguments.get("n_batch") or _DEFAULT_BATCH, arguments.get("n_ubatch") or 0)
    return {**arguments, "n_ubatch": most}


def _or_memory(workers: Workers | None) -> str:
    if workers is None:
        return ""
    return (
        f", or more memory than its workers have (together {workers.memory / 1e9:.1f} GB): add "
        "another one, or keep layers here with a smaller n_gpu_layers"
    )


def _check_numbers(arguments: dict[str, Any]) -> None:
    for name, (least, most) in _RANGES.items():
        value = arguments.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{name}={value!r} is no whole number; give {least} to {most}")
        if not least <= value <= most:
            raise ConfigError(f"{name}={value} is out of reach; give {least} to {most}")


def _check_memory(model_path: str, arguments: dict[str, Any]) -> None:
    n_ctx = arguments.get("n_ctx", _DEFAULT_CTX)
    if 0 < n_ctx <= _CHECKED_CTX:
        return
    # A graphics card has memory of its own, and refuses what is too large. A cache with less than
    # the whole window (swa_full) has another size.
    unknown = arguments.get("swa_full") is False or (
        arguments.get("n_gpu_layers", 0) != 0 and offloading.found()
    )
    if unknown and n_ctx:
        return
    try:
        metadata = metadata_of(model_path)
    except ValueError:
        return  # the constructor fails too, and says why
    types = arguments.get("type_k"), arguments.get("type_v")
    tokens, needed = kv_tokens_and_bytes(metadata, n_ctx, *types)
    most = _RANGES["n_ctx"][1]
    if tokens > most:
        raise ModelError(
            f"{model_path} claims a context of {tokens} tokens, and n_ctx=0 asks for all of it; "
            f"give n_ctx, at most {most}"
        )
    if unknown:
        return
    there = psutil.virtual_memory().total
    if needed > there:
        raise ModelError(
            f"n_ctx {tokens} needs {needed / 1e9:,.0f} GB of memory for this model, and the "
            f"machine has {there / 1e9:,.0f} GB; give at most {tokens * there // needed}"
        )


def _check_file(path: Path, named: str) -> None:
    if not path.exists():
        raise ModelError(
            f"Model path does not exist: {named}; check the spelling, or download the model first"
        )
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no file"
        raise ModelError(f"{named} is {kind}; give the path of a .gguf file")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"{named} cannot be read: {error.strerror}") from error
    if magic != _MAGIC:
        raise ModelError(f"{named} is no GGUF file; give the path of a .gguf file")
