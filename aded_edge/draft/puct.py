"""The paper's search: PUCT over the tri-gram matrix, to be measured against.

The search of ADED (arXiv 2407.12021, section 3.3) with the constants of its released code. One
fault of that code is mended: the backup adds the probability of the token that was chosen on the
path.

Knows the arrays of the matrix. Does not know spans, calibration, or what evaluating the tree
costs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aded_edge.arrays import Int32Array

from .compile import kernel
from .matrix import SLOTS, find, pair_key
from .tree import ROOT, DraftTree

PUCT_ITERATIONS = 150
"""Paths that one search walks."""

PUCT_SEARCHED = 3
"""Tokens of a draft that the search chooses. One more, the likeliest, is added behind them."""

PUCT_DRAFTS = 24
"""Drafts (paths from the root) that are kept: the most visited ones."""

PUCT_NODES = 64
"""Largest number of nodes of the tree."""

PUCT_SUCCESSORS = 12
"""Successors of a context that the search considers."""

_C1 = 32.0
_C2 = 8.0
_ROOM = 1 + PUCT_ITERATIONS * PUCT_SEARCHED * PUCT_SUCCESSORS


class _Search(NamedTuple):
    """Nodes of one search in the order in which they were opened; node 0 is the root.

    `tokens` and `probs` have room for PUCT_SUCCESSORS more, where the token that follows the end
    of a draft is written.
    """

    tokens: Any  # int32
    parents: Any  # int32
    probs: Any  # float64, of the token given its parent
    visits: Any  # int32
    values: Any  # float64, sum of the backed-up probabilities
    first_child: Any  # int32, -1 while the node is not opened
    children: Any  # int32, how many


class _Tree(NamedTuple):
    """Nodes of the draft tree in the order in which the drafts brought them."""

    tokens: Any  # int32
    parents: Any  # int32
    probs: Any  # float64, of the whole path
    depths: Any  # int32
    place: Any  # int32, index of a search node in this tree, -1 while it is not in it


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
def _open(table: Any, search: Any, node: int, a: int, b: int, used: int) -> int:
    # Adds the successors of (a, b) as children of `node`; returns the number of nodes in use.
    count = _successors(table, a, b, search.tokens, search.probs, used)
    search.first_child[node] = used
    search.children[node] = count
    for child in range(used, used + count):
        search.parents[child] = node
        search.visits[child] = 0
        search.first_child[child] = -1
    return used + count


@kernel
def _select(search: Any, node: int) -> int:
    # The child with the highest PUCT score; of equal ones the first.
    n_parent = search.visits[node]
    explore = (_C1 + np.log((n_parent + _C2 + 1.0) / _C2)) * np.sqrt(n_parent)
    first = search.first_child[node]
    best = first
    best_score = -1.0
    for child in range(first, first + search.children[node]):
        n = search.visits[child]
        score = explore * search.probs[child] / (1.0 + n)
        if n > 0:
            score += search.values[child] / n
        if score > best_score:
            best = child
            best_score = score
    return best


@kernel
def _walk(table: Any, search: Any, a: int, b: int) -> int:
    # Walks PUCT_ITERATIONS paths from the context (a, b); returns the number of nodes in use.
    path = np.empty(PUCT_SEARCHED, np.int32)
    used = 1
    search.visits[0] = 0
    search.first_child[0] = -1
    for _ in range(PUCT_ITERATIONS):
        node = 0
        before, last = a, b
        length = 0
        for depth in range(PUCT_SEARCHED):
            if search.first_child[node] < 0:
                used = _open(table, search, node, before, last, used)
            if search.children[node] == 0:
                break
            search.visits[node] += 1
            node = _select(search, node)
            path[depth] = node
            length = depth + 1
            before, last = last, search.tokens[node]
        for depth in range(length):
            search.values[path[depth]] += search.probs[path[depth]]
        if length > 0:
            search.visits[path[length - 1]] += 1
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
def _add_draft(table: Any, search: Any, used: int, end: int, root: int, tree: Any, n: int) -> int:
    # Adds the path down to `end` and the likeliest token behind it to a tree of `n` nodes; returns
    # the new number of nodes.
    path = np.empty(PUCT_SEARCHED, np.int32)
    length = 0
    node = end
    while node > 0:
        path[length] = node
        length += 1
        node = search.parents[node]
    above = ROOT
    prob = 1.0
    for i in range(length - 1, -1, -1):
        node = path[i]
        prob *= search.probs[node]
        if tree.place[node] < 0:
            if n == tree.tokens.size:
                return n
            tree.tokens[n], tree.parents[n], tree.probs[n] = search.tokens[node], above, prob
            tree.depths[n] = length - i
            tree.place[node] = n
            n += 1
        above = tree.place[node]
    before = search.tokens[path[1]] if length > 1 else root
    if n < tree.tokens.size and _successors(
        table, before, search.tokens[end], search.tokens, search.probs, used
    ):
        tree.tokens[n], tree.parents[n] = search.tokens[used], above
        tree.probs[n] = prob * search.probs[used]
        tree.depths[n] = length + 1
        n += 1
    return n


@kernel
def _stands_before(tree: Any, a: int, b: int) -> bool:
    # Likeliest first; of equal ones the shallower, so that a parent stands before its children.
    if tree.probs[a] != tree.probs[b]:
        return tree.probs[a] > tree.probs[b]
    return tree.depths[a] < tree.depths[b]


@kernel
def _sorted(tree: Any, n: int, tokens: Any, parents: Any, probs: Any) -> None:
    # Writes the tree of `n` nodes, likeliest first.
    order = np.empty(n, np.int32)
    for i in range(n):
        at = i
        while at > 0 and _stands_before(tree, i, order[at - 1]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    rank = np.empty(n, np.int32)
    for i in range(n):
        rank[order[i]] = i
    for i in range(n):
        node = order[i]
        tokens[i], probs[i] = tree.tokens[node], tree.probs[node]
        parents[i] = rank[tree.parents[node]] if tree.parents[node] >= 0 else ROOT


@kernel
def _puct(table: Any, before: int, root: int, tokens: Any, parents: Any, probs: Any) -> int:
    # Writes the tree into the last three arrays; returns the number of its nodes.
    search = _Search(
        np.empty(_ROOM + PUCT_SUCCESSORS, np.int32),
        np.full(_ROOM, -1, np.int32),
        np.ones(_ROOM + PUCT_SUCCESSORS, np.float64),
        np.zeros(_ROOM, np.int32),
        np.zeros(_ROOM, np.float64),
        np.empty(_ROOM, np.int32),
        np.empty(_ROOM, np.int32),
    )
    used = _walk(table, search, before, root)
    most = tokens.size
    tree = _Tree(
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.float64),
        np.empty(most, np.int32),
        np.full(used, -1, np.int32),
    )
    ends = np.empty(PUCT_DRAFTS, np.int32)
    n = 0
    for i in range(_ends(search.visits, search.parents, used, ends)):
        n = _add_draft(table, search, used, ends[i], root, tree, n)
    _sorted(tree, n, tokens, parents, probs)
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
