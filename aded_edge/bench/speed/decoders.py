"""Decoders that run in this process: llama_cpp.Llama, its prompt lookup, and aded_edge.Llama.

Each loads the KV cache of a prompt and answers it. The clock runs from the first token of the
answer to the last, so the time to evaluate the prompt is not counted.

Knows how a decoder is opened and timed. Does not know dialogs, nor what the times are used for.
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

from .evaluated import load_kv

PLAIN = "llama_cpp"
"""The decoder with which all others are compared: llama_cpp.Llama."""

AUTO = "auto"
"""aded_edge.Llama with its default settings."""

OURS = (AUTO, "off", "paper")
"""Decoders that are aded_edge.Llama, by the value of its argument `drafting`."""

LOOKUPS = {"lookup-10": 10, "lookup-2": 2}
"""Decoders that are llama_cpp's prompt lookup -> tokens that it drafts in every step."""

LOCAL = (PLAIN, AUTO, *LOOKUPS, "paper", "off")
"""All decoders of this process, in the order in which results list them."""


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run; part of its result.

    Attributes:
        model: path of the GGUF file.
        prompts: path of the prompt file.
        decoders: names of the decoders; llama_cpp must be one of them.
        max_tokens: bound of one answer.
        visits: how often all dialogs are answered.
        n_ctx, threads, gpu_layers, flash_attn: of every decoder's context.
        temperature, seed: of the sampling.
        peer_dialogs: number of dialogs that decoders other than llama_cpp and auto answer; None
            for all.
        llama_server: path of llama.cpp's server binary, for the decoders that are servers.
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
class TimedAnswer:
    """An answer and how long it took.

    Attributes:
        tokens: the answer, with the token that ended it.
        seconds: time from the first token to the last.
        steps: evaluations after the first token.
        accepted: draft tokens that the target confirmed.
        parts: part of a step -> seconds; only for decoders that are aded_edge.Llama.
        oracle: least possible seconds under the costs at that time; None where costs are not
            known.
    """

    tokens: list[int] = field(repr=False)
    seconds: float
    steps: int
    accepted: int
    parts: dict[str, float] = field(default_factory=dict, repr=False)
    oracle: float | None = None


class Decoder(Protocol):
    """The interface of a decoder."""

    def answer(self, prompt: list[int], kv: Path) -> TimedAnswer:
        """Answer a prompt.

        Args:
            prompt: its tokens.
            kv: file with the KV cache of the prompt without its last token.
        """
        ...

    def close(self) -> None:
        """Free the model and its memory."""
        ...


class LocalDecoder:
    """A decoder that runs in this process.

    Args:
        name: one of LOCAL.
        settings: settings of the run.
        folder: folder for the stores of decoders that learn; a store lasts from visit to visit.

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
            # Without logits_all, llama_cpp.Llama has room for the logits of one token only.
            common |= {"draft_model": self._lookup, "logits_all": True}
        self.llama = llama_cpp.Llama(settings.model, **common)

    @property
    def costs(self) -> dict[int, float]:
        """Width -> seconds of one evaluation, as known now; empty if the decoder never drafts."""
        return self.llama.costs if isinstance(self.llama, Llama) else {}

    def answer(self, prompt: list[int], kv: Path) -> TimedAnswer:
        """Answer a prompt; see `Decoder`."""
        self._load_prompt(prompt, kv)
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
        return self._timed(tokens, time.perf_counter() - began)

    def close(self) -> None:
        """Free the model."""
        self.llama.close()

    def _load_prompt(self, prompt: list[int], kv: Path) -> None:
        if self._lookup is not None:
            self._lookup.calls = 0
        llama = self.llama
        if not isinstance(llama, Llama):
            load_kv(llama, kv)
            return
        # generate() gives its drafter only the tokens that it evaluates itself. Tokens loaded with
        # the KV cache must be read here, or the drafter would never see the prompt.
        known = common_prefix(llama.input_ids[: llama.n_tokens], prompt[:-1])
        llama._settle()
        load_kv(llama, kv)
        if llama._loop is not None:
            drafter: Any = llama._loop.drafter
            drafter.read(np.asarray(prompt[:-1], np.int32), known)

    def _timed(self, tokens: list[int], seconds: float) -> TimedAnswer:
        llama = self.llama
        if not isinstance(llama, Llama):
            steps = len(tokens) - 1 if self._lookup is None else self._lookup.calls
            return TimedAnswer(
                tokens=tokens, seconds=seconds, steps=steps, accepted=len(tokens) - 1 - steps
            )
        if llama._persistence is not None:
            llama.wait_for_store()  # or it saves while the next decoder is timed
        stats = llama.stats
        parts = ("drafting", "evaluating", "accepting", "learning")
        return TimedAnswer(
            tokens=tokens,
            seconds=seconds,
            steps=stats.steps,
            accepted=stats.accepted,
            parts={part: getattr(stats, f"seconds_{part}") for part in parts},
            oracle=oracle_seconds(costs, len(tokens) - 1) if (costs := llama.costs) else None,
        )


class _Lookup(LlamaPromptLookupDecoding):
    """llama_cpp's prompt lookup, with a count of its calls: one in every step."""

    calls = 0

    def __call__(self, input_ids: npt.NDArray[np.intc], /, **kwargs: Any) -> npt.NDArray[np.intc]:
        self.calls += 1
        return super().__call__(input_ids, **kwargs)
