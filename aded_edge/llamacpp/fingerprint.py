"""Which model this is, wherever its file lies, and what its evaluations depend on.

Knows llama.cpp's metadata. Does not know what the fingerprints are used for.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import llama_cpp

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

_SAMPLED_TOKENS = 512


def model_fingerprint(llama: llama_cpp.Llama) -> str:
    """Hex digest of the model's identity and tokenizer.

    Two quantisations of one model share it: what the one taught helps to draft for the other.
    llama.cpp gives no arrays of the metadata, so the vocabulary enters by its size and by the
    texts of tokens spread over it.
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
    """A name that a person recognises."""
    return str(llama.metadata.get("general.name") or Path(llama.model_path).stem)


def cost_conditions(llama: llama_cpp.Llama) -> dict[str, Any]:
    """All that the cost of an evaluation depends on: model, machine, build, settings."""
    context = llama.context_params
    offloads = llama_cpp.llama_supports_gpu_offload()  # elsewhere the number means nothing
    return {
        "model": model_fingerprint(llama),
        "description": llama._model.desc(),
        "bytes": llama._model.size(),
        "machine": platform.node(),
        "cpu": _cpu_name(),
        "system": llama_cpp.llama_print_system_info().decode("utf-8", "replace"),
        "llama_cpp_python": llama_cpp.__version__,
        "n_threads": context.n_threads,
        "n_threads_batch": context.n_threads_batch,
        "n_gpu_layers": llama.model_params.n_gpu_layers if offloads else 0,
        "split_mode": llama.model_params.split_mode,
        "offload_kqv": context.offload_kqv,
        "flash_attn": context.flash_attn_type,
        "n_ubatch": context.n_ubatch,
        "type_k": context.type_k,
        "type_v": context.type_v,
        "lora": llama.lora_path,
    }


def cost_key(conditions: dict[str, Any]) -> str:
    """Hex digest of cost conditions."""
    text = json.dumps(conditions, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()
