"""Where each token of a tree goes in a batch: depths and sequence ids, from the parents alone.

llama.cpp evaluates a tree as one sequence for each root-to-leaf path. A node that several paths
share carries the ids of all of them, and the attention mask of a token is decided by its *first*
id. Leaves are numbered depth first, so the ids of a node form a contiguous range, and every node
on the path to it carries its first id.

Knows parents. Does not know tokens or llama.cpp's API.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aded_edge.arrays import Int32Array

ROOT = -1
"""The parent of a node that follows the root directly."""


@dataclass(frozen=True)
class Layout:
    """A root and its nodes as rows of a batch: row 0 is the root, row i + 1 is node i.

    Attributes:
        depths: int32 (rows,), distance from the root; 0 for the root itself.
        first_leaf: int32 (rows,), the first sequence id of each row.
        leaf_count: int32 (rows,), how many consecutive ids each row has.
        leaves: number of sequences, at least 1.
    """

    depths: Int32Array
    first_leaf: Int32Array
    leaf_count: Int32Array
    leaves: int


def layout(parents: Int32Array) -> Layout:
    """Compute the layout of a tree.

    Args:
        parents: int32 (n,), parent of each node, -1 for the root. A parent comes before its
            children.
    """
    rows = len(parents) + 1
    if rows == 1:
        return ROOT_ALONE
    if np.array_equal(parents, np.arange(ROOT, len(parents) - 1)):
        zeros = np.zeros(rows, np.int32)
        return Layout(np.arange(rows, dtype=np.int32), zeros, zeros + 1, 1)
    above = [0, *(parents + 1).tolist()]  # parents as rows; the root's entry is never read
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


ROOT_ALONE = Layout(np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.int32), 1)
"""The layout of plain decoding."""
