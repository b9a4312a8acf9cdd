"""Which model this is, wherever its file lies, and what the costs and bits of its evaluation
depend on.

Knows llama.cpp's metadata and settings. Does not know what the fingerprints are used for.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import llama_cpp

from . import offloading
from .rpc import workers_of
from .system import binding_version, build_info, cpu_name, library_files
from .weights import weights_identity

_IDENTITY = (
    "general.architecture",
    "general.name",
    "general.basename",
    "general.size_label",
    "general.finetune",
    "general.version",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
)
"""Metadata that is part of the fingerprint."""

_OTHERWISE = ("n_gpu_layers", "devices")
"""Numbers of llama.cpp's parameters that `cost_conditions` has in another form: the layers as far
as the build uses them, and the workers by name, because addresses of devices change."""

_SAMPLED_TOKENS = 512
"""Tokens of the vocabulary whose texts are part of the fingerprint, about."""


def model_fingerprint(llama: llama_cpp.Llama) -> str:
    """Hex digest of the model's identity and tokenizer.

    Two quantisations of one model have the same fingerprint, because what is learned from one
    helps to draft for the other. llama.cpp does not hand out arrays of the metadata, so the
    vocabulary enters by its size and by the texts of tokens at regular distances.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    metadata: dict[str, str] = llama.metadata
    for key in _IDENTITY:
        digest.update(f"{key}={metadata.get(key, '')}\n".encode())
    n_vocab = llama.n_vocab()
    inner = llama._model
    digest.update(f"{n_vocab} {inner.n_params()} {inner.n_embd()}\n".encode())
    for token in range(0, n_vocab, max(n_vocab // _SAMPLED_TOKENS, 1)):
        digest.update(llama_cpp.llama_vocab_get_text(inner.vocab, token) or b"")
        digest.update(b"\0")
    return digest.hexdigest()[:32]


def model_name(llama: llama_cpp.Llama) -> str:
    """A name that people recognise: the one in the metadata, or that of the file."""
    return str(llama.metadata.get("general.name") or Path(llama.model_path).stem)


def cost_conditions(llama: llama_cpp.Llama) -> dict[str, Any]:
    """Everything that the cost of an evaluation depends on: model, machine, build and settings."""
    context, workers = llama.context_params, workers_of(llama)
    # No entry without workers, so that what was stored before there were any still counts.
    remote = {} if workers is None else {"rpc_servers": workers.servers}
    evaluating = offloading.evaluating(llama)
    local = [str(device) for device in evaluating if not device.remote]
    return {
        **remote,
        "model": model_fingerprint(llama),
        "description": llama._model.desc(),
        "bytes": llama._model.size(),
        "machine": platform.node(),
        "cpu": cpu_name(),
        "system": build_info(),
        "llama_cpp_python": binding_version(),
        "n_threads": context.n_threads,
        "n_threads_batch": context.n_threads_batch,
        # Without a device this number is ignored, whatever it is and whatever the build is for.
        "n_gpu_layers": llama.model_params.n_gpu_layers if evaluating else 0,
        "split_mode": llama.model_params.split_mode,
        "offload_kqv": context.offload_kqv,
        "flash_attn": context.flash_attn_type,
        "n_ubatch": context.n_ubatch,
        "type_k": context.type_k,
        "type_v": context.type_v,
        "lora": llama.lora_path,
        # Copies of a recurrent state are written in every step. 0 in most models, and left out
        # there, so that their costs need not be measured again.
        **({"n_rs_seq": context.n_rs_seq} if context.n_rs_seq else {}),
        # Left out on a CPU, so that curves from before there were devices here stay valid.
        **({"devices": local} if local else {}),
    }


def bit_conditions(llama: llama_cpp.Llama) -> dict[str, Any]:
    """Everything that the bits of logits may depend on: also what the costs depend on too little.

    All plain numbers of llama.cpp's parameters are part of it, because a number that does not
    matter only means that exactness is proved once more.
    """
    numbers = {
        f"{kind}.{name}": value
        for kind, struct in (("context", llama.context_params), ("model", llama.model_params))
        for name, *_ in struct._fields_
        if name not in _OTHERWISE and isinstance(value := getattr(struct, name), int | float)
    }
    return {
        **cost_conditions(llama),
        **numbers,
        "weights": weights(llama),
        "lora_weights": weights_identity(llama.lora_path) if llama.lora_path else None,
        "n_ctx": llama._n_ctx,
        "tensor_split": llama.tensor_split,
        "kv_overrides": llama.kv_overrides,
        "lora_scale": llama.lora_scale,
        "libraries": library_files(),
    }


def weights(llama: llama_cpp.Llama) -> list[tuple[int, int, str]]:
    """Identity of the model's weights: of the file as it was at the first call for this object."""
    known: Any = vars(llama)
    if "_weights" not in known:
        known["_weights"] = weights_identity(llama.model_path)
    found: list[tuple[int, int, str]] = known["_weights"]
    return found


def cost_key(conditions: dict[str, Any]) -> str:
    """Hex digest of cost conditions, 32 digits: the store keeps a cost curve under it."""
    text = json.dumps(conditions, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
