"""How a tree lies in one batch: depths and sequence ids, from the parents alone.

llama.cpp evaluates a tree as one sequence per root-to-leaf path; a shared node carries the ids
of all its paths, and the attention mask of a token goes by its *first* id. Leaves are therefore
numbered depth first: the ids of a node are then a contiguous range, and its first id is the one
its whole path carries.

Knows parents. Does not know tokens, nor llama.cpp's API.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aded_edge.arrays import Int32Array

ROOT = -1


@dataclass(frozen=True)
class Layout:
    """Root + nodes as rows of a batch; row 0 is the root, row i + 1 is node i.

    Attributes:
        depths: int32 (rows,), 0 for the root.
        first_leaf: int32 (rows,), the first sequence id of each row.
        leaf_count: int32 (rows,), how many ids follow on from it.
        leaves: how many sequences there are, at least 1.
    """

    depths: Int32Array
    first_leaf: Int32Array
    leaf_count: Int32Array
    leaves: int


def layout(parents: Int32Array) -> Layout:
    """The layout of a tree whose node i has parent parents[i], -1 = root; parents come first."""
    rows = len(parents) + 1
    if rows == 1:
        return _ROOT_ALONE
    if np.array_equal(parents, np.arange(ROOT, len(parents) - 1)):
        zeros = np.zeros(rows, np.int32)
        return Layout(np.arange(rows, dtype=np.int32), zeros, zeros + 1, 1)
    above = [0, *(parents + 1).tolist()]  # rows, not nodes; the root's own is never read
    depths, count, first = [0] * rows, [0] * rows, [0] * rows
    for row in range(1, rows):
        depths[row] = depths[above[row]] + 1
    for row in range(rows - 1, 0, -1):
        count[row] = count[row] or 1
        count[above[row]] += count[row]
    next_free = [0] * rows
    for row in range(1, rows):
        first[row] = next_free[row] = next_free[above[row]]
        next_free[above[row]] += count[row]
    return Layout(
        np.asarray(depths, np.int32),
        np.asarray(first, np.int32),
        np.asarray(count, np.int32),
        count[0],
    )


_ROOT_ALONE = Layout(np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.int32), 1)
