"""Decoders that run in this process: llama_cpp's prompt lookup, and aded_edge.Llama.

Each answers a conversation by a streamed chat completion. Before that, outside the time that
counts, its history is made the one that the baseline has.

Knows how a decoder is opened, prepared and timed. Does not know dialogs, nor what the times are
used for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from aded_edge.bench.dialogs import Message
from aded_edge.bench.oracle import oracle_seconds
from aded_edge.llamacpp.prompt import common_prefix
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.prefill import prefill

from .baseline import timed_answer, warm_up

PLAIN = "llama_cpp"
"""The decoder with which all others are compared: llama_cpp.Llama, in a process of its own."""

AUTO = "auto"
"""aded_edge.Llama with its default settings."""

OURS: dict[str, dict[str, Any]] = {
    AUTO: {"drafting": "auto"},
    "exact": {"drafting": "auto", "exact": True},
    "off": {"drafting": "off"},
    "paper": {"drafting": "paper"},
}
"""Decoders that are aded_edge.Llama -> its arguments."""

LOOKUPS = {"lookup-10": 10, "lookup-2": 2}
"""Decoders that are llama_cpp's prompt lookup -> tokens that it drafts in every step."""

LOCAL = (AUTO, "exact", *LOOKUPS, "paper", "off")
"""All decoders of this process, in the order in which results list them."""


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run; part of its result.

    Attributes:
        model: path of the GGUF file.
        prompts: paths of the prompt files.
        decoders: names of the decoders; llama_cpp must be one of them.
        baseline: path of the interpreter that runs llama_cpp; None for the one that runs this.
        max_tokens: bound of one answer.
        long_tokens: tokens of the prompts that are made of agent runs, about.
        visits: how often all dialogs are answered.
        runs: how often all visits are made, each time with an empty store.
        n_ctx, threads, gpu_layers, flash_attn: of every decoder's context.
        temperature, seed: of the sampling.
        peer_dialogs: number of dialogs that decoders other than llama_cpp and auto answer; None
            for all.
        llama_server: path of llama.cpp's server binary, for the decoders that are servers.
    """

    model: str
    prompts: tuple[str, ...]
    decoders: tuple[str, ...] = (PLAIN, AUTO)
    baseline: str | None = None
    max_tokens: int = 128
    long_tokens: int = 4000
    visits: int = 2
    runs: int = 1
    n_ctx: int = 2048
    threads: int = 2
    gpu_layers: int = 0
    temperature: float = 0.0
    seed: int = 0
    flash_attn: bool = False
    peer_dialogs: int | None = None
    llama_server: str | None = None


@dataclass(frozen=True)
class Turn:
    """What is asked.

    Attributes:
        messages: the conversation, ending with the user's message.
        prompt: its tokens.
        known: tokens whose KV cache every decoder must hold before, those of the baseline; empty
            at the first turn of a dialog.
    """

    messages: list[Message]
    prompt: list[int] = field(repr=False)
    known: list[int] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class TimedAnswer:
    """An answer and how long it took.

    Attributes:
        text: the answer.
        tokens: number of its tokens, with the one that ended it.
        seconds_first: time from the question to the first piece of the answer.
        seconds_last: time from the question to the end of the answer.
        steps: evaluations after the first token.
        accepted: draft tokens that the target confirmed.
        parts: part of a step -> seconds; only for decoders that are aded_edge.Llama.
        oracle: least possible seconds after the first token, under the costs at that time; None
            where costs are not known.
    """

    text: str = field(repr=False)
    tokens: int
    seconds_first: float
    seconds_last: float
    steps: int
    accepted: int
    parts: dict[str, float] = field(default_factory=dict, repr=False)
    oracle: float | None = None


class Decoder(Protocol):
    """The interface of a decoder."""

    def answer(self, turn: Turn) -> TimedAnswer:
        """Answer a turn, after making its history the known one outside the time that counts."""
        ...

    def close(self) -> None:
        """Free the model and its memory."""
        ...


def llama_options(settings: RunSettings) -> dict[str, Any]:
    """Return the arguments of `llama_cpp.Llama` that all decoders share."""
    return {
        "model_path": settings.model,
        "n_ctx": settings.n_ctx,
        "n_threads": settings.threads,
        "n_threads_batch": settings.threads,
        "n_gpu_layers": settings.gpu_layers,
        "flash_attn": settings.flash_attn,
        "verbose": False,
    }


def answer_options(settings: RunSettings) -> dict[str, Any]:
    """Return the arguments of `create_chat_completion` that all decoders share."""
    return {
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
    }


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
        common = llama_options(settings)
        self._options = answer_options(settings)
        self._lookup: _Lookup | None = None
        self.llama: llama_cpp.Llama
        if name in OURS:
            self.llama = Llama(store=folder / f"{name}.db", **OURS[name], **common)
        else:
            self._lookup = _Lookup(num_pred_tokens=LOOKUPS[name])
            # Without logits_all, llama_cpp.Llama has room for the logits of one token only.
            self.llama = llama_cpp.Llama(draft_model=self._lookup, logits_all=True, **common)
        warm_up(self.llama)

    @property
    def costs(self) -> dict[int, float]:
        """Width -> seconds of one evaluation, as known now; empty if the decoder never drafts."""
        return self.llama.costs if isinstance(self.llama, Llama) else {}

    def answer(self, turn: Turn) -> TimedAnswer:
        """Answer a turn; see `Decoder`."""
        self._bring_to(turn.known)
        return self._figures(timed_answer(self.llama, turn.messages, self._options))

    def close(self) -> None:
        """Free the model."""
        self.llama.close()

    def _bring_to(self, known: list[int]) -> None:
        """Make these tokens the history."""
        llama = self.llama
        if self._lookup is not None:
            self._lookup.calls = 0
        if not known:
            llama.reset()
        elif isinstance(llama, Llama) and llama._target is not None:
            assert llama._loop is not None
            held = prefill(llama, llama._target, known, True)
            # generate() gives its drafter only the tokens that it evaluates itself. What is
            # evaluated here must be read here, or the drafter would never see it.
            drafter: Any = llama._loop.drafter
            drafter.read(np.asarray(known, np.int32), held)
        else:
            held = common_prefix(llama.input_ids[: llama.n_tokens], known)
            if held < llama.n_tokens and not llama._ctx.kv_cache_seq_rm(-1, held, -1):
                llama.reset()
                held = 0
            llama.n_tokens = held
            llama.eval(known[held:])

    def _figures(self, timed: dict[str, Any]) -> TimedAnswer:
        llama, later = self.llama, max(timed["tokens"] - 1, 0)
        if not isinstance(llama, Llama):
            steps = later if self._lookup is None else self._lookup.calls
            return TimedAnswer(**timed, steps=steps, accepted=later - steps)
        llama.wait_for_store()  # or it saves while the next decoder is timed
        stats, costs = llama.stats, llama.costs
        parts = ("drafting", "evaluating", "accepting", "learning")
        return TimedAnswer(
            **timed,
            steps=stats.steps,
            accepted=stats.accepted,
            parts={part: getattr(stats, f"seconds_{part}") for part in parts},
            oracle=oracle_seconds(costs, later) if costs else None,
        )


class _Lookup(LlamaPromptLookupDecoding):
    """llama_cpp's prompt lookup, with a count of its calls: one in every step."""

    calls = 0

    def __call__(self, input_ids: npt.NDArray[np.intc], /, **kwargs: Any) -> npt.NDArray[np.intc]:
        self.calls += 1
        return super().__call__(input_ids, **kwargs)
