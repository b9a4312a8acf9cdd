"""The options of aded-edge, validated once.

Knows names, choices and defaults. Does not know what they do.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from aded_edge.errors import ConfigError

Drafting = Literal["auto", "off", "paper"]
"""auto: draft what pays. off: plain decoding. paper: ADED as published, whatever it costs."""

DRAFTING: tuple[Drafting, ...] = get_args(Drafting)

StoreChoice = str | os.PathLike[str] | None
"""Where the matrix is kept: "default", the path of a file, or None for nowhere."""


def check_drafting(value: object) -> Drafting:
    """The value, if it is one of the choices.

    Raises:
        ConfigError: it is not; the text names the choices.
    """
    for choice in DRAFTING:
        if value == choice:
            return choice
    choices = ", ".join(map(repr, DRAFTING))
    raise ConfigError(f"drafting={value!r} is not known; choose one of {choices}")


def check_store(value: StoreChoice, default: Path) -> Path | None:
    """The file that `value` means, None for no store.

    Raises:
        ConfigError: it is neither "default", a path, nor None.
    """
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"store={value!r} is neither a path, nor 'default', nor None")
    return default if value == "default" else Path(value).expanduser()


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Every given keyword argument is a known one.

    Raises:
        ConfigError: one is not; the text names the nearest.
    """
    choices = sorted(known)
    for name in given:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"Llama() has no argument {name!r}{hint}")


def default_threads() -> int:
    """How many threads evaluate a model: one for each physical core that this process may use.

    Two threads on one physical core share its arithmetic units and mostly wait for each other.
    The costs of an evaluation are kept by their number, so whatever opens a model asks here.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = psutil.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


def llama_arguments(
    *, ctx: int, threads: int | None, gpu_layers: int, flash_attn: bool
) -> dict[str, Any]:
    """The arguments of `Llama` for a model that runs on a command's terms.

    Args:
        ctx: tokens of the context.
        threads: None for `default_threads`.
        gpu_layers: layers to offload, -1 for all.
        flash_attn: use flash attention.
    """
    threads = threads or default_threads()
    return {
        "n_ctx": ctx,
        "n_threads": threads,
        "n_threads_batch": threads,
        "n_gpu_layers": gpu_layers,
        "flash_attn": flash_attn,
        "verbose": False,
    }
