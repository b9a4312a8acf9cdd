"""What follows from the costs of a model: what drafting can bring, and what would help.

Knows findings. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from aded_edge.bench.oracle import oracle_seconds

from .examine import TRIED, Findings, Times

ACCEPTANCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of drafted tokens that the model confirms, of which the best width is told."""

ANSWERS = (16, 64, 192)
"""Lengths of answers of which the oracle is told."""

BETTER = 1.05
"""Less than this is no reason for advice."""


def chain_tokens(acceptance: float, width: int) -> float:
    """Tokens that an evaluation of a chain emits, if each token is confirmed with `acceptance`."""
    return sum(acceptance**depth for depth in range(width))


def best_width(costs: Mapping[int, float], acceptance: float) -> tuple[int, float]:
    """The width with the most tokens per second, and its speed over plain decoding."""
    speeds = {w: chain_tokens(acceptance, w) * costs[1] / cost for w, cost in costs.items()}
    width = max(speeds, key=lambda w: (speeds[w], -w))
    return width, speeds[width]


def break_even(costs: Mapping[int, float], width: int) -> float | None:
    """The least acceptance at which this width is no slower than plain; None if there is none."""
    ratio = costs[width] / costs[1]
    if ratio > width:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if chain_tokens(middle, width) >= ratio else (middle, high)
    return high


def oracle_speed(costs: Mapping[int, float], tokens: int) -> float:
    """What a drafter that knows the future would reach, over plain decoding."""
    return tokens * costs[1] / oracle_seconds(costs, tokens)


def fastest_threads(times: Times, current: int, width: int) -> tuple[int, float]:
    """The best number of threads and how much faster than the present one, round against round."""
    present = times[current][width]
    speeds = {
        count: median(now / other for now, other in zip(present, of[width], strict=True))
        for count, of in times.items()
    }
    count = max(speeds, key=lambda c: speeds[c])
    return (count, speeds[count]) if speeds[count] > BETTER else (current, 1.0)


def advice(findings: Findings) -> list[str]:
    """What would help, a sentence or two each; mostly nothing."""
    checks = (_busy, _threads, _quantisation, _gpu)
    return [text for check in checks if (text := check(findings))]


def _busy(f: Findings) -> str | None:
    if not f.busy:
        return None
    return (
        f"The machine was busy: others used {f.others:.1f} of {f.cores} cores, and an evaluation "
        f"usually took {f.spread:.2f} times its fastest. These figures may be wrong: close what "
        "computes, and run this once more."
    )


def _threads(f: Findings) -> str | None:
    if f.busy:
        return None
    found = {width: fastest_threads(f.times, f.threads, width) for width in TRIED}
    better = [
        f"width {width} is {speed:.2f} times as fast with {count} threads"
        for width, (count, speed) in found.items()
        if count != f.threads
    ]
    if not better:
        return None
    single, batch = (found[width][0] for width in TRIED)
    setting = f"--threads {single}, or " if single == batch else ""
    return (
        f"With {f.threads} threads now, {' and '.join(better)}: {setting}in Python "
        f"n_threads={single}, n_threads_batch={batch}."
    )


def _quantisation(f: Findings) -> str | None:
    cpu = f.features.get("CPU", [])
    fits = "REPACK" in cpu and ("AVX2" in cpu or {"NEON", "DOTPROD"} <= set(cpu))
    steep = f.ratios.get(2, 1.0) > 1.5
    if not fits or not steep or f.batched > 0.25 or not f.buffers:
        return None
    return (
        f"Two rows cost {f.ratios[2]:.1f} times one: llama.cpp has no batch kernels for most of "
        "these weights on this CPU, as it has for Q4_0. A Q4_0 file, or one made by "
        "scripts/requantise.py MODEL OUT, should be faster, most of all in wide evaluations. Its "
        "answers differ a little."
    )


def _gpu(f: Findings) -> str | None:
    if f.gpu is None or (f.gpu_build and f.gpu_layers != 0):
        return None
    if f.gpu_build:
        return "The model ran on the CPU and a GPU is there: try --gpu-layers -1."
    return (
        f"A GPU is there and this llama.cpp was built without it: "
        f'CMAKE_ARGS="-DGGML_{f.gpu.upper()}=on" scripts/chat builds it anew.'
    )
