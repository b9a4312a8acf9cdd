"""Best-first search: turns estimates into a draft tree, likeliest path first.

It always expands the node whose path is likeliest, so any prefix of its node list is the best
tree of that size.

Knows the arrays of the matrix, the spans and the calibration. Does not know what evaluating the
tree costs: the budget (`aded_edge.decode.budget`) cuts the tree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array

from .compile import kernel
from .estimate import CONTEXT, Evidence, blend, calibrate, new_estimates
from .tree import ROOT, DraftTree

_MOST_OPEN = 2048
"""Room for open candidates; a tree of 64 nodes opens far fewer."""


class _Limits(NamedTuple):
    """Bounds of one search; see `best_first`."""

    max_nodes: int
    max_leaves: int
    max_depth: int
    least: float
    worth: float


class _Queue(NamedTuple):
    """Candidates that were opened, and a heap of indices into them with the likeliest on top."""

    heap: Any  # int32
    tokens: Any  # int32
    parents: Any  # int32
    probs: Any  # float64, of the whole path
    estimates: Any  # float32
    cells: Any  # int16


class _Nodes(NamedTuple):
    """The arrays of a `DraftTree` while it grows."""

    tokens: Any  # int32
    parents: Any  # int32
    probs: Any  # float32
    estimates: Any  # float32
    cells: Any  # int16


@kernel
def _push(heap: Any, size: int, probs: Any, item: int) -> int:
    heap[size] = item
    at = size
    while at > 0:
        above = (at - 1) >> 1
        # Of equally likely candidates the earlier one stays above: same input, same output.
        if probs[heap[above]] >= probs[heap[at]]:
            break
        heap[above], heap[at] = heap[at], heap[above]
        at = above
    return size + 1


@kernel
def _pop(heap: Any, size: int, probs: Any) -> int:
    top = heap[0]
    size -= 1
    heap[0] = heap[size]
    at = 0
    while True:
        best = at
        for below in (2 * at + 1, 2 * at + 2):
            if below < size and probs[heap[below]] > probs[heap[best]]:
                best = below
        if best == at:
            return top
        heap[best], heap[at] = heap[at], heap[best]
        at = best


@kernel
def _context(history: Any, root: int, nodes: Any, node: int, out: Any) -> int:
    # Writes the last CONTEXT tokens of history + root + path to `node` at the end of `out`;
    # returns the index of the first one.
    at = CONTEXT
    while node >= 0 and at > 0:
        at -= 1
        out[at] = nodes.tokens[node]
        node = nodes.parents[node]
    if at > 0:
        at -= 1
        out[at] = root
    i = history.size - 1
    while i >= 0 and at > 0:
        at -= 1
        out[at] = history[i]
        i -= 1
    return at


@kernel
def _new_queue() -> Any:
    return _Queue(
        np.empty(_MOST_OPEN, np.int32),
        np.empty(_MOST_OPEN, np.int32),
        np.empty(_MOST_OPEN, np.int32),
        np.empty(_MOST_OPEN, np.float64),
        np.empty(_MOST_OPEN, np.float32),
        np.empty(_MOST_OPEN, np.int16),
    )


@kernel
def _open(
    queue: Any, size: int, opened: int, node: int, path: float, least: float, found: Any, count: int
) -> tuple[int, int]:
    # Queues the `count` estimates in `found` as children of `node`, whose path has the probability
    # `path`; returns the sizes of the heap and of the queue.
    for i in range(count):
        prob = path * found.probs[i]
        if prob < least or opened == _MOST_OPEN:
            continue
        queue.tokens[opened] = found.tokens[i]
        queue.parents[opened] = node
        queue.probs[opened] = prob
        queue.estimates[opened] = found.raw[i]
        queue.cells[opened] = found.cells[i]
        size = _push(queue.heap, size, queue.probs, opened)
        opened += 1
    return size, opened


@kernel
def _best_first(evidence: Any, history: Any, root: int, limits: Any, nodes: Any) -> int:
    # Writes the tree into `nodes`; returns how many nodes it has.
    queue = _new_queue()
    found = new_estimates()
    context = np.empty(CONTEXT, np.int32)
    depths = np.zeros(limits.max_nodes, np.int32)
    has_child = np.zeros(limits.max_nodes, np.bool_)
    size = opened = used = leaves = 0
    node = ROOT
    while True:
        depth = 0 if node < 0 else depths[node]
        path = 1.0 if node < 0 else nodes.probs[node]
        if depth < limits.max_depth and path >= limits.worth:
            start = _context(history, root, nodes, node, context)
            count = blend(evidence, context[start:], CONTEXT - start, found)
            calibrate(evidence, found, count)
            size, opened = _open(queue, size, opened, node, path, limits.least, found, count)
        item = -1
        adds_leaf = False
        while size > 0 and item < 0:
            item = _pop(queue.heap, size, queue.probs)
            size -= 1
            parent = queue.parents[item]
            adds_leaf = parent < 0 or has_child[parent]
            if adds_leaf and leaves == limits.max_leaves:
                item = -1
        if item < 0:
            return used
        parent = queue.parents[item]
        leaves += 1 if adds_leaf else 0
        if parent >= 0:
            has_child[parent] = True
        node = used
        nodes.tokens[node] = queue.tokens[item]
        nodes.parents[node] = parent
        nodes.probs[node] = queue.probs[item]
        nodes.estimates[node] = queue.estimates[item]
        nodes.cells[node] = queue.cells[item]
        depths[node] = 1 if parent < 0 else depths[parent] + 1
        used += 1
        if used == limits.max_nodes:
            return used


def best_first(
    table: Any,
    log: Any,
    counts: Float32Array,
    history: Int32Array,
    root: int,
    *,
    kappa: float = 0.7,
    longest: int = CONTEXT,
    trusting: bool = False,
    max_nodes: int = 32,
    max_leaves: int = 16,
    max_depth: int = 32,
    least: float = 0.02,
    worth: float = 0.0,
) -> DraftTree:
    """Search the tree of the likeliest nodes.

    Args:
        table, log: `TrigramMatrix.table` and `Spans.log`.
        counts: `Calibration.counts`.
        history: int32 (n,), the tokens before the root; only the last CONTEXT - 1 of them count.
        root: the token that the draft follows.
        kappa: weight of the shorter contexts at each longer one.
        longest: longest context that is used, in tokens.
        trusting: use the raw estimates, without calibration.
        max_nodes, max_leaves, max_depth: bounds of the tree. With less than one node it is empty.
        least: candidates whose path is less likely than this are not opened.
        worth: nodes whose path is less likely than this get no children.

    Returns:
        The tree, likeliest node first.
    """
    if max_nodes < 1:
        return DraftTree.empty()
    nodes = _Nodes(
        np.empty(max_nodes, np.int32),
        np.empty(max_nodes, np.int32),
        np.empty(max_nodes, np.float32),
        np.empty(max_nodes, np.float32),
        np.empty(max_nodes, np.int16),
    )
    evidence = Evidence(table, log, counts, kappa, longest, trusting)
    limits = _Limits(max_nodes, max_leaves, max_depth, least, worth)
    n = _best_first(evidence, history, root, limits, nodes)
    return DraftTree(*(array[:n] for array in nodes))
