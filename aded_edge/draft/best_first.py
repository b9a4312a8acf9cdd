"""The searches that turn estimates into a draft tree.

`best_first` expands the node whose path is likeliest, so any prefix of its node list is the
best tree of that size. `puct` is the search of ADED (arXiv 2407.12021, section 3.3, constants
of its released code), with the fault of its backup mended: what is backed up is the
probability of the chosen token.

Knows the arrays of the matrix, the spans and the calibration. Does not know what evaluating
the tree costs; the caller cuts it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array

from .compile import kernel
from .estimate import CONTEXT, MOST_CANDIDATES, blend, calibrate
from .matrix import SLOTS, find, pair_key
from .spans import WAYS
from .tree import DraftTree

_HEAP = 2048
"""Open candidates held; far more than a tree of 64 nodes opens."""


@kernel
def _push(heap: Any, size: int, probs: Any, item: int) -> int:
    heap[size] = item
    at = size
    while at > 0:
        above = (at - 1) >> 1
        # On equal probability the earlier candidate stays above: same input, same output.
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
def _context(history: Any, root: int, tokens: Any, parents: Any, node: int, out: Any) -> int:
    # The last CONTEXT tokens of history + root + path to `node`, at the end of `out`.
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
    worth: float,
    tokens: Any,
    parents: Any,
    probs: Any,
    estimates: Any,
    cells: Any,
) -> int:
    heap = np.empty(_HEAP, np.int32)
    open_token = np.empty(_HEAP, np.int32)
    open_parent = np.empty(_HEAP, np.int32)
    open_prob = np.empty(_HEAP, np.float64)
    open_estimate = np.empty(_HEAP, np.float32)
    open_cell = np.empty(_HEAP, np.int16)
    context = np.empty(CONTEXT, np.int32)
    next_token = np.empty(MOST_CANDIDATES, np.int32)
    next_estimate = np.empty(MOST_CANDIDATES, np.float64)
    next_prob = np.empty(MOST_CANDIDATES, np.float64)
    next_cell = np.empty(MOST_CANDIDATES, np.int16)
    found = np.empty(WAYS, np.int32)
    kind = np.empty(2, np.float64)
    depths = np.zeros(max_nodes, np.int32)
    has_child = np.zeros(max_nodes, np.bool_)
    size = 0
    opened = 0
    nodes = 0
    leaves = 0
    node = -1
    while True:
        depth = 0 if node < 0 else depths[node]
        path = 1.0 if node < 0 else probs[node]
        if depth < max_depth and path >= worth:
            start = _context(history, root, tokens, parents, node, context)
            count = blend(
                table,
                log,
                context[start:],
                CONTEXT - start,
                kappa,
                longest,
                next_token,
                next_estimate,
                found,
                kind,
            )
            calibrate(next_estimate, count, kind, counts, trusting, next_prob, next_cell)
            for i in range(count):
                prob = path * next_prob[i]
                if prob < least or opened == _HEAP:
                    continue
                open_token[opened] = next_token[i]
                open_parent[opened] = node
                open_prob[opened] = prob
                open_estimate[opened] = next_estimate[i]
                open_cell[opened] = next_cell[i]
                size = _push(heap, size, open_prob, opened)
                opened += 1
        item = -1
        adds_leaf = False
        while size > 0 and item < 0:
            item = _pop(heap, size, open_prob)
            size -= 1
            parent = open_parent[item]
            adds_leaf = parent < 0 or has_child[parent]
            if adds_leaf and leaves == max_leaves:
                item = -1
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
    worth: float = 0.0,
) -> DraftTree:
    """The likeliest nodes, likeliest first.

    Args:
        table, log: arrays of a `TrigramMatrix` and of `Spans`.
        counts: `Calibration.counts`.
        history: int32 (n,), what stands before the root; its last CONTEXT - 1 tokens suffice.
        root: the token that the draft follows.
        kappa: weight of the shorter contexts at each longer one.
        longest: contexts of more tokens are not looked at.
        trusting: take the estimates as they are, without calibration.
        max_nodes, max_leaves, max_depth: bounds of the tree; no nodes, no tree.
        least: paths less likely than this are not opened.
        worth: what follows on a path less likely than this is not looked at.
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
        worth,
        tokens,
        parents,
        probs,
        estimates,
        cells,
    )
    return DraftTree(tokens[:n], parents[:n], probs[:n], estimates[:n], cells[:n])


PUCT_ITERATIONS = 150
PUCT_SEARCHED = 3
"""Tokens chosen by the search; one more is added greedily."""
PUCT_DRAFTS = 24
PUCT_NODES = 64
PUCT_SUCCESSORS = 12
_C1 = 32.0
_C2 = 8.0
_PUCT_ROOM = 1 + PUCT_ITERATIONS * PUCT_SEARCHED * PUCT_SUCCESSORS


@kernel
def _puct_open(table: Any, a: int, b: int, tokens: Any, probs: Any, at: int) -> int:
    # Writes the heaviest successors of (a, b) behind `at`, heaviest first; returns their number.
    row = find(table, pair_key(a, b))
    if row < 0:
        return 0
    taken = np.zeros(SLOTS, np.bool_)
    for count in range(PUCT_SUCCESSORS):
        best = -1
        for i in range(SLOTS):
            if taken[i] or table.weights[row, i] == 0.0:
                continue
            if best < 0 or table.weights[row, i] > table.weights[row, best]:
                best = i
        if best < 0:
            return count
        taken[best] = True
        tokens[at + count] = table.tokens[row, best]
        probs[at + count] = table.weights[row, best] / table.totals[row]
    return PUCT_SUCCESSORS


@kernel
def _puct_select(visits: Any, values: Any, probs: Any, node: int, first: int, count: int) -> int:
    n_parent = visits[node]
    explore = (_C1 + np.log((n_parent + _C2 + 1.0) / _C2)) * np.sqrt(n_parent)
    best = first
    best_score = -1.0
    for child in range(first, first + count):
        n = visits[child]
        score = explore * probs[child] / (1.0 + n)
        if n > 0:
            score += values[child] / n
        if score > best_score:
            best = child
            best_score = score
    return best


@kernel
def _puct(table: Any, a: int, b: int, tokens: Any, parents: Any, probs: Any, visits: Any) -> int:
    # firsts[node]: (index of the first child, number of children), -1 while not opened.
    firsts = np.empty((_PUCT_ROOM, 2), np.int32)
    values = np.zeros(_PUCT_ROOM, np.float64)
    path = np.empty(PUCT_SEARCHED, np.int32)
    used = 1
    visits[0] = 0
    firsts[0, 0] = -1
    for _ in range(PUCT_ITERATIONS):
        node = 0
        before, last = a, b
        length = 0
        for depth in range(PUCT_SEARCHED):
            if firsts[node, 0] < 0:
                count = _puct_open(table, before, last, tokens, probs, used)
                firsts[node, 0] = used
                firsts[node, 1] = count
                for child in range(used, used + count):
                    parents[child] = node
                    visits[child] = 0
                    firsts[child, 0] = -1
                used += count
            if firsts[node, 1] == 0:
                break
            visits[node] += 1
            node = _puct_select(visits, values, probs, node, firsts[node, 0], firsts[node, 1])
            path[depth] = node
            length = depth + 1
            before, last = last, tokens[node]
        for depth in range(length):
            values[path[depth]] += probs[path[depth]]
        if length > 0:
            visits[path[length - 1]] += 1
    return used


def puct(table: Any, before: int, root: int, *, max_nodes: int = PUCT_NODES) -> DraftTree:
    """The tree of the paper: 150 iterations, depth 3 + 1, the 24 most visited drafts.

    Args:
        table: arrays of a `TrigramMatrix`.
        before, root: the two tokens of context.
        max_nodes: bound of the tree, the paper's 64.
    """
    tokens = np.empty(max_nodes, np.int32)
    parents = np.empty(max_nodes, np.int32)
    probs = np.empty(max_nodes, np.float32)
    n = _puct_tree(table, before, root, max_nodes, tokens, parents, probs)
    return DraftTree(
        tokens[:n], parents[:n], probs[:n], np.ones(n, np.float32), np.full(n, -1, np.int16)
    )


@kernel
def _puct_ends(visits: Any, parents: Any, used: int, ends: Any) -> int:
    # The most visited nodes below which nothing was visited, most visited first; ties go to the
    # node that was opened first. Returns how many there are, at most PUCT_DRAFTS.
    inner = np.zeros(used, np.bool_)
    for node in range(1, used):
        if visits[node] > 0:
            inner[parents[node]] = True
    count = 0
    for node in range(1, used):
        if visits[node] == 0 or inner[node]:
            continue
        at = min(count, PUCT_DRAFTS - 1)
        if count >= PUCT_DRAFTS and visits[node] <= visits[ends[at]]:
            continue
        while at > 0 and visits[ends[at - 1]] < visits[node]:
            ends[at] = ends[at - 1]
            at -= 1
        ends[at] = node
        count += 1
    return min(count, PUCT_DRAFTS)


@kernel
def _puct_tree(
    table: Any, before: int, root: int, max_nodes: int, out: Any, out_parents: Any, out_probs: Any
) -> int:
    tokens = np.empty(_PUCT_ROOM + PUCT_SUCCESSORS, np.int32)
    parents = np.full(_PUCT_ROOM, -1, np.int32)
    probs = np.ones(_PUCT_ROOM + PUCT_SUCCESSORS, np.float64)
    visits = np.zeros(_PUCT_ROOM, np.int32)
    used = _puct(table, before, root, tokens, parents, probs, visits)
    ends = np.empty(PUCT_DRAFTS, np.int32)
    # The union of the drafts, each with one more token, the likeliest.
    node_token = np.empty(max_nodes, np.int32)
    node_parent = np.empty(max_nodes, np.int32)
    node_prob = np.empty(max_nodes, np.float64)
    node_depth = np.empty(max_nodes, np.int32)
    places = np.full(used, -1, np.int32)
    path = np.empty(PUCT_SEARCHED, np.int32)
    n = 0
    for e in range(_puct_ends(visits, parents, used, ends)):
        length = 0
        node = ends[e]
        while node > 0:
            path[length] = node
            length += 1
            node = parents[node]
        above = -1
        prob = 1.0
        whole = True
        for i in range(length - 1, -1, -1):
            prob *= probs[path[i]]
            if places[path[i]] < 0:
                if n == max_nodes:
                    whole = False
                    break
                node_token[n], node_parent[n], node_prob[n] = tokens[path[i]], above, prob
                node_depth[n] = length - i
                places[path[i]] = n
                n += 1
            above = places[path[i]]
        a = tokens[path[1]] if length > 1 else root
        if whole and n < max_nodes and _puct_open(table, a, tokens[ends[e]], tokens, probs, used):
            node_token[n], node_parent[n], node_prob[n] = tokens[used], above, prob * probs[used]
            node_depth[n] = length + 1
            n += 1
    # Likeliest first; of equal ones the shorter path, so that a parent stands before its child.
    order = np.empty(n, np.int32)
    for i in range(n):
        at = i
        while at > 0 and (
            node_prob[order[at - 1]] < node_prob[i]
            or (
                node_prob[order[at - 1]] == node_prob[i]
                and node_depth[order[at - 1]] > node_depth[i]
            )
        ):
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    rank = np.empty(n, np.int32)
    for i in range(n):
        rank[order[i]] = i
    for i in range(n):
        node = order[i]
        out[i], out_probs[i] = node_token[node], node_prob[node]
        out_parents[i] = rank[node_parent[node]] if node_parent[node] >= 0 else -1
    return n
