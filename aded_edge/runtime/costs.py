"""The cost curve of a model on this machine: from the store, or measured once.

Knows how an evaluation is timed and where curves are kept. Does not know what the costs decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from aded_edge.decode.cost_curve import CostCurve, measure, measure_first
from aded_edge.llamacpp.context import last_logits
from aded_edge.llamacpp.fingerprint import cost_conditions, cost_key
from aded_edge.llamacpp.target import MAX_WIDTH, LlamaTarget

from .persistence import Persistence

if TYPE_CHECKING:
    import llama_cpp

log = logging.getLogger("aded_edge")

MEASURE_SECONDS = 2.0
"""The most time to spend on measuring costs before the first answer."""

ALL_SECONDS = 4.0
"""Time to spend on measuring all widths, about."""

KEEP_AFTER = 500
"""Observed steps from which on a curve is saved when the model is closed."""

MEASURED_HISTORY = 128
"""Tokens in the KV cache while costs are measured; with an empty one they would be too low."""

_PIECE = 16
"""Tokens of that history that are evaluated at once, so that a slow device can stop early."""


def load_or_measure(
    llama: llama_cpp.Llama, target: LlamaTarget, persistence: Persistence | None
) -> CostCurve:
    """Load the cost curve of this model, machine and settings; measure and save it if unknown.

    Args:
        llama: the model; its history is empty before and afterwards.
        target: works on the context of the model.
        persistence: where curves are kept, None for nowhere.
    """
    if persistence is not None:
        known = persistence.load_costs(cost_key(cost_conditions(llama)))
        if known is not None and 1 in known:
            return CostCurve(known, target.max_nodes + 1)
    log.info("measuring the costs of evaluations on this machine (once, at most two seconds) ...")
    compile_kernels(llama, target)
    began = time.perf_counter()
    evaluate = chain_evaluation(llama, target, MEASURE_SECONDS / 4)
    left = MEASURE_SECONDS - (time.perf_counter() - began)
    curve = measure_first(evaluate, target.max_nodes + 1, left)
    llama.reset()
    target.truncate(0)
    if not curve.disturbed:
        _save(llama, curve.seconds(), persistence)
    return curve


def compile_kernels(llama: llama_cpp.Llama, target: LlamaTarget) -> None:
    """Evaluate one row, and several where that is fast, so that a device compiles its kernels.

    It compiles a kernel when it first needs it, which can take seconds. The first answer would wait
    for these kernels anyway, so their time is not part of the measurement.
    """
    rows = min(_PIECE, target.max_nodes + 1)
    tokens = np.random.default_rng(0).integers(0, llama.n_vocab(), rows, np.int32)

    def evaluate(width: int) -> None:
        target.evaluate(int(tokens[0]), tokens[1:width], np.arange(-1, width - 2, dtype=np.int32))
        target.settle()

    evaluate(1)
    began = time.perf_counter()
    evaluate(1)
    if rows * (time.perf_counter() - began) <= MEASURE_SECONDS:
        evaluate(rows)


def measure_all(llama: llama_cpp.Llama) -> dict[int, float]:
    """Measure all widths that the context can evaluate, in about ALL_SECONDS.

    Returns:
        Width -> seconds of one evaluation. The history is empty afterwards.
    """
    target = LlamaTarget(llama)
    curve = measure(chain_evaluation(llama, target), target.max_nodes + 1, ALL_SECONDS)
    llama.reset()
    target.truncate(0)
    return curve.seconds()


def save_observed(
    llama: llama_cpp.Llama, curve: CostCurve, persistence: Persistence | None
) -> None:
    """Save a curve with what its steps showed, if there were enough of them."""
    if curve.observed >= KEEP_AFTER:
        _save(llama, curve.settled(), persistence)


def chain_evaluation(
    llama: llama_cpp.Llama, target: LlamaTarget, seconds: float = float("inf")
) -> Callable[[int], float]:
    """A function that evaluates a chain of a given width after some history.

    The history is evaluated here: MEASURED_HISTORY random tokens, or a quarter of a small context,
    or as many as the given seconds allow.

    Returns:
        width -> seconds that the evaluation took. The history stays as it is.
    """
    length = min(MEASURED_HISTORY, llama._n_ctx // 4)  # n_ctx() is rounded up by llama.cpp
    tokens = np.random.default_rng(0).integers(0, llama.n_vocab(), length + MAX_WIDTH, np.int32)
    chain = np.arange(-1, MAX_WIDTH, dtype=np.int32)
    began = time.perf_counter()
    for start in range(0, length, _PIECE):
        llama.eval(tokens[start : min(start + _PIECE, length)].tolist())
        last_logits(llama)  # waits for a device, which works on when `eval` has returned
        if time.perf_counter() - began > seconds:
            break

    def evaluate(width: int) -> float:
        began = time.perf_counter()
        target.evaluate(int(tokens[0]), tokens[length : length + width - 1], chain[: width - 1])
        target.settle()
        return time.perf_counter() - began

    return evaluate


def _save(
    llama: llama_cpp.Llama, seconds: dict[int, float], persistence: Persistence | None
) -> None:
    if persistence is not None:
        conditions = cost_conditions(llama)
        persistence.save_costs(cost_key(conditions), seconds, conditions)
