"""The costs of a model on this machine: from the store, or measured once.

Several kinds are kept, each under a key of its own: chains between plain steps (the cost curve),
what a width takes behind itself and behind another one, and trees beside chains. What a change of
the width and a leaf cost follows from these.

Knows how an evaluation is timed and where costs are kept. Does not know what they decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.decode.candidates import CANDIDATES, top_candidates
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.measuring import (
    Pair,
    change_cost,
    leaf_cost,
    measure,
    measure_changes,
    measure_first,
    measure_trees,
)
from aded_edge.draft.tree import ROOT
from aded_edge.llamacpp import offloading
from aded_edge.llamacpp.context import last_logits
from aded_edge.llamacpp.fingerprint import cost_conditions, cost_key
from aded_edge.llamacpp.recurrent import open_target
from aded_edge.llamacpp.target import MAX_WIDTH, LlamaTarget

from .persistence import Persistence

if TYPE_CHECKING:
    import llama_cpp

log = logging.getLogger("aded_edge")

MEASURE_SECONDS = 2.0
"""The most time to spend on measuring costs before the first answer."""

ALL_SECONDS = 4.0
"""Time to spend on measuring all widths, about."""

CHAIN_SHARE = 0.8
"""Share of MEASURE_SECONDS for the curve of chains; the rest is for a change of the width."""

KEEP_AFTER = 500
"""Observed steps from which on a curve is saved when the model is closed."""

MEASURED_HISTORY = 128
"""Tokens in the KV cache while costs are measured; with an empty one they would be too low."""

_PIECE = 16
"""Tokens of that history that are evaluated at once, so that a slow device can stop early."""


_PLAIN_TIMES = 40
"""Plain steps that measuring a change of the width, or a tree, takes about. Where this is too long,
both are a small share of a step."""

CANDIDATES_GAIN = 0.01
"""What learning the target's other candidates brings where rows are cheap (replay, NOTES.md)."""

ROWS_PER_TOKEN = 4
"""Rows that are evaluated for each token where rows are cheap, about."""


def load_or_measure(
    llama: llama_cpp.Llama, target: LlamaTarget, persistence: Persistence | None
) -> CostCurve:
    """Load the costs of this model, machine and settings; measure and save them if unknown.

    Args:
        llama: the model; its history is empty before and afterwards.
        target: works on the context of the model.
        persistence: where costs are kept, None for nowhere.

    Returns:
        The curve of chains, with the cost of a change of the width.
    """
    began = time.perf_counter()
    most = target.max_nodes + 1
    known, changes = _load(llama, persistence), _load_pair(llama, persistence, _CHANGES)
    if known is not None and (changes is not None or _PLAIN_TIMES * known[1] > MEASURE_SECONDS):
        curve = CostCurve(known, most)
        curve.switch = _switch(curve, changes)
        return curve
    log.info("measuring the costs of evaluations on this machine (once, at most two seconds) ...")
    evaluate = chain_evaluation(llama, target, MEASURE_SECONDS / 4)
    if known is not None:
        curve = CostCurve(known, most)
    else:
        left = CHAIN_SHARE * MEASURE_SECONDS - (time.perf_counter() - began)
        curve = measure_first(evaluate, most, left)
        if not curve.disturbed:
            _save(llama, curve.seconds(), persistence)
    if not curve.disturbed:
        left = MEASURE_SECONDS - (time.perf_counter() - began)
        changes = measure_changes(evaluate, most, left)
        curve.switch = _switch(curve, changes)
        if changes is not None:
            _save_pair(llama, changes, persistence, _CHANGES)
    llama.reset()
    target.truncate(0)
    return curve


def load_or_measure_trees(
    llama: llama_cpp.Llama,
    target: LlamaTarget,
    curve: CostCurve,
    persistence: Persistence | None,
    seconds: float,
) -> bool:
    """Load or measure what trees cost, and write what a leaf costs into the curve.

    Args:
        llama: the model, whose context is open for trees; its history is empty before and
            afterwards.
        target: works on the context of the model.
        curve: the costs of chains.
        persistence: where costs are kept, None for nowhere.
        seconds: time to spend.

    Returns:
        False if the time was too short: then the cost is not known.
    """
    began = time.perf_counter()
    # llama.cpp walks through all cells of the context: what a leaf costs depends on their number.
    kinds = tuple(f"{kind} {llama._n_ctx}" for kind in _TREES)
    leaves = int(llama.context_params.n_seq_max)
    trees = _load_pair(llama, persistence, kinds)
    if trees is None and _PLAIN_TIMES * curve.scale <= seconds:
        evaluate = tree_evaluation(llama, target, seconds / 4)
        left = seconds - (time.perf_counter() - began)
        trees = measure_trees(evaluate, target.max_nodes + 1, leaves, left)
        llama.reset()
        target.truncate(0)
        if trees is not None and not curve.disturbed:
            _save_pair(llama, trees, persistence, kinds)
    if trees is None:
        return False
    curve.leaf = leaf_cost(trees, leaves)
    return True


def candidates_pay(curve: CostCurve, n_vocab: int) -> bool:
    """Whether finding the target's likeliest tokens takes less time than they save.

    Args:
        curve: the costs of a context where rows are cheap.
        n_vocab: size of the vocabulary.
    """
    logits = np.random.default_rng(0).standard_normal((1, n_vocab), np.float32)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        top_candidates(logits, CANDIDATES)
        times.append(time.perf_counter() - began)
    return ROWS_PER_TOKEN * min(times) <= CANDIDATES_GAIN * curve.scale


def _believable(kept: dict[int, float]) -> dict[int, float]:
    """Kept costs, within what any machine shows: what was kept may be wrong.

    Several rows take no less time than one, and no more than twice that of each alone. Within these
    bounds probes and drafts soon correct a cost.
    """
    return {w: min(max(cost, kept[1]), 2 * w * kept[1]) for w, cost in kept.items()}


def compile_kernels(
    llama: llama_cpp.Llama, target: LlamaTarget, persistence: Persistence | None
) -> None:
    """Let a device compile its kernels, unless the costs are known.

    It compiles a kernel when it first needs it, which can take seconds. The first answer would wait
    for these kernels anyway, so their time is not part of the measurement.
    """
    if not offloading.evaluating(llama) or _load(llama, persistence) is not None:
        return
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
    target = open_target(llama)
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
    tokens, length = _history(llama, seconds)
    chain = np.arange(-1, MAX_WIDTH, dtype=np.int32)
    held = len(target.history)
    target.mark()

    def evaluate(width: int) -> float:
        began = time.perf_counter()
        target.evaluate(int(tokens[0]), tokens[length : length + width - 1], chain[: width - 1])
        target.advance(0)
        target.settle()  # drops all but the root, as the step of a rejected draft does
        seconds = time.perf_counter() - began
        target.rewind(held)
        target.bring_back()
        return seconds

    return evaluate


def tree_evaluation(
    llama: llama_cpp.Llama, target: LlamaTarget, seconds: float
) -> Callable[[Int32Array], None]:
    """A function that evaluates a tree, given by its parents, and accepts two tokens of it.

    The second one is the root's last child: its branch has to become the history. The next call
    has to give these cells to all sequences, as the next step would. The history grows, up to
    MAX_WIDTH tokens, and is then cut back.
    """
    tokens, length = _history(llama, seconds)

    def evaluate(parents: Int32Array) -> None:
        if target.max_nodes < MAX_WIDTH or len(target.history) > length + MAX_WIDTH:
            target.rewind(min(length, len(target.history)))
        target.evaluate(int(tokens[0]), tokens[length : length + len(parents)], parents)
        target.advance(0)
        children = np.flatnonzero(parents == ROOT)
        if children.size:
            target.advance(int(children[-1]) + 1)
        target.settle()

    return evaluate


def _history(llama: llama_cpp.Llama, seconds: float) -> tuple[Int32Array, int]:
    """Evaluate a history; returns random tokens, which begin with it, and its length."""
    length = min(MEASURED_HISTORY, llama._n_ctx // 4)  # n_ctx() is rounded up by llama.cpp
    tokens = np.random.default_rng(0).integers(0, llama.n_vocab(), length + MAX_WIDTH, np.int32)
    began = time.perf_counter()
    for start in range(0, length, _PIECE):
        llama.eval(tokens[start : min(start + _PIECE, length)].tolist())
        last_logits(llama)  # waits for a device, which works on when `eval` has returned
        if time.perf_counter() - began > seconds:
            break
    return tokens, length


def _switch(curve: CostCurve, changes: Pair | None) -> float:
    """What a change of the width costs; behind itself, a width costs no less than a plain step."""
    if changes is None:
        return 0.0
    return min(change_cost(changes), max(curve.ratio(2) - 1.0, 0.0) / 2)


_CHANGES = (" behind itself", " behind another")
"""What follows the curve's key for a width behind itself, and behind another one."""

_TREES = (" chains", " trees")
"""The same for chains and trees in a context for trees; the context's size follows."""


def _load(
    llama: llama_cpp.Llama, persistence: Persistence | None, kind: str = ""
) -> dict[int, float] | None:
    if persistence is None:
        return None
    known = persistence.load_costs(cost_key(cost_conditions(llama)) + kind)
    return _believable(known) if known is not None and 1 in known else None


def _save(
    llama: llama_cpp.Llama,
    seconds: dict[int, float],
    persistence: Persistence | None,
    kind: str = "",
) -> None:
    if persistence is not None:
        conditions = cost_conditions(llama)
        persistence.save_costs(cost_key(conditions) + kind, seconds, conditions)


def _load_pair(
    llama: llama_cpp.Llama, persistence: Persistence | None, kinds: tuple[str, ...]
) -> Pair | None:
    one, other = (_load(llama, persistence, kind) for kind in kinds)
    if one is None or other is None or one.keys() != other.keys() or len(one) == 1:
        return None
    return one, other


def _save_pair(
    llama: llama_cpp.Llama,
    measured: Pair,
    persistence: Persistence | None,
    kinds: tuple[str, ...],
) -> None:
    for seconds, kind in zip(measured, kinds, strict=True):
        _save(llama, seconds, persistence, kind)
