"""A history and its KV in a file.

llama.cpp writes and reads the state of sequence 0; before it stands what the state depends on,
because llama.cpp itself looks at the architecture only, and would take another model's numbers.

Knows llama.cpp's states and files. Does not know when one is worth keeping.
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

from .fingerprint import model_fingerprint

_MAGIC = b"aded-edge KV 1\n"


def size(llama: llama_cpp.Llama) -> int:
    """Bytes of the state of sequence 0."""
    return int(llama_cpp.llama_state_seq_get_size(_context(llama), 0))


def save(llama: llama_cpp.Llama, path: Path) -> None:
    """Writes history and KV; a file of this name is replaced as a whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    state = np.empty(size(llama), np.uint8)
    written = llama_cpp.llama_state_seq_get_data(_context(llama), _bytes(state), state.size, 0)
    tokens = np.asarray(llama.input_ids[: llama.n_tokens], "<i4")
    sizes = np.asarray([tokens.size, written], "<i8").tobytes()
    pieces = (_MAGIC + _key(llama), sizes, tokens.tobytes(), state[:written].tobytes())
    try:
        write_whole(path, pieces)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def load(llama: llama_cpp.Llama, path: Path) -> Int32Array:
    """Puts a saved KV into sequence 0, which must be empty.

    Returns:
        int32 (n,): its history. Empty if the file is another model's or another setting's, is
        damaged, or does not fit into the context: then the KV must be cleared.

    Raises:
        StoreError: the file cannot be read.
    """
    nothing = np.empty(0, np.int32)
    head = len(_MAGIC) + 32
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    if data[:head].tobytes() != _MAGIC + _key(llama) or data.size < head + 16:
        return nothing
    count, length = (int(number) for number in data[head : head + 16].view("<i8"))
    tokens = data[head + 16 : head + 16 + 4 * count]
    state = data[head + 16 + 4 * count :].copy()
    if tokens.size != 4 * count or state.size != length or not 0 < count <= len(llama.input_ids):
        return nothing
    read = llama_cpp.llama_state_seq_set_data(_context(llama), _bytes(state), state.size, 0)
    return tokens.copy().view("<i4").astype(np.int32) if read == length else nothing


def _key(llama: llama_cpp.Llama) -> bytes:
    """Digest of all that a state depends on, 32 bytes."""
    context = llama.context_params
    about = {
        "model": model_fingerprint(llama),
        "description": llama._model.desc(),  # names the quantisation
        "bytes": llama._model.size(),
        "llama_cpp_python": llama_cpp.__version__,
        "flash_attn": context.flash_attn_type,
        "type_k": context.type_k,
        "type_v": context.type_v,
        "rope": [context.rope_freq_base, context.rope_freq_scale, context.rope_scaling_type],
        "lora": llama.lora_path,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).digest()


def _context(llama: llama_cpp.Llama) -> Any:
    return llama._ctx.ctx


def _bytes(array: npt.NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
