"""Estimates: how likely each next token is, blended from all context lengths.

From the shortest context to the longest, each length's weights are added to kappa times the
estimate of the shorter ones. So a longer match counts more than a shorter one, and a length
without a match changes nothing.

Knows the arrays of the matrix, the spans and the calibration. Does not know trees, nor histories
longer than the context it is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calibration import SURE, TRUST, cell_of
from .compile import kernel
from .matrix import SLOTS, find, pair_key, single_key
from .spans import LENGTHS, LONGEST, WAYS, successors

CONTEXT = LONGEST
"""Tokens of context that an estimate can use."""

MOST_CANDIDATES = 2 * SLOTS + len(LENGTHS) * WAYS
"""Largest number of different tokens in one estimate."""

_N_LENGTHS = len(LENGTHS)
_LENGTHS = np.asarray(LENGTHS, np.int64)


@kernel
def _add(tokens: Any, estimates: Any, count: int, token: int, share: float) -> int:
    # Adds `share` to the estimate of `token`; returns how many tokens there are.
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
        count = _add(tokens, estimates, count, table.tokens[row, i], weight * scale)
    return count


@kernel
def blend(
    table: Any,
    log: Any,
    context: Any,
    kappa: float,
    longest: int,
    tokens: Any,
    estimates: Any,
    kind: Any,
    copies: Any,
) -> int:
    """Write the raw estimates of the token that follows a context.

    Args:
        table, log: `TrigramMatrix.table` and `Spans.log`.
        context: int32 (n,), n >= 1; only the last CONTEXT tokens count.
        kappa: weight of the shorter contexts' estimate at each longer one.
        longest: longest context that is used, in tokens.
        tokens, estimates: int32 and float64 (MOST_CANDIDATES,), written.
        kind: float64 (2,), written: the length kind of the longest match (`cell_of`), and the
            weight of evidence that was seen in it.
        copies: int32 (WAYS,), scratch.

    Returns:
        How many estimates there are.
    """
    end = context.size
    count = 0
    kind[0] = 0.0
    kind[1] = 0.0
    row = find(table, single_key(context[end - 1]))
    if row >= 0:
        count = _blend_row(table, row, kappa, tokens, estimates, count)
        kind[1] = table.totals[row]
    if end > 1 and longest > 1:
        row = find(table, pair_key(context[end - 2], context[end - 1]))
        if row >= 0:
            count = _blend_row(table, row, kappa, tokens, estimates, count)
            kind[0] = 1.0
            kind[1] = table.totals[row]
    for n in range(_N_LENGTHS):
        if _LENGTHS[n] > longest:
            break
        found = successors(log, context, end, n, copies)
        if found == 0:
            break  # the log does not hold this context, so it holds no longer one either
        scale = 1.0 / (found + kappa)
        for i in range(count):
            estimates[i] *= kappa * scale
        for i in range(found):
            if copies[i] >= 0:
                count = _add(tokens, estimates, count, copies[i], scale)
        kind[0] = n + 2.0
        kind[1] = found
    return count


@kernel
def calibrate(
    estimates: Any, count: int, kind: Any, counts: Any, trusting: bool, probs: Any, cells: Any
) -> None:
    """Write the calibrated probability and the cell of each raw estimate.

    Args:
        estimates, count, kind: as `blend` wrote and returned them.
        counts: `Calibration.counts`.
        trusting: use the raw estimates as probabilities.
        probs, cells: floats and int16 (count,) or longer, written.
    """
    for i in range(count):
        cell = cell_of(int(kind[0]), kind[1], estimates[i])
        cells[i] = cell
        trust = 1.0 if trusting else counts[TRUST, cell]
        probs[i] = min(estimates[i] * trust, SURE)
