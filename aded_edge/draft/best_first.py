"""Best-first search: turns estimates into a draft tree, likeliest path first.

It always expands the open candidate whose path is likeliest, so any prefix of its node list is the
best tree of that size.

Knows the arrays of the matrix, the spans and the calibration. Does not know what evaluating the
tree costs: the budget (`aded_edge.decode.budget`) cuts the tree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array

from .compile import kernel
from .estimate import CONTEXT, MOST_CANDIDATES, blend, calibrate
from .spans import WAYS
from .tree import ROOT, DraftTree

_MOST_OPEN = 2048
"""Room for opened candidates; a tree of 64 nodes opens far fewer."""


@kernel
def _push(heap: Any, size: int, probs: Any, item: int) -> int:
    # Adds `item` to a heap of indices into `probs`; returns the new size.
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
    # Removes the likeliest item of a heap of `size`, and returns it.
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
def _next(
    heap: Any, size: int, probs: Any, parents: Any, has_child: Any, least_branch: float
) -> tuple[int, int, bool]:
    # Pops the likeliest candidate that the bounds allow. Returns its index (-1: there is none),
    # the new size of the heap, and whether the candidate adds a leaf to the tree.
    while size > 0:
        item = _pop(heap, size, probs)
        size -= 1
        parent = parents[item]
        adds_leaf = parent < 0 or has_child[parent]
        if not adds_leaf or probs[item] >= least_branch:
            return item, size, adds_leaf
    return -1, size, False


@kernel
def _context(history: Any, root: int, tokens: Any, parents: Any, node: int, out: Any) -> int:
    # Writes the last CONTEXT tokens of history + root + path to `node` at the end of `out`;
    # returns the index of the first of them.
    at = CONTEXT
    while node >= 0 and at > 0:
        at -= 1
        out[at] = tokens[node]
        node = parents[node]
    if at > 0:
        at -= 1
        out[at] = root
    i = history.size - 1
    while i >= 0 and at > 0:
        at -= 1
        out[at] = history[i]
        i -= 1
    return at


# Longer than other functions. A further kernel for opening candidates costs 5 % of a draft (15.4
# instead of 14.6 µs), and queue and nodes as tuples of arrays cost up to 30 %: Numba counts
# references to every array that it passes.
@kernel
def _best_first(
    table: Any,
    log: Any,
    counts: Any,
    history: Any,
    root: int,
    kappa: float,
    longest: int,
    trusting: bool,
    max_nodes: int,
    max_leaves: int,
    max_depth: int,
    least: float,
    least_branch: float,
    worth: float,
    tokens: Any,
    parents: Any,
    probs: Any,
    estimates: Any,
    cells: Any,
) -> int:
    # Writes the tree into the last five arrays; returns how many nodes it has.
    heap = np.empty(_MOST_OPEN, np.int32)
    open_token = np.empty(_MOST_OPEN, np.int32)
    open_parent = np.empty(_MOST_OPEN, np.int32)
    open_prob = np.empty(_MOST_OPEN, np.float64)
    open_estimate = np.empty(_MOST_OPEN, np.float32)
    open_cell = np.empty(_MOST_OPEN, np.int16)
    context = np.empty(CONTEXT, np.int32)
    next_token = np.empty(MOST_CANDIDATES, np.int32)
    next_raw = np.empty(MOST_CANDIDATES, np.float64)
    next_prob = np.empty(MOST_CANDIDATES, np.float64)
    next_cell = np.empty(MOST_CANDIDATES, np.int16)
    copies = np.empty(WAYS, np.int32)
    kind = np.empty(2, np.float64)
    depths = np.zeros(max_nodes, np.int32)
    has_child = np.zeros(max_nodes, np.bool_)
    size = opened = nodes = leaves = 0
    node = ROOT
    while True:
        depth = 0 if node < 0 else depths[node]
        path = 1.0 if node < 0 else probs[node]
        if depth < max_depth and path >= worth:
            start = _context(history, root, tokens, parents, node, context)
            count = blend(
                table, log, context[start:], kappa, longest, next_token, next_raw, kind, copies
            )
            calibrate(next_raw, count, kind, counts, trusting, next_prob, next_cell)
            for i in range(count):
                prob = path * next_prob[i]
                if prob < least or opened == _MOST_OPEN:
                    continue
                open_token[opened] = next_token[i]
                open_parent[opened] = node
                open_prob[opened] = prob
                open_estimate[opened] = next_raw[i]
                open_cell[opened] = next_cell[i]
                size = _push(heap, size, open_prob, opened)
                opened += 1
        # The first leaf is no branch, and no probability is above 1.
        least_next = 0.0 if leaves == 0 else 2.0 if leaves == max_leaves else least_branch
        item, size, adds_leaf = _next(heap, size, open_prob, open_parent, has_child, least_next)
        if item < 0:
            return nodes
        parent = open_parent[item]
        leaves += 1 if adds_leaf else 0
        if parent >= 0:
            has_child[parent] = True
        node = nodes
        tokens[node] = open_token[item]
        parents[node] = parent
        probs[node] = open_prob[item]
        estimates[node] = open_estimate[item]
        cells[node] = open_cell[item]
        depths[node] = 1 if parent < 0 else depths[parent] + 1
        nodes += 1
        if nodes == max_nodes:
            return nodes


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
    least_branch: float = 0.0,
    worth: float = 0.0,
) -> DraftTree:
    """Search the tree of the likeliest nodes.

    Args:
        table, log, counts: `TrigramMatrix.table`, `Spans.log` and `Calibration.counts`.
        history: int32 (n,), the tokens before the root; only the last CONTEXT - 1 of them count.
        root: the token that the draft follows.
        kappa: weight of the shorter contexts at each longer one.
        longest: longest context that is used, in tokens.
        trusting: use the raw estimates, without calibration.
        max_nodes, max_leaves, max_depth: bounds of the tree; empty if `max_nodes` is below 1.
        least: leave out nodes whose path is less likely than this.
        least_branch: the same of nodes that add a leaf beyond the first.
        worth: search no children of nodes whose path is less likely than this.

    Returns:
        The tree, likeliest node first.
    """
    if max_nodes < 1:
        return DraftTree.empty()
    tokens = np.empty(max_nodes, np.int32)
    parents = np.empty(max_nodes, np.int32)
    probs = np.empty(max_nodes, np.float32)
    estimates = np.empty(max_nodes, np.float32)
    cells = np.empty(max_nodes, np.int16)
    n = _best_first(
        table,
        log,
        counts,
        history,
        root,
        kappa,
        longest,
        trusting,
        max_nodes,
        max_leaves,
        max_depth,
        least,
        least_branch,
        worth,
        tokens,
        parents,
        probs,
        estimates,
        cells,
    )
    return DraftTree(tokens[:n], parents[:n], probs[:n], estimates[:n], cells[:n])
