"""Checks of `Llama`'s own arguments, and the default number of threads.

Knows names, choices and defaults. Does not know what an option does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from aded_edge.errors import ConfigError, did_you_mean

Drafting = Literal["auto", "off", "paper"]
"""auto: draft where it pays. off: plain decoding. paper: ADED as published, whatever it costs."""

DRAFTING: tuple[Drafting, ...] = get_args(Drafting)

LEAST_CTX, MOST_CTX = 1, 1 << 24
"""The smallest and the largest context in tokens, everywhere. No model was trained with more than
10 million."""

StoreChoice = str | os.PathLike[str] | None
"""Where the matrix is kept: "default", the path of a file, or None for nowhere."""


def check_drafting(value: object, exact: bool = False, draft_model: object = None) -> Drafting:
    """Return the value if it is one of the choices.

    Args:
        value: a choice.
        exact: whether the bits of plain decoding are asked for.
        draft_model: llama_cpp's drafter, None for none.

    Raises:
        ConfigError: it is not, and the message names the choices; or it cannot be exact.
    """
    if exact and value == "paper":
        raise ConfigError(
            'drafting="paper" cannot be exact, because trees change the order of the KV cells; '
            'use drafting="auto", or leave exact out'
        )
    if exact and draft_model is not None:
        raise ConfigError(
            "a draft_model cannot be exact, because llama_cpp evaluates its drafts in widths that "
            "were not proved; leave draft_model out, or exact"
        )
    for choice in DRAFTING:
        if value == choice:
            return choice
    choices = ", ".join(map(repr, DRAFTING))
    raise ConfigError(f"drafting={value!r} is not known; choose one of {choices}")


def check_store(value: StoreChoice, default: Path) -> Path | None:
    """Return the file that `value` means, None for no store.

    Args:
        value: "default", a path, or None.
        default: the file that "default" means.

    Raises:
        ConfigError: the value is of another type.
    """
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"store={value!r} is neither a path, nor 'default', nor None")
    return default if value == "default" else Path(value).expanduser()


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Check that every keyword argument given to `Llama` is a known one.

    Raises:
        ConfigError: one is not; the message names the nearest known one.
    """
    choices = sorted(known)
    for name in given:
        if name not in choices:
            hint = did_you_mean(name, choices)
            raise ConfigError(f"Llama() has no argument {name!r}" + (f"; {hint}" if hint else ""))


def default_threads() -> int:
    """Number of threads that evaluate a model: the physical cores of this machine, but at most the
    logical ones that this process may run on.

    Two threads on one physical core share its arithmetic units and mostly wait for each other.
    A cost curve is stored together with the number of threads, so everything that opens a model
    uses this default; otherwise one command would not find what another one measured.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = psutil.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


def with_default_threads(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in `default_threads` where arguments of `Llama` do not say how many threads to use.

    An explicit number stays as it is. Where only `n_threads` is given, `n_threads_batch` is left
    to llama_cpp.
    """
    filled = dict(arguments)
    if filled.get("n_threads") is None:
        filled["n_threads"] = default_threads()
        if filled.get("n_threads_batch") is None:
            filled["n_threads_batch"] = filled["n_threads"]
    return filled


def with_worker_defaults(arguments: Mapping[str, Any], rpc_servers: str | None) -> dict[str, Any]:
    """Fill in other defaults than llama_cpp's where there are workers.

    All layers are offloaded: with 0, llama_cpp's default, no worker would have any. Flash attention
    is on: without it the KV cache lies in columns, and saving it asks the workers for each of them.
    """
    if rpc_servers is None:
        return dict(arguments)
    layers = arguments.get("n_gpu_layers") or -1
    return {"flash_attn": True, **arguments, "n_gpu_layers": layers}


def llama_arguments(
    *, ctx: int, threads: int, gpu_layers: int, flash_attn: bool, rpc: str | None = None
) -> dict[str, Any]:
    """The arguments of `Llama` that follow from the options of a command.

    Args:
        ctx: tokens of the context.
        threads: number of threads, for single tokens and batches alike.
        gpu_layers: layers to offload, -1 for all.
        flash_attn: use flash attention; it is always used on workers.
        rpc: workers, "host:port,host:port"; None for none.
    """
    return {
        "n_ctx": ctx,
        "n_threads": threads,
        "n_threads_batch": threads,
        "n_gpu_layers": gpu_layers,
        "flash_attn": flash_attn or rpc is not None,
        "rpc_servers": rpc,
        "verbose": False,
    }
