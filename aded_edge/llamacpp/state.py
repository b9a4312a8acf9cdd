"""A history and its KV cache in a file.

`save` and `load` write the state of sequence 0 after a digest of everything that it depends on:
llama.cpp itself compares only the architecture, and would accept the state of another model.

Knows llama.cpp's states. Does not know when a state is worth keeping.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from aded_edge.arrays import Int32Array
from aded_edge.errors import StoreError
from aded_edge.files import write_whole

from .fingerprint import bit_conditions
from .rpc import check_workers

_MAGIC = b"aded-edge KV 2\n"

_HEAD_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
"""Bytes before the two sizes: the magic and the digest."""

_SIZES_BYTES = 16
"""Two int64: the number of tokens, and the bytes of the state."""


def size(llama: llama_cpp.Llama) -> int:
    """Bytes of the state of sequence 0."""
    return int(llama_cpp.llama_state_seq_get_size(llama.ctx, 0))


def save(llama: llama_cpp.Llama, path: Path) -> None:
    """Write history and KV cache; a file of this name is replaced as a whole or not at all.

    Raises:
        StoreError: the file cannot be written.
        WorkerError: a worker is lost; nothing is written.
    """
    state = np.empty(size(llama), np.uint8)
    written = llama_cpp.llama_state_seq_get_data(llama.ctx, _bytes(state), state.size, 0)
    check_workers(llama)
    tokens = np.asarray(llama.input_ids[: llama.n_tokens], "<i4")
    sizes = np.asarray([tokens.size, written], "<i8").tobytes()
    pieces = (_MAGIC + _digest(llama), sizes, tokens.tobytes(), state[:written].tobytes())
    try:
        write_whole(path, pieces, keep_private=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def load(llama: llama_cpp.Llama, path: Path) -> int:
    """Read history and KV cache from a file that `save` wrote.

    Args:
        llama: the model; its history and KV cache must be empty.
        path: the file.

    Returns:
        Number of tokens in the history. 0 if the file belongs to another model or other settings,
        is damaged, or does not fit into the context: the caller then has to clear the KV cache.

    Raises:
        StoreError: the file cannot be read.
        WorkerError: a worker is lost.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    body = _HEAD_BYTES + _SIZES_BYTES
    if data[:_HEAD_BYTES].tobytes() != _MAGIC + _digest(llama) or data.size < body:
        return 0
    count, length = (int(number) for number in data[_HEAD_BYTES:body].view("<i8"))
    tokens = data[body : body + 4 * count]
    state = data[body + 4 * count :].copy()
    if tokens.size != 4 * count or state.size != length or not 0 < count <= len(llama.input_ids):
        return 0
    read = llama_cpp.llama_state_seq_set_data(llama.ctx, _bytes(state), state.size, 0)
    check_workers(llama)
    if read != length:
        return 0
    _set_history(llama, tokens.copy().view("<i4").astype(np.int32))
    return count


def _set_history(llama: llama_cpp.Llama, tokens: Int32Array) -> None:
    llama.input_ids[: len(tokens)] = tokens
    llama.n_tokens = len(tokens)
    llama._requires_eval = True  # the logits in memory belong to another history


def _digest(llama: llama_cpp.Llama) -> bytes:
    """SHA-256 digest of everything that a state depends on."""
    about = bit_conditions(llama)
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).digest()


def _bytes(array: npt.NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
