"""The paper's search: PUCT over the tri-gram matrix, to be measured against.

The search of ADED (arXiv 2407.12021, section 3.3) with the constants of its released code. One
fault of that code is mended: the backup adds the probability of the token that was chosen on the
path.

Knows the arrays of the matrix. Does not know spans, calibration, or what evaluating the tree
costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Int32Array

from .compile import kernel
from .matrix import SLOTS, find, pair_key
from .tree import ROOT, DraftTree

PUCT_ITERATIONS = 150
"""Paths that one search walks."""

PUCT_SEARCHED = 3
"""Tokens of a draft that the search chooses. One more, the likeliest, is appended."""

PUCT_DRAFTS = 24
"""Drafts (paths from the root) that are kept: the most visited ones."""

PUCT_NODES = 64
"""Largest number of nodes of the tree."""

PUCT_SUCCESSORS = 12
"""Successors of a context that the search considers."""

# c1 and c2 of the paper's score.
_C1 = 32.0
_C2 = 8.0

# Nodes that a search can open at most, with its root.
_ROOM = 1 + PUCT_ITERATIONS * PUCT_SEARCHED * PUCT_SUCCESSORS


@kernel
def _successors(table: Any, a: int, b: int, tokens: Any, probs: Any, at: int) -> int:
    # Writes the heaviest successors of (a, b) from index `at` on, heaviest first; returns how many.
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
def _select(visits: Any, values: Any, probs: Any, node: int, first: int, count: int) -> int:
    # The child of `node` with the highest PUCT score; of equal ones the first.
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
def _walk(table: Any, a: int, b: int, tokens: Any, parents: Any, probs: Any, visits: Any) -> int:
    # Walks PUCT_ITERATIONS paths from the context (a, b). Node 0 is the root; the others are
    # written in the order in which they are opened. Returns how many there are.
    # children[node]: index of the first child, number of children; -1 while not opened.
    children = np.empty((_ROOM, 2), np.int32)
    values = np.zeros(_ROOM, np.float64)
    path = np.empty(PUCT_SEARCHED, np.int32)
    used = 1
    visits[0] = 0
    children[0, 0] = -1
    for _ in range(PUCT_ITERATIONS):
        node = 0
        before, last = a, b
        length = 0
        for depth in range(PUCT_SEARCHED):
            if children[node, 0] < 0:
                count = _successors(table, before, last, tokens, probs, used)
                children[node, 0] = used
                children[node, 1] = count
                for child in range(used, used + count):
                    parents[child] = node
                    visits[child] = 0
                    children[child, 0] = -1
                used += count
            if children[node, 1] == 0:
                break
            visits[node] += 1
            node = _select(visits, values, probs, node, children[node, 0], children[node, 1])
            path[depth] = node
            length = depth + 1
            before, last = last, tokens[node]
        for depth in range(length):
            values[path[depth]] += probs[path[depth]]
        if length > 0:
            visits[path[length - 1]] += 1
    return used


@kernel
def _ends(visits: Any, parents: Any, used: int, ends: Any) -> int:
    # Writes the most visited nodes without a visited child, most visited first; of equal ones the
    # one that was opened first. Returns how many there are, at most PUCT_DRAFTS.
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
def _union(
    table: Any,
    root: int,
    used: int,
    tokens: Any,
    parents: Any,
    probs: Any,
    visits: Any,
    tree_tokens: Any,
    tree_parents: Any,
    tree_probs: Any,
    tree_depths: Any,
) -> int:
    # Joins the drafts of a search with `used` nodes, each with the likeliest token after it, to
    # one tree: a parent stands before its children. Returns the number of nodes.
    max_nodes = tree_tokens.size
    ends = np.empty(PUCT_DRAFTS, np.int32)
    places = np.full(used, -1, np.int32)  # index of a search node in the tree
    path = np.empty(PUCT_SEARCHED, np.int32)
    n = 0
    for e in range(_ends(visits, parents, used, ends)):
        length = 0
        node = ends[e]
        while node > 0:
            path[length] = node
            length += 1
            node = parents[node]
        above = ROOT
        prob = 1.0
        whole = True
        for i in range(length - 1, -1, -1):
            node = path[i]
            prob *= probs[node]
            if places[node] < 0:
                if n == max_nodes:
                    whole = False
                    break
                tree_tokens[n], tree_parents[n], tree_probs[n] = tokens[node], above, prob
                tree_depths[n] = length - i
                places[node] = n
                n += 1
            above = places[node]
        a = tokens[path[1]] if length > 1 else root
        if whole and n < max_nodes and _successors(table, a, tokens[ends[e]], tokens, probs, used):
            tree_tokens[n], tree_parents[n], tree_probs[n] = tokens[used], above, prob * probs[used]
            tree_depths[n] = length + 1
            n += 1
    return n


@kernel
def _order(probs: Any, depths: Any, n: int) -> Any:
    # Indices of the first n nodes, likeliest first; of equally likely ones the shallower first, so
    # that a parent stands before its children.
    order = np.empty(n, np.int32)
    for i in range(n):
        at = i
        while at > 0 and (
            probs[order[at - 1]] < probs[i]
            or (probs[order[at - 1]] == probs[i] and depths[order[at - 1]] > depths[i])
        ):
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    return order


@kernel
def _puct(table: Any, before: int, root: int, out: Any, out_parents: Any, out_probs: Any) -> int:
    # Writes the tree into the last three arrays; returns how many nodes it has.
    max_nodes = out.size
    # With room for one more set of successors: `_union` looks up the tokens that end the drafts.
    tokens = np.empty(_ROOM + PUCT_SUCCESSORS, np.int32)
    probs = np.ones(_ROOM + PUCT_SUCCESSORS, np.float64)
    parents = np.full(_ROOM, -1, np.int32)
    visits = np.zeros(_ROOM, np.int32)
    used = _walk(table, before, root, tokens, parents, probs, visits)
    node_token = np.empty(max_nodes, np.int32)
    node_parent = np.empty(max_nodes, np.int32)
    node_prob = np.empty(max_nodes, np.float64)
    node_depth = np.empty(max_nodes, np.int32)
    n = _union(
        table,
        root,
        used,
        tokens,
        parents,
        probs,
        visits,
        node_token,
        node_parent,
        node_prob,
        node_depth,
    )
    order = _order(node_prob, node_depth, n)
    rank = np.empty(n, np.int32)
    for i in range(n):
        rank[order[i]] = i
    for i in range(n):
        node = order[i]
        out[i], out_probs[i] = node_token[node], node_prob[node]
        out_parents[i] = rank[node_parent[node]] if node_parent[node] >= 0 else ROOT
    return n


def puct(table: Any, before: int, root: int, *, max_nodes: int = PUCT_NODES) -> DraftTree:
    """Search the draft tree of the paper: PUCT_ITERATIONS paths, the PUCT_DRAFTS most visited.

    Args:
        table: `TrigramMatrix.table`.
        before, root: the two tokens of context; the tree follows `root`.
        max_nodes: largest number of nodes; the paper's is 64.

    Returns:
        The tree, likeliest node first; its nodes have no calibration cell.
    """
    tokens: Int32Array = np.empty(max_nodes, np.int32)
    parents = np.empty(max_nodes, np.int32)
    probs = np.empty(max_nodes, np.float32)
    n = _puct(table, before, root, tokens, parents, probs)
    return DraftTree(
        tokens[:n], parents[:n], probs[:n], np.ones(n, np.float32), np.full(n, -1, np.int16)
    )
