"""A budget that counts with a cost curve of its own, so that its decisions do not depend on time.

Knows widths and costs. Does not know what is decoded.
"""

from __future__ import annotations

from aded_edge.decode.budget import CostBudget
from aded_edge.decode.cost_curve import CostCurve

COSTS = {1: 1.0, 2: 1.15, 4: 1.5, 8: 2.2, 16: 3.6}
"""Width -> cost of an evaluation, as on a CPU with few cores."""

MILLISECONDS = 0.01
"""Seconds of a plain step, as the budget is told."""


class ModelledBudget(CostBudget):
    """`CostBudget` that is told the same cost of a width each time.

    Args:
        forged: it begins with a curve that says that no width costs anything.

    Attributes:
        history: (cost, tokens emitted) of each step since `forget`.
    """

    def __init__(self, forged: bool = False) -> None:
        kept = dict.fromkeys(COSTS, 1.0) if forged else COSTS
        super().__init__(CostCurve({width: MILLISECONDS * cost for width, cost in kept.items()}))
        self._model = CostCurve(COSTS)
        self.history: list[tuple[float, int]] = []

    def observe(self, width: int, seconds: float) -> None:
        """Observe the modelled seconds instead of those that the step took."""
        super().observe(width, MILLISECONDS * self._model.ratio(width))

    def settle(self, width: int, emitted: int) -> None:
        """Also note the step."""
        super().settle(width, emitted)
        self.history.append((self._model.ratio(width), emitted))

    def forget(self) -> None:
        """Forget the steps that were noted."""
        self.history.clear()
