"""What a model costs on this machine: measured, and asked of llama.cpp and the system.

Knows a model under its settings, and the machine as far as it can be asked. Does not know what
follows from that, nor how it is shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from aded_edge.decode.cost_curve import measure
from aded_edge.errors import ModelError
from aded_edge.llamacpp.context import set_threads, why_plain
from aded_edge.llamacpp.fingerprint import cost_conditions, cost_key, model_name
from aded_edge.llamacpp.system import build_supports_gpu, captured_log
from aded_edge.llamacpp.target import LlamaTarget
from aded_edge.runtime.costs import chain_evaluation
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import default_threads

from .machine import OtherProcesses, features, thread_counts, visible_gpu, weight_buffers

CURVE_SECONDS = 4.0
"""What measuring the cost curve may take, about: once for all widths, once for narrow ones. It is
longer than a chat takes, as the result is kept."""

NARROW = 16
"""The widest of the narrow ones."""

TRIED = (1, 8)
"""Widths at which numbers of threads are compared: decoding plainly, and checking a draft."""

ROUNDS = 9
"""The most rounds of that comparison."""

TRY_SECONDS = 5.0
"""What it may take, about: there are three rounds in any case."""

SPREAD = 1.25
"""Median over fastest time of the same evaluation, from which the machine counts as busy."""

OTHERS = 0.1
"""Share of the cores that others may use without that."""

Times = dict[int, dict[int, list[float]]]
"""Threads -> width -> seconds of each round."""


@dataclass(frozen=True)
class Findings:
    """What was found out about one model on one machine.

    Attributes:
        file, name, description, bytes: the model: where it lies, as people and as llama.cpp call
            it, the size of its weights.
        buffers: where llama.cpp put the weights, by its own name of the place -> MiB.
        features: backend of llama.cpp -> what it can use here.
        cpu: name of the processor.
        cores: logical ones.
        gpu: a GPU that this machine seems to have, whether or not the build can use it.
        gpu_build: llama.cpp was built for one.
        threads, gpu_layers, flash_attn, n_ctx: the settings.
        others: cores that other processes kept busy meanwhile.
        costs: width -> seconds of one evaluation.
        times: of other numbers of threads, and of the present one.
        conditions: what the costs depend on, as the store keeps them.
    """

    file: str
    name: str
    description: str
    bytes: int
    buffers: dict[str, float]
    features: dict[str, list[str]]
    cpu: str
    cores: int
    gpu: str | None
    gpu_build: bool
    threads: int
    gpu_layers: int
    flash_attn: bool
    n_ctx: int
    others: float
    costs: dict[int, float]
    times: Times
    conditions: dict[str, Any]

    @property
    def key(self) -> str:
        """Under which the store keeps the costs."""
        return cost_key(self.conditions)

    @property
    def ratios(self) -> dict[int, float]:
        """Width -> cost relative to width 1."""
        return {width: cost / self.costs[1] for width, cost in self.costs.items()}

    @property
    def spread(self) -> float:
        """How much longer than the fastest a plain evaluation usually took."""
        plain = self.times[self.threads][1]
        return median(plain) / min(plain)

    @property
    def busy(self) -> bool:
        """Something else ran while this was measured."""
        return self.spread > SPREAD or self.others > OTHERS * self.cores

    @property
    def batched(self) -> float:
        """Share of the weights in a layout for batch kernels, which also a GPU's memory is."""
        other = sum(size for name, size in self.buffers.items() if name not in _ORDINARY)
        return other * 2**20 / self.bytes


_ORDINARY = ("CPU", "CPU_Mapped")
"""Where weights lie as the file has them: their kernels take one row after the other."""


def examine(
    model: Path,
    *,
    ctx: int,
    threads: int | None,
    gpu_layers: int,
    flash_attn: bool,
    progress: Callable[[int, int], None],
) -> Findings:
    """Loads the model and measures it.

    Args:
        model: a GGUF file.
        ctx, threads, gpu_layers, flash_attn: as it is to be run; threads None for the default.
        progress: called with rounds done and rounds planned.

    Raises:
        ModelError: the model cannot be loaded, or nothing could be drafted for it.
    """
    cores = os.cpu_count() or 1
    threads = threads or default_threads()
    settings: dict[str, Any] = {"n_threads": threads, "n_threads_batch": threads, "n_ctx": ctx}
    settings |= {"n_gpu_layers": gpu_layers, "flash_attn": flash_attn, "verbose": False}
    with captured_log() as lines:
        llama = Llama(model, store=None, **settings)
    others = OtherProcesses()  # from now on: kernels may have been compiled meanwhile
    with closing(llama):
        why = why_plain(llama)
        if why is not None:
            raise ModelError(f"there is no draft to measure for {model}: {why}")
        conditions = cost_conditions(llama)
        target = LlamaTarget(llama)
        evaluate = chain_evaluation(llama, target)
        costs = _costs(evaluate, target.max_nodes + 1)
        times = _try_threads(llama, evaluate, thread_counts(cores, threads), progress)
        return Findings(
            file=str(model),
            name=model_name(llama),
            description=str(conditions["description"]),
            bytes=int(conditions["bytes"]),
            buffers=weight_buffers(lines),
            features=features(conditions["system"]),
            cpu=str(conditions["cpu"]),
            cores=cores,
            gpu=visible_gpu(),
            gpu_build=build_supports_gpu(),
            threads=threads,
            gpu_layers=gpu_layers,
            flash_attn=flash_attn,
            n_ctx=ctx,
            others=others.cores(),
            costs=costs,
            times=times,
            conditions=conditions,
        )


def _costs(evaluate: Callable[[int], float], most: int) -> dict[int, float]:
    # The widest take most of the time; what is mostly chosen is measured more often.
    wide = measure(evaluate, most, CURVE_SECONDS).seconds()
    narrow = measure(evaluate, min(most, NARROW), CURVE_SECONDS).seconds()
    return {width: min(seconds, narrow.get(width, seconds)) for width, seconds in wide.items()}


def _try_threads(
    llama: Llama,
    evaluate: Callable[[int], float],
    counts: Sequence[int],
    progress: Callable[[int, int], None],
) -> Times:
    times: Times = {count: {width: [] for width in TRIED} for count in counts}
    began = time.perf_counter()
    for done in range(ROUNDS):
        if done >= 3 and time.perf_counter() - began > TRY_SECONDS:
            break
        progress(done, ROUNDS)
        for count in counts:
            set_threads(llama, count)
            for width in TRIED:
                evaluate(width)  # starts the threads, and builds the graph of this width
                times[count][width].append(evaluate(width))
    progress(ROUNDS, ROUNDS)
    return times
