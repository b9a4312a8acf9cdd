"""The decoders of this process: llama_cpp.Llama, its prompt lookup, and aded_edge.Llama.

Each takes up the KV of a prompt and answers it. The clock runs from the first token of the
answer to its last, so prompts are left out.

Knows how a decoder is opened and timed. Does not know dialogs, nor what is made of the times.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from aded_edge.bench.oracle import oracle_seconds
from aded_edge.llamacpp.context import ends_answer
from aded_edge.llamacpp.prompt import common_prefix
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import Drafting

from .evaluated import take_up

PLAIN = "llama_cpp"
"""The decoder that all others are compared with."""

AUTO = "auto"
"""The one that this is all about."""

OURS = (AUTO, "off", "paper")
LOOKUPS = {"lookup-10": 10, "lookup-2": 2}
"""Tokens that llama_cpp's prompt lookup drafts in every step."""

LOCAL = (PLAIN, AUTO, *LOOKUPS, "paper", "off")


@dataclass(frozen=True)
class RunSettings:
    """Conditions of a run; they are part of its result.

    Attributes:
        peer_dialogs: decoders other than llama_cpp.Llama and "auto" take part in the first ones
            only; None means in all.
        llama_server: the binary of llama.cpp's server, for the decoders that are servers.
    """

    model: str
    prompts: str
    decoders: tuple[str, ...] = (PLAIN, AUTO)
    max_tokens: int = 128
    visits: int = 2
    n_ctx: int = 2048
    threads: int = 2
    gpu_layers: int = 0
    temperature: float = 0.0
    seed: int = 0
    flash_attn: bool = False
    peer_dialogs: int | None = None
    llama_server: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a decoder said, and how long it took.

    Attributes:
        tokens: the answer, with the token that ended it.
        seconds: from the first token to the last.
        steps: evaluations behind the first token.
        accepted: drafted tokens that were confirmed.
        parts: of our own decoders: what the seconds went into.
        oracle: of our own: seconds that no drafter can beat, by the costs at that time.
    """

    tokens: list[int] = field(repr=False)
    seconds: float
    steps: int
    accepted: int
    parts: dict[str, float] = field(default_factory=dict, repr=False)
    oracle: float | None = None


class Decoder(Protocol):
    """What the benchmark needs of a decoder."""

    def answer(self, prompt: list[int], kv: Path) -> Decoded:
        """Answers a prompt; `kv` is the file of its KV, the last token left out."""
        ...

    def close(self) -> None:
        """Frees what it holds."""
        ...


class Local:
    """A decoder of this process.

    Args:
        name: one of LOCAL.
        settings: conditions of the run.
        folder: where our own keep what they learn, from visit to visit.

    Attributes:
        llama: the model.
    """

    def __init__(self, name: str, settings: RunSettings, folder: Path) -> None:
        common: dict[str, Any] = {
            "n_ctx": settings.n_ctx,
            "n_threads": settings.threads,
            "n_threads_batch": settings.threads,
            "n_gpu_layers": settings.gpu_layers,
            "flash_attn": settings.flash_attn,
            "verbose": False,
        }
        self._settings = settings
        self._lookup: _Lookup | None = None
        self.llama: llama_cpp.Llama
        if name in OURS:
            drafting = cast(Drafting, name)
            store = folder / f"{name}.db"
            self.llama = Llama(settings.model, drafting=drafting, store=store, **common)
            return
        if name in LOOKUPS:
            self._lookup = _Lookup(num_pred_tokens=LOOKUPS[name])
            # Its rows of logits have room for one batch only, unless it keeps those of all tokens.
            common |= {"draft_model": self._lookup, "logits_all": True}
        self.llama = llama_cpp.Llama(settings.model, **common)

    @property
    def costs(self) -> dict[int, float]:
        """Seconds of one evaluation by width, as they stand now; empty where nothing is drafted."""
        return self.llama.costs if isinstance(self.llama, Llama) else {}

    def answer(self, prompt: list[int], kv: Path) -> Decoded:
        """Answers a prompt; `kv` is the file of its KV, the last token left out."""
        self._take_up(prompt, kv)
        llama, most = self.llama, self._settings.max_tokens
        llama.set_seed(self._settings.seed)
        stream = cast(
            Generator[int, None, None], llama.generate(prompt, temp=self._settings.temperature)
        )
        tokens: list[int] = []
        began = 0.0
        for token in stream:
            if not tokens:
                began = time.perf_counter()
            tokens.append(int(token))
            if ends_answer(llama, token) or len(tokens) >= most:
                break
        stream.close()
        return self._decoded(tokens, time.perf_counter() - began)

    def close(self) -> None:
        """Frees the model."""
        self.llama.close()

    def _take_up(self, prompt: list[int], kv: Path) -> None:
        if self._lookup is not None:
            self._lookup.calls = 0
        llama = self.llama
        if not isinstance(llama, Llama):
            take_up(llama, kv)
            return
        # generate() reads to its drafter what it evaluates itself. What it finds in the KV must
        # be read here, or the drafter would never see the prompt.
        known = common_prefix(llama.input_ids[: llama.n_tokens], prompt[:-1])
        llama._settle()
        take_up(llama, kv)
        if llama._loop is not None:
            drafter: Any = llama._loop.drafter
            drafter.read(np.asarray(prompt[:-1], np.int32), known)

    def _decoded(self, tokens: list[int], seconds: float) -> Decoded:
        llama = self.llama
        if not isinstance(llama, Llama):
            steps = len(tokens) - 1 if self._lookup is None else self._lookup.calls
            return Decoded(
                tokens=tokens, seconds=seconds, steps=steps, accepted=len(tokens) - 1 - steps
            )
        if llama._persistence is not None:
            llama._persistence.wait()  # it must not save while the next decoder is timed
        stats = llama.stats
        parts = ("drafting", "evaluating", "accepting", "learning")
        return Decoded(
            tokens=tokens,
            seconds=seconds,
            steps=stats.steps,
            accepted=stats.accepted,
            parts={part: getattr(stats, f"seconds_{part}") for part in parts},
            oracle=oracle_seconds(costs, len(tokens) - 1) if (costs := llama.costs) else None,
        )


class _Lookup(LlamaPromptLookupDecoding):
    """llama_cpp's prompt lookup, which is asked once in every step."""

    calls = 0

    def __call__(self, input_ids: npt.NDArray[np.intc], /, **kwargs: Any) -> npt.NDArray[np.intc]:
        self.calls += 1
        return super().__call__(input_ids, **kwargs)
