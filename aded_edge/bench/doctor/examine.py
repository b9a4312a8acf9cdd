"""Examine a model on this machine: measure its evaluations, and collect facts about both.

Knows a model under given settings, and what llama.cpp and the system say about the machine. Does
not know what to conclude from the findings, nor how they are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.measuring import measure
from aded_edge.errors import ModelError
from aded_edge.llamacpp import offloading
from aded_edge.llamacpp.context import set_threads
from aded_edge.llamacpp.fingerprint import cost_conditions, cost_key, model_name
from aded_edge.llamacpp.recurrent import open_target
from aded_edge.llamacpp.system import build_name, built_for, captured_log
from aded_edge.runtime.costs import chain_evaluation
from aded_edge.runtime.exactness import proof_conditions, prove, proved
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import llama_arguments
from aded_edge.store import Proof

from .probe import OtherProcesses, features, thread_counts, visible_gpu, weight_buffers

CURVE_SECONDS = 4.0
"""Rough time for one measurement of the cost curve. There are two: all widths, then narrow ones. A
chat measures for a shorter time; the doctor's costs are kept and used by later chats."""

NARROW = 16
"""The widest of the narrow widths, which are measured twice because drafts mostly have them."""

TRIED = (1, 8)
"""Widths at which numbers of threads are compared: plain decoding, and an evaluated draft."""

ROUNDS = 9
"""Rounds of that comparison at most."""

LEAST_ROUNDS = 3
"""Rounds of that comparison at least."""

TRY_SECONDS = 5.0
"""Rough time for that comparison, once there were LEAST_ROUNDS."""

SPREAD = 1.25
"""The machine counts as busy if the median plain evaluation takes more than this multiple of the
fastest one."""

OTHERS = 0.1
"""The machine counts as busy if other processes use more than this share of its cores."""

Times = dict[int, dict[int, list[float]]]
"""Number of threads -> width -> seconds of one evaluation in each round."""


@dataclass(frozen=True)
class Findings:
    """Facts and measurements about one model on one machine.

    Attributes:
        file, name, description, bytes: path of the model, its name, llama.cpp's description of
            it, and the size of its weights.
        buffers: llama.cpp's name of a buffer -> MiB of weights in it.
        build: llama.cpp's version, and whether llamafile's kernels are in it.
        features: backend of llama.cpp -> features that it can use here.
        cpu: name of the processor.
        cores: number of logical cores.
        gpu: kind of the GPU that this machine seems to have, whether or not this build of
            llama.cpp can use it; None for no GPU.
        built_for: the kinds of devices that llama.cpp was built for beside the CPU ("vulkan").
        found: the devices that llama.cpp finds here, as it names them.
        devices: those of them that evaluated; empty if it was the CPU alone.
        threads, gpu_layers, flash_attn, n_ctx: the settings.
        others: cores that other processes kept busy during the measurements, on average.
        costs: width -> seconds of one evaluation.
        times: measurements with other numbers of threads and with `threads`.
        conditions: everything that the costs depend on, as the store keeps it.
        proof: how far the logits of each width were from those of width 1, after each history.
        bit_conditions: everything that the proof depends on, as the store keeps it.
    """

    file: str
    name: str
    description: str
    bytes: int
    buffers: dict[str, float]
    build: str
    features: dict[str, list[str]]
    cpu: str
    cores: int
    gpu: str | None
    built_for: list[str]
    found: list[str]
    devices: list[str]
    threads: int
    gpu_layers: int
    flash_attn: bool
    n_ctx: int
    others: float
    costs: dict[int, float]
    times: Times
    conditions: dict[str, Any]
    proof: Proof
    bit_conditions: dict[str, Any]

    @property
    def proved(self) -> tuple[int, ...]:
        """The widths with the bits of plain decoding, rising."""
        return proved(self.proof)

    @property
    def llamafile(self) -> bool:
        """Whether llama.cpp was built with llamafile's kernels, as it is by default."""
        return "LLAMAFILE" in self.features.get("CPU", [])

    @property
    def key(self) -> str:
        """The key of the costs in the store."""
        return cost_key(self.conditions)

    @property
    def ratios(self) -> dict[int, float]:
        """Width -> cost in units of width 1."""
        return {width: cost / self.costs[1] for width, cost in self.costs.items()}

    @property
    def spread(self) -> float:
        """Median time of a plain evaluation in units of the fastest one."""
        plain = self.times[self.threads][1]
        return median(plain) / min(plain)

    @property
    def busy(self) -> bool:
        """Whether other programs disturbed the measurements."""
        return self.spread > SPREAD or self.others > OTHERS * self.cores

    @property
    def batched(self) -> float:
        """Share of the weights stored in a layout that has batch kernels (repacked CPU buffers and
        GPU memory)."""
        other = [n for n in self.buffers if n not in _ORDINARY and not n.startswith(_WORKER)]
        return sum(self.buffers[name] for name in other) * 2**20 / self.bytes


_ORDINARY = ("CPU", "CPU_Mapped")
"""Buffers with weights in the layout of the file, whose kernels compute row by row."""

_WORKER = "RPC"
"""Beginning of the names of workers' buffers. A worker's CPU has no other layout; whether it is a
CPU is not known here."""


def examine(
    model: Path,
    *,
    ctx: int,
    threads: int,
    gpu_layers: int,
    flash_attn: bool,
    rpc: str | None = None,
    progress: Callable[[int, int], None],
) -> Findings:
    """Load a model and measure it.

    Args:
        model: a GGUF file.
        ctx: tokens of the context.
        threads: number of threads.
        gpu_layers: layers to offload, -1 for all.
        flash_attn: use flash attention.
        rpc: workers, "host:port,host:port"; None for none.
        progress: called with the rounds done and planned, while numbers of threads are compared.

    Raises:
        ModelError: the model cannot be loaded, or no draft can be evaluated with it.
    """
    cores = psutil.cpu_count() or 1
    settings = llama_arguments(
        ctx=ctx, threads=threads, gpu_layers=gpu_layers, flash_attn=flash_attn, rpc=rpc
    )
    with captured_log() as lines:
        llama = Llama(model, store=None, **settings)
    others = OtherProcesses()  # from now on, because Llama() may have compiled kernels
    with closing(llama):
        why = llama._plain_because
        if why is not None:
            raise ModelError(
                f"{model} cannot evaluate drafts, so there is nothing to measure: {why}"
            )
        name, conditions = model_name(llama), cost_conditions(llama)
        evaluating = offloading.evaluating(llama)
        target = open_target(llama)
        evaluate = chain_evaluation(llama, target)
        costs = _costs(evaluate, target.max_nodes + 1)
        times = _try_threads(llama, evaluate, thread_counts(cores, threads), progress)
        busy_cores = others.cores()
    proof, bits = _prove(model, costs, settings)
    return Findings(
        file=str(model),
        name=name,
        description=str(conditions["description"]),
        bytes=int(conditions["bytes"]),
        buffers=weight_buffers(lines),
        build=build_name(),
        features=features(conditions["system"]),
        cpu=str(conditions["cpu"]),
        cores=cores,
        gpu=visible_gpu(),
        built_for=built_for(),
        found=[*map(str, offloading.found())],
        devices=[*map(str, evaluating)],
        threads=threads,
        gpu_layers=gpu_layers,
        flash_attn=settings["flash_attn"],
        n_ctx=ctx,
        others=busy_cores,
        costs=costs,
        times=times,
        conditions=conditions,
        proof=proof,
        bit_conditions=bits,
    )


def _prove(
    model: Path, costs: dict[int, float], settings: dict[str, Any]
) -> tuple[Proof, dict[str, Any]]:
    """Prove which widths are exact; returns also what the proof depends on.

    `Llama` opens its context for trees where rows are cheap; one that is exact, or off, opens it
    for chains.
    """
    with closing(Llama(model, drafting="off", store=None, **settings)) as llama:
        proof = prove(llama, open_target(llama), CostCurve(costs), whole=True)
        return proof, proof_conditions(llama)


def _costs(evaluate: Callable[[int], float], most: int) -> dict[int, float]:
    # The widest widths take most of the time, but drafts are mostly narrow: measure those again.
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
        if done >= LEAST_ROUNDS and time.perf_counter() - began > TRY_SECONDS:
            break
        progress(done, ROUNDS)
        for count in counts:
            set_threads(llama, count)
            for width in TRIED:
                evaluate(width)  # starts the threads, and builds the graph for this width
                times[count][width].append(evaluate(width))
    progress(ROUNDS, ROUNDS)
    return times
