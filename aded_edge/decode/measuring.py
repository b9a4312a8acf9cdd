"""Measuring a cost curve: chains of each width, what a change of the width costs, and trees.

A few widths are measured before the first answer, all of them for `doctor`. Every figure is the
fastest of several times, because other work of the machine can only add to one.

Knows how evaluations are timed. Does not know llama.cpp, nor what the costs are used for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from aded_edge.arrays import Int32Array

from .cost_curve import WIDTHS, CostCurve

FIRST = (1, 2, 4, 8)
"""Widths that are measured before the first answer: each step of the staircase begins at one."""

THEN = (16, 32, 64, 12, 24, 48, 6, 3, 10, 5, 7, 20)
"""Widths that are measured next, once, as far as the time goes: estimates choose worse."""

BETWEEN = (9, 11, 13, 14, 15)
"""Widths that are measured last, and only where the curve falls somewhere: then the cost of a width
says little about its neighbours'."""

NARROW = 16
"""Widths up to this one are always measured where all are, however long it takes."""

TREES = (8, 16, 32)
"""Widths at which trees are compared with chains."""

DISAGREE = 1.25
"""A measurement is disturbed if width 1 usually took this many times its fastest time."""

_FALLS = 1.05
"""A curve falls where a width costs more than this many times what a wider one costs."""

_STEP_DOWN = 1.4
"""Upper bound for cost(width) / cost(any wider width) of a width that was measured fewer than
_ROUNDS times. A larger ratio means that its measurement was disturbed, or that another kernel
takes the wider batches; only more rounds can tell."""

_ROUNDS = 3
"""The fastest of so many rounds counts."""

_LEAST_TIMES = 6
"""Plain steps that measuring a first width takes, about."""

_CHANGED = 4
"""Width at which the cost of a change is measured. Graphs are built anew whatever the width is."""

_LEAST_CHANGE = 0.02
"""A change that costs less than this share of a plain step cannot be told from noise."""


def measure_first(evaluate: Callable[[int], object], most: int, seconds: float) -> CostCurve:
    """Measure the widths in FIRST, then those in THEN, and estimate the others up to `most`.

    The time is kept however slow the model is: a width is left out if it would take too long, by
    what a narrower one took. On a device that hardly evaluates five rows in that time, only width 1
    is measured. Where the curve falls, doubtful widths are measured again, and those in BETWEEN.

    Args:
        evaluate: evaluates a chain of the given width and waits for the result.
        most: largest width that can be evaluated.
        seconds: time to spend.

    Returns:
        A curve that is marked as disturbed if the times of width 1 disagree, or are too few.
    """
    start = time.perf_counter()
    times = _Times(evaluate)
    first = time.perf_counter() - start
    if _LEAST_TIMES * first > seconds:
        return CostCurve({1: first}, most, disturbed=True)

    def add(widths: tuple[int, ...]) -> None:
        for width in widths:
            if width > most:
                continue
            left = seconds - (time.perf_counter() - start)
            if len(times.by_width) == 1 or times.expected(width) <= left:
                times.add(width)

    add(FIRST[1:] * _ROUNDS)
    add(THEN)
    for _ in range(_ROUNDS - 1):
        add(times.doubtful())
    if times.falls():
        add(BETWEEN)
    if not times.by_width[1]:  # nothing wider can be evaluated
        times.add(1)
    plain = sorted(times.by_width[1])
    disturbed = len(plain) < _ROUNDS or plain[len(plain) // 2] > DISAGREE * plain[0]
    return CostCurve(times.plausible(), most, disturbed)


def measure(
    evaluate: Callable[[int], object], most: int, seconds: float, rounds: int = _ROUNDS
) -> CostCurve:
    """Measure the whole curve in rounds through the widths, until the time is spent.

    A wider evaluation never costs less than a plain one, so lower measurements are raised to it.
    Narrow widths come first and twice as often, because most decisions are about them. Each width
    is measured between plain evaluations, because most drafts lie between plain steps and both
    changes of the width take time.

    Args:
        evaluate: evaluates a chain of the given width and waits for the result.
        most: largest width that can be evaluated.
        seconds: time to spend. Widths up to NARROW are always measured once; on a slow model the
            wider ones may be left out.
        rounds: largest number of rounds.
    """
    times = _Times(evaluate)
    start = time.perf_counter()
    narrow = [width for width in WIDTHS if 1 < width <= min(most, NARROW)]
    wide = [width for width in WIDTHS if NARROW < width <= most]
    for part, widths in enumerate([narrow, narrow, wide] * rounds):
        for width in widths or [1]:
            if part and time.perf_counter() - start > seconds:
                break
            times.add(width)
    return CostCurve(times.plausible())


Pair = tuple[dict[int, float], dict[int, float]]
"""Width -> seconds, measured in two ways in turn."""


def measure_changes(evaluate: Callable[[int], object], most: int, seconds: float) -> Pair | None:
    """Measure a width behind itself, and behind another one.

    Args:
        evaluate: evaluates a chain of the given width and waits for the result.
        most: largest width that can be evaluated.
        seconds: time to spend.

    Returns:
        For width 1 and a wider one: seconds behind itself, and seconds behind the other one. None
        if the time was too short, or there is no wider one.
    """
    start, width = time.perf_counter(), min(_CHANGED, most)
    if width == 1:
        return None
    order = (1, width, width, width, 1, 1, 1)
    rounds: list[list[float]] = []
    longest = _timed(evaluate, 1) * sum(order)
    while len(rounds) < _ROUNDS and time.perf_counter() - start + longest <= seconds:
        rounds.append([_timed(evaluate, w) for w in order])
        longest = sum(rounds[-1])
    if len(rounds) < _ROUNDS - 1:
        return None
    _, wide, wide_second, wide_third, narrow, second, third = np.min(rounds, axis=0).tolist()
    # A backend that records graphs (CUDA) is slow twice: first without one, then recording it.
    changed = {width: wide + wide_second - wide_third, 1: narrow + second - third}
    return {width: wide_third, 1: third}, changed


def change_cost(measured: Pair) -> float:
    """What a change of the width costs, by `measure_changes`, in plain steps; 0 if it is noise."""
    same, changed = measured
    cost = sum(changed[w] - same[w] for w in same) / len(same) / same[1]
    return cost if cost >= _LEAST_CHANGE else 0.0


def measure_trees(
    evaluate: Callable[[Int32Array], object], most: int, most_leaves: int, seconds: float
) -> Pair | None:
    """Measure chains, and trees of the same widths.

    Args:
        evaluate: evaluates a tree, given by its parents, accepts a branch of it, settles, and waits
            for all of it.
        most, most_leaves: bounds of trees that can be evaluated.
        seconds: time to spend.

    Returns:
        By width: seconds of a chain, and of `comb(width, most_leaves)`; both have the seconds of
        a plain step, too. None if the time was too short.
    """
    start = time.perf_counter()
    plain = min(_timed(evaluate, comb(1, 1)) for _ in range(_ROUNDS))
    if time.perf_counter() - start + _LEAST_TIMES * plain > seconds:
        return None
    evaluate(comb(min(TREES[0], most), most_leaves))  # the first tree copies the whole history
    chains, trees = {1: plain}, {1: plain}
    for width in TREES:
        chain, tree = np.arange(-1, width - 2, dtype=np.int32), comb(width, most_leaves)
        times: list[tuple[float, float]] = []
        while width <= most and leaves_of(tree) > 1 and len(times) < _ROUNDS:
            began = time.perf_counter()
            times.append((_timed(evaluate, chain), _timed(evaluate, tree)))
            now = time.perf_counter()
            if now - start + 2 * (now - began) > seconds:
                break
        if len(times) == _ROUNDS:
            chains[width], trees[width] = np.min(times, axis=0).tolist()
    return (chains, trees) if len(trees) > 1 else None


def leaf_cost(measured: Pair, most_leaves: int) -> float:
    """What each leaf beyond the first adds to a step, by `measure_trees`, in plain steps."""
    chains, trees = measured
    added = [
        (trees[width] - chains[width]) / (leaves_of(comb(width, most_leaves)) - 1)
        for width in trees
        if width > 1
    ]
    return max(median(added), 0.0) / chains[1]


def comb(width: int, most_leaves: int) -> Int32Array:
    """Parents of a tree of this many rows: a chain with a second child at each of its nodes.

    Args:
        width: rows, the root included.
        most_leaves: nodes beyond this number of leaves extend the chain.
    """
    parents, end, leaves = [], -1, 1
    for node in range(width - 1):
        parents.append(end)
        if node % 2 == 0 and leaves < most_leaves and node + 1 < width - 1:
            leaves += 1  # the next node is its sibling
        else:
            end = node if node % 2 == 0 or leaves >= most_leaves else node - 1
    return np.asarray(parents, np.int32)


def leaves_of(parents: Int32Array) -> int:
    """Number of root-to-leaf paths of a tree, given by its parents; 1 for the root alone."""
    return max(len(parents) - len(set(parents.tolist()) - {-1}), 1)


class _Times:
    """Seconds of evaluations, by width.

    Args:
        evaluate: evaluates a chain of the given width and waits for the result.

    Attributes:
        by_width: width -> seconds of each evaluation.
    """

    def __init__(self, evaluate: Callable[[int], object]) -> None:
        self._evaluate = evaluate
        evaluate(1)  # not timed: the first evaluation of a context allocates memory
        self.by_width: dict[int, list[float]] = {1: []}

    def add(self, width: int) -> None:
        """Time an evaluation of this width between two plain ones."""
        self._evaluate(1)
        self.by_width[1].append(_timed(self._evaluate, 1))
        pair = _timed(self._evaluate, width) + _timed(self._evaluate, 1)
        self.by_width.setdefault(width, []).append(max(pair - self.fastest(1), pair / 2))

    def expected(self, width: int) -> float:
        """Return the seconds that `add` will take, about."""
        before = max(w for w in self.by_width if w <= width)
        return 3 * self.fastest(1) + self.fastest(before) * width / before

    def fastest(self, width: int) -> float:
        """Return the least seconds of this width."""
        return min(self.by_width[width])

    def doubtful(self) -> tuple[int, ...]:
        """Return the widths whose cost seems too high beside a wider one's, and was timed once."""
        found, wider = [], float("inf")
        for width in sorted(filter(self.by_width.get, self.by_width), reverse=True):
            if len(self.by_width[width]) < _ROUNDS and self.fastest(width) > _FALLS * wider:
                found.append(width)
            wider = min(wider, self.fastest(width))
        return tuple(found)

    def falls(self) -> bool:
        """Return whether a width costs more than a wider one."""
        costs = [self.fastest(width) for width in sorted(self.by_width) if self.by_width[width]]
        return any(cost > _FALLS * min(costs[i:]) for i, cost in enumerate(costs))

    def plausible(self) -> dict[int, float]:
        """Return width -> least seconds; one that was timed too seldom is bounded by wider ones."""
        curve, wider = {}, float("inf")
        for width in sorted(self.by_width, reverse=True):
            seldom = len(self.by_width[width]) < _ROUNDS
            cost = self.fastest(width)
            curve[width] = min(cost, _STEP_DOWN * wider) if seldom else cost
            wider = min(wider, curve[width])
        return {width: max(cost, curve[1]) for width, cost in curve.items()}


def _timed(evaluate: Callable[..., object], what: object) -> float:
    began = time.perf_counter()
    evaluate(what)
    return time.perf_counter() - began
