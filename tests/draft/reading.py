"""Reads what the arrays of the draft room hold, and builds trees from plain lists.

Uses the kernels of the package. References that use none of them are in `tests/naive.py`.
"""

import numpy as np

from aded_edge.draft.estimate import CONTEXT, MOST_CANDIDATES, blend
from aded_edge.draft.matrix import find, pair_key, single_key
from aded_edge.draft.spans import LENGTHS, WAYS, successors
from aded_edge.draft.tree import DraftTree


def lookup(matrix, a, b):
    """Successors of (a, b), or of (b) alone where `a` is negative, heaviest first.

    Returns tokens int32 (k,) and their share of all weight seen float32 (k,); k = 0 if unknown.
    """
    row = find(matrix.table, pair_key(a, b) if a >= 0 else single_key(b))
    if row < 0:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    weights = matrix.table.weights[row]
    order = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights)]
    return matrix.table.tokens[row, order], weights[order] / matrix.table.totals[row]


def copies(spans, context):
    """Context length -> the tokens that followed that context, latest first; only matches."""
    found = np.empty(WAYS, np.int32)
    matches = {}
    for n, length in enumerate(LENGTHS):
        count = successors(spans.log, context, len(context), n, found)
        if count:
            matches[length] = found[:count].tolist()
    return matches


def blended(matrix, spans, context, kappa, longest=CONTEXT):
    """Tokens, raw estimates and kind of what follows `context` (int32), as lists."""
    tokens, estimates = np.empty(MOST_CANDIDATES, np.int32), np.empty(MOST_CANDIDATES)
    kind, scratch = np.empty(2), np.empty(WAYS, np.int32)
    out = tokens, estimates, kind, scratch
    count = blend(matrix.table, spans.log, context, kappa, longest, *out)
    return tokens[:count].tolist(), estimates[:count].tolist(), kind.tolist()


def next_tokens(matrix, spans, context, kappa, longest=CONTEXT):
    """Token -> raw estimate that it follows `context` (int32)."""
    tokens, estimates, _ = blended(matrix, spans, context, kappa, longest)
    return dict(zip(tokens, estimates, strict=True))


def chain(tokens):
    """One continuation without branches, all of it certain."""
    return DraftTree.build(tokens, range(-1, len(tokens) - 1))
