"""Conclusions from the costs of a model: what drafting can bring, and what would make it faster.

Knows findings. Does not measure, nor print.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from aded_edge.bench.oracle import oracle_seconds

from .examine import TRIED, Findings, Times

ACCEPTANCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of draft tokens that are confirmed, for which the report has the best width."""

ANSWERS = (16, 64, 192)
"""Lengths of answers, in tokens, for which the report has the oracle's speed."""

BETTER = 1.05
"""Another number of threads is advised if it is more than this many times as fast."""

STEEP = 1.5
"""Cost of width 2, in units of width 1, above which another quantisation is advised."""

MOSTLY_BATCHED = 0.25
"""Share of the weights with batch kernels above which no other quantisation is advised."""


def chain_tokens(acceptance: float, width: int) -> float:
    """Compute the expected tokens of one evaluation of a chain of drafted tokens.

    Args:
        acceptance: probability that a draft token is confirmed if the ones before it are.
        width: tokens of the evaluation, the root included.
    """
    return sum(acceptance**depth for depth in range(width))


def best_width(costs: Mapping[int, float], acceptance: float) -> tuple[int, float]:
    """Find the width with the most tokens per second.

    Args:
        costs: width -> cost of one evaluation.
        acceptance: probability that a draft token is confirmed.

    Returns:
        The width, and its speed in units of plain decoding.
    """
    speeds = {w: chain_tokens(acceptance, w) * costs[1] / cost for w, cost in costs.items()}
    width = max(speeds, key=lambda w: (speeds[w], -w))
    return width, speeds[width]


def break_even(costs: Mapping[int, float], width: int) -> float | None:
    """Find the least acceptance at which a width is as fast as plain decoding.

    Returns:
        The acceptance, or None if the width is slower even when every token is confirmed.
    """
    ratio = costs[width] / costs[1]
    if ratio > width:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):  # bisection: chain_tokens grows with the acceptance
        middle = (low + high) / 2
        low, high = (low, middle) if chain_tokens(middle, width) >= ratio else (middle, high)
    return high


def oracle_speed(costs: Mapping[int, float], tokens: int) -> float:
    """Compute the oracle's speed for an answer of this length, in units of plain decoding."""
    return tokens * costs[1] / oracle_seconds(costs, tokens)


def fastest_threads(times: Times, current: int, width: int) -> tuple[int, float]:
    """Find the number of threads with the fastest evaluations of a width.

    Each round is compared with the same round of the current number, because the machine may slow
    down between rounds.

    Returns:
        The number of threads, and its speed in units of the current one's: the current number and
        1.0 if no other is more than BETTER times as fast.
    """
    present = times[current][width]
    speeds = {
        count: median(now / other for now, other in zip(present, of[width], strict=True))
        for count, of in times.items()
    }
    count = max(speeds, key=lambda c: speeds[c])
    return (count, speeds[count]) if speeds[count] > BETTER else (current, 1.0)


def exactness(f: Findings) -> str:
    """Say which widths `exact` may draft in, and what may allow more, at which price."""
    widths = ", ".join(map(str, f.proved))
    tried = {width for found in f.proof.values() for width in found}
    text = f"exact drafts in widths {widths} here." if widths else "exact decodes plainly here."
    if tried <= set(f.proved):
        return text
    if f.flash_attn:
        text += " More widths may be identical without flash attention."
    if f.llamafile:
        text += (
            " More may be with flash attention and a KV cache in Q8_0 (in Python flash_attn=True, "
            "type_k=8, type_v=8) or with one thread, and in a build without llamafile: "
            'CMAKE_ARGS="-DGGML_LLAMAFILE=OFF" '
            "scripts/chat (with pip: install --force-reinstall --no-binary llama-cpp-python). Its "
            "price: prompts are read at down to half the speed where tensors are Q5_0, Q8_0, F16 "
            "or BF16 (Gemma-3-270M Q4_K_M: 293 instead of 654 tokens/s); others as fast."
        )
    return text


def advice(findings: Findings) -> list[str]:
    """Return what would make the model faster here, one or two sentences each; often nothing."""
    checks = (_busy, _threads, _quantisation, _gpu)
    return [text for check in checks if (text := check(findings))]


def _busy(f: Findings) -> str | None:
    if not f.busy:
        return None
    return (
        f"The machine was busy: others used {f.others:.1f} of {f.cores} cores, and the median "
        f"evaluation took {f.spread:.2f} times the fastest. These figures may be wrong: close "
        "other programs that compute, and run this again."
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
    steep = f.ratios.get(2, 1.0) > STEEP
    if not fits or not steep or f.batched > MOSTLY_BATCHED or not f.buffers:
        return None
    return (
        f"Two rows cost {f.ratios[2]:.1f} times one: on this CPU llama.cpp has no batch kernels "
        "for most of these weights, but it has some for Q4_0. A Q4_0 file, or one made by "
        "scripts/requantise.py MODEL OUT, should be faster, most of all in wide evaluations. Its "
        "answers differ a little."
    )


def _gpu(f: Findings) -> str | None:
    if f.gpu is None or f.devices:
        return None
    if f.found:
        return "This machine has a GPU, but the model ran on the CPU: try --gpu-layers -1."
    if f.gpu.lower() in f.built_for:
        return (
            f"This machine has a GPU, but this llama.cpp, which was built for {f.gpu}, finds no "
            "device: see whether the GPU's driver is loaded and new enough (nvidia-smi)."
        )
    return (
        f"This machine has a GPU, but this llama.cpp was built without support for it: "
        f'CMAKE_ARGS="-DGGML_{f.gpu.upper()}=on" scripts/chat builds it anew.'
    )
