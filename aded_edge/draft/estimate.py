"""How likely each next token is: the estimates of all context lengths, blended.

From the shortest context to the longest, each length's weights are added to kappa times the
estimate of the shorter ones, so a long match speaks loudest and a length
without a match changes nothing.

Knows the arrays of the matrix, the spans and the calibration. Does not know trees or histories
longer than the context it is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Int32Array

from .calibration import SURE, TRUST, cell_of
from .compile import kernel
from .matrix import SLOTS, find, pair_key, single_key
from .spans import LENGTHS, LONGEST, WAYS, successors

CONTEXT = LONGEST
"""Tokens of context that an estimate can use."""

MOST_CANDIDATES = 2 * SLOTS + len(LENGTHS) * WAYS
"""The most tokens one estimate can name."""

_N_LENGTHS = len(LENGTHS)
_LENGTHS = np.asarray(LENGTHS, np.int64)


@kernel
def _give(tokens: Any, estimates: Any, count: int, token: int, share: float) -> int:
    for i in range(count):
        if tokens[i] == token:
            estimates[i] += share
            return count
    tokens[count] = token
    estimates[count] = share
    return count + 1


@kernel
def _blend_row(table: Any, row: int, kappa: float, tokens: Any, estimates: Any, count: int) -> int:
    scale = 1.0 / (table.totals[row] + kappa)
    for i in range(count):
        estimates[i] *= kappa * scale
    for i in range(SLOTS):
        weight = table.weights[row, i]
        if weight == 0.0:
            continue
        count = _give(tokens, estimates, count, table.tokens[row, i], weight * scale)
    return count


@kernel
def blend(
    table: Any,
    log: Any,
    context: Any,
    end: int,
    kappa: float,
    longest: int,
    tokens: Any,
    estimates: Any,
    found: Any,
    kind: Any,
) -> int:
    """Raw estimates of what follows context[:end].

    Args:
        table, log: arrays of a `TrigramMatrix` and of `Spans`.
        context: int32, at least `end` long; only the last CONTEXT tokens count.
        end: how many of them there are, at least 1.
        kappa: weight of the shorter contexts' estimate at each longer one.
        longest: contexts of more tokens are not looked at.
        tokens, estimates: int32 and float64 (MOST_CANDIDATES,), written.
        found: int32 (WAYS,), scratch.
        kind: float64 (2,), written: longest length kind that matched, evidence seen in it.

    Returns:
        How many candidates there are.
    """
    count = 0
    kind[0] = 0.0
    kind[1] = 0.0
    row = find(table, single_key(context[end - 1]))
    if row >= 0:
        count = _blend_row(table, row, kappa, tokens, estimates, count)
        kind[1] = table.totals[row]
    if end >= 2 and longest >= 2:
        row = find(table, pair_key(context[end - 2], context[end - 1]))
        if row >= 0:
            count = _blend_row(table, row, kappa, tokens, estimates, count)
            kind[0] = 1.0
            kind[1] = table.totals[row]
    for n in range(_N_LENGTHS):
        if _LENGTHS[n] > longest:
            break
        copies = successors(log, context, end, n, found)
        if copies == 0:
            break  # where three tokens never stood, four did not either
        scale = 1.0 / (copies + kappa)
        for i in range(count):
            estimates[i] *= kappa * scale
        for i in range(copies):
            if found[i] >= 0:
                count = _give(tokens, estimates, count, found[i], scale)
        kind[0] = n + 2.0
        kind[1] = copies
    return count


@kernel
def calibrate(
    estimates: Any, count: int, kind: Any, counts: Any, trusting: bool, probs: Any, cells: Any
) -> None:
    """Writes the calibrated probability and the cell of each raw estimate.

    `trusting` takes the estimates as they are.
    """
    for i in range(count):
        cell = cell_of(int(kind[0]), kind[1], estimates[i])
        cells[i] = cell
        trust = 1.0 if trusting else counts[TRUST, cell]
        probs[i] = min(estimates[i] * trust, SURE)


def next_tokens(
    table: Any,
    log: Any,
    context: Int32Array,
    kappa: float,
    longest: int = CONTEXT,
) -> dict[int, float]:
    """Raw estimates of what follows `context` (int32, at least one token), for a reader."""
    tokens = np.empty(MOST_CANDIDATES, np.int32)
    estimates = np.empty(MOST_CANDIDATES, np.float64)
    found, kind = np.empty(WAYS, np.int32), np.empty(2, np.float64)
    count = blend(table, log, context, len(context), kappa, longest, tokens, estimates, found, kind)
    return dict(zip(tokens[:count].tolist(), estimates[:count].tolist(), strict=True))
