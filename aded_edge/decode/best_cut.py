"""The best cut: which beginning of a draft gives the most expected tokens per second.

Knows probabilities and costs relative to a plain step. Does not know how they are measured, nor
what was lost or won before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Float64Array, Int64Array
from aded_edge.draft.compile import kernel
from aded_edge.draft.tree import ROOT

MARGIN = 1.12
"""A draft must promise this many times the speed of plain decoding, because drafting itself takes
time and the promise is an estimate."""


@kernel
def best_nodes(
    probs: Any,
    parents: Any,
    widths: Any,
    ratios: Any,
    leaf: float,
    allowed: float,
    may_fill: bool,
) -> tuple[int, int, int]:
    """Find the number of nodes with the most expected tokens per second.

    Args:
        probs, parents: float64 and int32 (n,), the draft, likeliest nodes first.
        widths, ratios: int64 and float64 (m,), the widths that may be evaluated and their costs,
            in plain steps.
        leaf: cost of each leaf beyond the first, in plain steps.
        allowed: the most that the draft may be expected to lose, in plain steps.
        may_fill: whether a draft may end between two widths, or be filled up to a wider one.

    Returns:
        The number of nodes, the measured width whose cost they pay, and the number of their leaves
        beyond the first.
    """
    best_nodes = best_branches = 0
    best_width = 1
    best_speed = MARGIN
    tokens = 1.0
    missed = 1.0  # probability that none of the nodes so far is accepted
    branches = place = 0
    has_child = np.zeros(probs.size + 1, np.bool_)  # of the root, then of each node
    most = min(probs.size, widths[-1] - 1)
    for nodes in range(1, most + 1):
        tokens += probs[nodes - 1]
        parent = parents[nodes - 1]
        if parent == ROOT:
            missed -= probs[nodes - 1]
        branches += has_child[parent + 1]
        has_child[parent + 1] = True
        while widths[place] <= nodes:
            place += 1
        # A tree that ends between two measured widths pays for the wider one. A whole draft may
        # also be filled up to any wider one.
        for i in range(place, widths.size if may_fill and nodes == probs.size else place + 1):
            cost = ratios[i] + branches * leaf
            speed = tokens / cost
            better = speed > best_speed or (speed == best_speed and widths[i] == best_width)
            ends = may_fill or widths[i] == nodes + 1
            if better and ends and missed * (cost - 1.0) <= allowed:
                best_speed = speed
                best_nodes, best_width, best_branches = nodes, widths[i], branches
    return best_nodes, best_width, best_branches


def rows_of(rows: int, width: int, widths: Int64Array, ratios: Float64Array) -> int:
    """Rows to evaluate of a draft that has `rows` and pays for a measured width.

    As many as it has, unless the measured width costs less, or they lie where the curve falls: then
    nothing is known of what they cost.
    """
    place = int(np.searchsorted(widths, rows))
    if widths[place] == rows == width:
        return rows
    falls = widths[place] != width or ratios[place] < ratios[place - 1]
    return int(width) if falls else rows
