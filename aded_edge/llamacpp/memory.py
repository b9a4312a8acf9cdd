"""How much memory the KV cache of a context needs, from the metadata of a model file.

llama.cpp fills the whole cache when it makes a context, so one that is too large makes the machine
swap, or ends the process.

Knows the names of GGUF's metadata. Does not know how much memory there is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import llama_cpp
from llama_cpp import _internals

from .system import captured_log

_BYTES = {llama_cpp.GGML_TYPE_F32: 4.0, llama_cpp.GGML_TYPE_F16: 2.0}
_LEAST_BYTES = 0.5
"""Bytes of an element of a quantised cache, at least."""


def metadata_of(model_path: str) -> dict[str, str]:
    """The metadata of a model, read without its weights; it takes about half a second.

    Raises:
        ValueError: llama.cpp cannot read the file.
    """
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    with captured_log():
        model = _internals.LlamaModel(path_model=model_path, params=params, verbose=True)
        with contextlib.closing(model):
            return dict(model.metadata())


def kv_tokens_and_bytes(
    metadata: Mapping[str, str], n_ctx: int, type_k: int | None, type_v: int | None
) -> tuple[int, int]:
    """Places of a context, and the bytes of its KV cache.

    Args:
        metadata: of the model.
        n_ctx: places that are asked for; 0 for the context that the model was trained with.
        type_k, type_v: ggml types of the cache; None for 16-bit floats.

    Returns:
        The places, and a lower bound of the bytes. It is 0 where the metadata do not tell: layers
        of different kinds, recurrent layers.
    """

    def number(name: str, otherwise: int = 0) -> int:
        value = metadata.get(f"{metadata.get('general.architecture')}.{name}", "")
        return int(value) if value.isdigit() else otherwise

    places = n_ctx or number("context_length")
    heads = number("attention.head_count")
    # llama.cpp does not hand out arrays: such a model's layers have different numbers of heads.
    if not heads or number("ssm.state_size") or number("shortconv.l_cache"):
        return places, 0
    head = number("embedding_length") // heads
    keys = number("attention.key_length", head) * _element(type_k)
    values = number("attention.value_length", head) * _element(type_v)
    cells = places * number("block_count") * number("attention.head_count_kv", heads)
    return places, int(cells * (keys + values))


def _element(kind: Any) -> float:
    return _BYTES.get(llama_cpp.GGML_TYPE_F16 if kind is None else kind, _LEAST_BYTES)
