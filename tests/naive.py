"""Slow, obvious references for the kernels, in dicts and lists.

Knows the package's constants and plain arrays, and none of its algorithms.
"""

import math
from bisect import bisect_right
from itertools import pairwise

import numpy as np

from aded_edge.decode.budget import MARGIN
from aded_edge.draft.calibration import MOST_EXPECTED, PRIOR_TRUST
from aded_edge.draft.matrix import LEAST_PROB, MOST_WEIGHT, SLOTS
from aded_edge.draft.puct import PUCT_DRAFTS, PUCT_ITERATIONS, PUCT_SEARCHED, PUCT_SUCCESSORS
from aded_edge.draft.spans import SEPARATOR, WAYS


def ids(*tokens):
    """Token ids as the package takes them."""
    return np.asarray(tokens, np.int32)


# The matrix: context (one token or two) -> [total, stamp, slots], a slot is [token, weight].


class Matrix:
    def __init__(self):
        self.rows = {}
        self.clock = 0

    def observe(self, tokens, start=0, weight=1.0):
        self.clock += start < len(tokens)
        for i in range(max(start, 1), len(tokens)):
            for n in (1, 2):
                context = tuple(tokens[max(i - n, 0) : i])
                if len(context) == n and min(*context, tokens[i]) >= 0:
                    self._add(context, {tokens[i]: weight}, weight)

    def observe_top(self, befores, lasts, tokens, probs, weight=1.0):
        self.clock += 1
        for before, last, *candidates in zip(befores, lasts, tokens, probs, strict=True):
            shares = {t: weight * p for t, p in zip(*candidates, strict=True) if p >= LEAST_PROB}
            self._add((last,), shares, weight)
            if before >= 0:
                self._add((before, last), shares, weight)

    def absorb(self, other):
        stamps = [stamp for _, stamp, _ in other.rows.values()]
        if stamps:
            self.clock = max(self.clock + 1, *stamps) if self.rows else max(stamps)
        for context, (total, stamp, slots) in other.rows.items():
            fresh = context not in self.rows
            self._add(context, dict(slots), total)
            if fresh:
                self.rows[context][1] = stamp + self.clock - max(stamps)

    def _add(self, context, shares, weight):
        row = self.rows.setdefault(context, [0.0, 0, []])
        for token, share in shares.items():
            _give_slot(row[2], token, share)
        row[0] += weight
        row[1] = self.clock
        if row[0] > MOST_WEIGHT:
            row[0] /= 2
            for slot in row[2]:
                slot[1] /= 2

    def contents(self):
        """Context -> (total, stamp, token -> weight)."""
        return {
            context: (total, stamp, dict(slots))
            for context, (total, stamp, slots) in self.rows.items()
        }


def _give_slot(slots, token, share):
    lightest = min(slots, key=lambda slot: slot[1], default=None)
    for slot in slots:
        if slot[0] == token:
            slot[1] += share
            return
    if len(slots) < SLOTS:
        slots.append([token, share])
    elif lightest[1] <= share:
        lightest[:] = token, share
    else:
        lightest[1] -= share


def contents(matrix):
    """The same of a `TrigramMatrix`, read from its export."""
    rows, found = matrix.export(), {}
    assert len(set(rows.keys.tolist())) == len(rows.keys), "a context has two rows"
    for key, total, stamp, (start, stop) in zip(
        rows.keys.tolist(), rows.totals, rows.stamps, pairwise(rows.offsets), strict=True
    ):
        context = (key - (1 << 62),) if key >> 62 else (key >> 31, key & (1 << 31) - 1)
        tokens, weights = rows.tokens[start:stop].tolist(), rows.weights[start:stop].tolist()
        assert len(set(tokens)) == len(tokens), "a successor has two slots"
        found[context] = float(total), int(stamp), dict(zip(tokens, weights, strict=True))
    return found


def value(total, age, half_life):
    """Value of a row when the matrix is full; the lowest are dropped."""
    return total / 2 ** (age / half_life)


# The spans: a list of tokens, and for each whether it was read (else it was context only).


class Spans:
    def __init__(self, capacity):
        self.capacity = capacity
        self.tokens = []
        self.read = []

    def append(self, tokens, start=0):
        self.tokens += [SEPARATOR, *tokens]
        self.read += [False] * (start + 1) + [True] * (len(tokens) - start)

    def extend(self, tokens):
        self.tokens += tokens
        self.read += [True] * len(tokens)

    def successors(self, context, length):
        """Tokens that followed the last `length` tokens, latest first; not only WAYS of them."""
        oldest = max(len(self.tokens) - self.capacity, 0) + length
        return [
            self.tokens[place]
            for place in range(len(self.tokens) - 1, oldest - 1, -1)
            if self.read[place]
            and self.tokens[place] >= 0
            and self.tokens[place - length : place] == context[-length:]
        ]

    def lookup(self, context, lengths):
        found = {n: self.successors(context, n)[:WAYS] for n in lengths if n <= len(context)}
        return {n: tokens for n, tokens in found.items() if tokens}


# Estimates


def blend(evidence, kappa):
    """Estimates from evidence (total, token -> weight), shortest context first."""
    estimates = {}
    for total, weights in evidence:
        estimates = {
            token: (weights.get(token, 0.0) + kappa * estimates.get(token, 0.0)) / (total + kappa)
            for token in {**estimates, **weights}
        }
    return estimates


EVIDENCE_EDGES = [1.4, 4.4, 12.4]
ESTIMATE_EDGES = [0.05, 0.12, 0.25, 0.4, 0.6, 0.8, 0.93]
MIDDLES = [0.03, 0.08, 0.18, 0.32, 0.5, 0.7, 0.87, 0.97]  # of the bands between those edges


def cell(length_kind, evidence, estimate):
    bands = len(ESTIMATE_EDGES) + 1
    kind = length_kind * (len(EVIDENCE_EDGES) + 1) + bisect_right(EVIDENCE_EDGES, evidence)
    return kind * bands + bisect_right(ESTIMATE_EDGES, estimate)


class Calibration:
    """Cell -> [expected, accepted]."""

    def __init__(self):
        self.cells = {}

    def record(self, cell, estimate, hit):
        if cell < 0:
            return
        expected, accepted = self.cells.get(cell, [0.0, 0.0])
        if expected >= MOST_EXPECTED:
            expected, accepted = expected / 2, accepted / 2
        self.cells[cell] = [expected + estimate, accepted + hit]

    def trust(self, cell):
        expected, accepted = self.cells.get(cell, [0.0, 0.0])
        prior = 4.0 * MIDDLES[cell % len(MIDDLES)]
        return (accepted + PRIOR_TRUST * prior) / (expected + prior)


# Searches


def path_to(node, tokens, parents):
    """Tokens from the root's child down to a node."""
    path = []
    while node >= 0:
        path.insert(0, tokens[node])
        node = parents[node]
    return path


def open_candidates(context, tree, size, probs_after, *, max_leaves, max_depth, least):
    """(probability, parent, token) of all candidates behind the first `size` nodes, best first.

    `probs_after` gives the probability of each next token after a whole context.
    """
    tokens, parents = tree.tokens[:size].tolist(), tree.parents[:size].tolist()
    taken = set(zip(parents, tokens, strict=True))
    leaves = len(set(range(size)) - set(parents))
    queue = []
    for parent in range(-1, size):
        path = path_to(parent, tokens, parents)
        if len(path) == max_depth or (leaves == max_leaves and (parent < 0 or parent in parents)):
            continue
        so_far = float(tree.probs[parent]) if parent >= 0 else 1.0
        for token, prob in probs_after((*context, *path)).items():
            if so_far * prob >= least and (parent, token) not in taken:
                queue.append((so_far * prob, parent, token))
    return sorted(queue, reverse=True)


class PuctNode:
    def __init__(self, context, prob):
        self.context = context
        self.prob = prob
        self.children = None
        self.visits = 0
        self.value = 0.0

    def score(self, visits_of_parent):
        explore = (32 + math.log((visits_of_parent + 9) / 8)) * math.sqrt(visits_of_parent)
        mean = self.value / self.visits if self.visits else 0.0
        return mean + explore * self.prob / (1 + self.visits)


def puct(successors, before, root, max_nodes):
    """Path -> probability; `successors(a, b)` gives (token, probability), heaviest first."""
    top = PuctNode((before, root), 1.0)
    opened = []
    for _ in range(PUCT_ITERATIONS):
        node, path = top, []
        for _ in range(PUCT_SEARCHED):
            if node.children is None:
                a, b = node.context[-2:]
                node.children = [
                    PuctNode((*node.context, token), prob)
                    for token, prob in successors(a, b)[:PUCT_SUCCESSORS]
                ]
                opened += node.children
            if not node.children:
                break
            node.visits += 1
            node = max(node.children, key=lambda child: child.score(node.visits))
            path.append(node)
        for step in path:
            step.value += step.prob
        if path:
            path[-1].visits += 1
    probs = {node.context[2:]: node.prob for node in opened}
    ends = [
        node
        for node in opened
        if node.visits and not any(child.visits for child in node.children or [])
    ]
    tree = {}
    for end in sorted(ends, key=lambda node: -node.visits)[:PUCT_DRAFTS]:
        path = end.context[2:]
        steps = [probs[path[: n + 1]] for n in range(len(path))]
        last = successors(*end.context[-2:])[:1]
        for n in range(1, len(path) + len(last) + 1):
            longer = (*path, *(token for token, _ in last))[:n]
            if len(tree) < max_nodes:
                tree[longer] = math.prod([*steps, *(prob for _, prob in last)][:n])
    return tree


# Decoding


def paths(parents):
    """All root-to-leaf paths as lists of rows; row 0 is the root, row i + 1 is node i."""
    rows = range(len(parents) + 1)
    above = {i + 1: parent + 1 for i, parent in enumerate(parents)}
    found = []
    for leaf in rows:
        if leaf not in above.values():
            path = [leaf]
            while path[0] != 0:
                path.insert(0, above[path[0]])
            found.append(path)
    return found


def top_candidates(logits, k):
    """Likeliest tokens of one row, and lower and upper bounds of their probabilities."""
    logits = logits.astype(np.float64)
    odds = np.exp(logits - logits.max())
    order = np.argsort(-logits, kind="stable")[:k]
    kept = odds[odds > np.exp(-8.0)].sum()
    return order, odds[order] / odds.sum(), odds[order] / kept


def speed(nodes, probs, seconds):
    """Expected tokens in the time of a plain step, at the cost of the next measured width."""
    width = min((w for w in seconds if w > nodes), default=None)
    if width is None:
        return 0.0
    return (1.0 + math.fsum(probs[:nodes])) * seconds[1] / seconds[width]


def best_speed(probs, seconds, loss_budget=math.inf):
    """The best speed of all prefixes of a draft; 1 (plain) unless one promises the margin.

    A whole draft may be filled up with nodes that are not expected, because a wider batch can cost
    less. All nodes are children of the root. A draft may risk no more than the loss budget.
    """
    most = max(max(seconds) - 1, len(probs)) if probs else 0
    probs = [*probs, *[0.0] * (most - len(probs))]

    def loss(nodes):
        width = min((w for w in seconds if w > nodes), default=math.inf)
        cost = seconds.get(width, math.inf) / seconds[1]
        return (1.0 - math.fsum(probs[:nodes])) * (cost - 1.0)

    allowed = [
        n for n in range(1, len(probs) + 1) if loss_budget == math.inf or loss(n) <= loss_budget
    ]
    best = max((speed(nodes, probs, seconds) for nodes in allowed), default=1.0)
    return best if best > MARGIN else 1.0
