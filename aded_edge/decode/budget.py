"""The budget: how many draft nodes are worth their evaluation.

`CostCurve` knows what an evaluation costs by width on this machine, as measured, and follows it
from the steps themselves. `Budget` cuts a draft at the width with the most expected tokens per
second; zero nodes is a normal answer.

Does not know tokens, nor where the probabilities come from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from ..draft.kernel import kernel
from ..draft.tree import DraftTree

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""Widths that are measured. Only these are chosen: between them nothing is guessed."""

MARGIN = 1.02
"""A draft must promise this much over plain decoding: what drafting itself costs, and doubt."""

_STEP_DOWN = 1.4
"""The most that a width can cost in terms of a wider one; 1.25 was seen."""

_SCALE_RATE = 0.05
_RATIO_RATE = 0.02
_FORGETTING = 0.001
_SURPRISE = 0.25
"""A step's surprise (log seconds) counts at most this much, so that one hiccup changes little."""


class CostCurve:
    """Measured seconds of one evaluation, by width.

    Kept as the machine's speed now (`scale`, seconds at width 1) and the staircase relative to
    it. Another process or a hot chip slows all widths alike, and that must not look like a
    change of the staircase, which alone decides how wide to draft.

    Args:
        seconds: width -> seconds; width 1 is required.

    Attributes:
        scale: seconds of one evaluation of width 1.
        widths: int64 (n,), rising.
        ratios: float64 (n,), cost relative to width 1.
    """

    def __init__(self, seconds: Mapping[int, float]) -> None:
        if 1 not in seconds or any(s <= 0 for s in seconds.values()):
            raise ValueError(f"a cost curve needs positive seconds and a width 1: {dict(seconds)}")
        self.scale = float(seconds[1])
        self.widths = np.asarray(sorted(seconds), np.int64)
        self.ratios = np.asarray([seconds[w] / self.scale for w in sorted(seconds)], np.float64)
        self._measured = self.ratios.copy()
        self._places = {int(w): place for place, w in enumerate(self.widths)}

    def seconds(self) -> dict[int, float]:
        """Width -> seconds, as it stands now."""
        return {width: self.scale * float(self.ratios[i]) for width, i in self._places.items()}

    def observe(self, width: int, seconds: float) -> None:
        """A step of this width took so long. Unmeasured widths teach nothing."""
        place = self._places.get(width)
        if place is None or seconds <= 0:
            return
        surprise = float(np.log(seconds / (self.scale * self.ratios[place])))
        surprise = min(max(surprise, -_SURPRISE), _SURPRISE)
        self.scale *= float(np.exp(_SCALE_RATE * surprise))
        # What a slow phase did to one width would keep that width from ever being tried again,
        # so all of them forget it slowly.
        self.ratios += _FORGETTING * (self._measured - self.ratios)
        if width > 1:
            self.ratios[place] *= float(np.exp(_RATIO_RATE * surprise))


def measure(
    evaluate: Callable[[int], object], most: int, seconds: float, rounds: int = 5
) -> CostCurve:
    """Measures the curve in rounds through all widths, until the time is spent.

    The fastest round counts: whatever else the machine does can only add to a time. A wider
    evaluation never costs less than a plain one, so neither does the curve say so.

    Args:
        evaluate: evaluates a chain of the given width and waits for the result.
        most: the widest evaluation possible.
        seconds: time to spend. Widths up to 8 are always measured once; on a slow model the
            wider ones may be left out.
        rounds: the most rounds.
    """
    times: dict[int, list[float]] = {}
    evaluate(1)  # the first evaluation of a context allocates
    start = time.perf_counter()
    for _ in range(rounds):
        for width in (w for w in WIDTHS if w <= most):
            evaluate(width) if not times.get(width) else None  # graphs are built per width
            began = time.perf_counter()
            evaluate(width)
            times.setdefault(width, []).append(time.perf_counter() - began)
            spent = time.perf_counter() - start
            if spent > seconds and width >= 8:
                break
        if time.perf_counter() - start > seconds:
            break
    return CostCurve(_plausible({width: min(t) for width, t in times.items()}))


def _plausible(fastest: dict[int, float]) -> dict[int, float]:
    # Kernels take rows in groups, so a wider batch can cost a little less, but not half: such a
    # step down means that the narrower one was disturbed in every round.
    curve, wider = {}, float("inf")
    for width in sorted(fastest, reverse=True):
        curve[width] = min(fastest[width], _STEP_DOWN * wider)
        wider = min(wider, curve[width])
    return {width: max(cost, curve[1]) for width, cost in curve.items()}


@kernel
def _best_nodes(probs: Any, widths: Any, ratios: Any) -> int:
    best_nodes = 0
    best_speed = MARGIN
    tokens = 1.0
    nodes = 0
    for i in range(widths.size):
        # A tree that ends between two measured widths pays for the wider one.
        while nodes < min(widths[i] - 1, probs.size):
            tokens += probs[nodes]
            nodes += 1
        speed = tokens / ratios[i]
        if speed > best_speed:
            best_speed = speed
            best_nodes = nodes
        if nodes == probs.size:
            break
    return best_nodes


class Budget(Protocol):
    """What the loop needs of a budget."""

    @property
    def most_nodes(self) -> int:
        """The largest draft that is worth searching for."""
        ...

    @property
    def plain_seconds(self) -> float:
        """What a plain step costs now, 0 if that is not known."""
        ...

    def cut(self, tree: DraftTree) -> DraftTree:
        """The part of the draft that is worth evaluating."""
        ...

    def observe(self, width: int, seconds: float) -> None:
        """An evaluation of this width took so long."""
        ...


class CostBudget:
    """Cuts a draft where expected tokens per second are highest."""

    def __init__(self, curve: CostCurve) -> None:
        self.curve = curve

    @property
    def most_nodes(self) -> int:
        """One less than the widest width measured."""
        return int(self.curve.widths[-1]) - 1

    @property
    def plain_seconds(self) -> float:
        """Cost of width 1."""
        return self.curve.scale

    def cut(self, tree: DraftTree) -> DraftTree:
        """max over n of (1 + sum of the first n acceptances) / cost(n + 1)."""
        return tree.prefix(_best_nodes(tree.probs, self.curve.widths, self.curve.ratios))

    def observe(self, width: int, seconds: float) -> None:
        """Keeps the curve up to date."""
        self.curve.observe(width, seconds)


class FixedBudget:
    """Takes every draft whole, whatever it costs: the paper's setting."""

    def __init__(self, most_nodes: int, plain_seconds: float = 0.0) -> None:
        self._most = most_nodes
        self.plain_seconds = plain_seconds

    @property
    def most_nodes(self) -> int:
        """As given."""
        return self._most

    def cut(self, tree: DraftTree) -> DraftTree:
        """The tree itself."""
        return tree

    def observe(self, width: int, seconds: float) -> None:
        """Nothing to learn."""
