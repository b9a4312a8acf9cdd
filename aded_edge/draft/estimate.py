"""Estimates: how likely each next token is, blended from all context lengths.

From the shortest context to the longest, each length's weights are added to kappa times the
estimate of the shorter ones. So a longer match counts more than a shorter one, and a length
without a match changes nothing.

Knows the arrays of the matrix, the spans and the calibration. Does not know trees, nor histories
longer than the context it is given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aded_edge.arrays import Float32Array

from .calibration import SURE, TRUST, cell_of
from .compile import kernel
from .matrix import SLOTS, Table, find, pair_key, single_key
from .spans import LENGTHS, LONGEST, WAYS, Log, successors

CONTEXT = LONGEST
"""Tokens of context that an estimate can use."""

MOST_CANDIDATES = 2 * SLOTS + len(LENGTHS) * WAYS
"""Largest number of different tokens in one estimate."""

_N_LENGTHS = len(LENGTHS)
_LENGTHS = np.asarray(LENGTHS, np.int64)


class Evidence(NamedTuple):
    """What estimates are made from, and how."""

    table: Table  # `TrigramMatrix.table`
    log: Log  # `Spans.log`
    counts: Float32Array  # `Calibration.counts`
    kappa: float  # weight of the shorter contexts' estimate at each longer one
    longest: int  # longest context that is used, in tokens
    trusting: bool  # use the raw estimates, without calibration


class Estimates(NamedTuple):
    """The estimates for one context; kernels write into these arrays, and use them again."""

    tokens: Any  # int32 (MOST_CANDIDATES,)
    raw: Any  # float64 (MOST_CANDIDATES,)
    probs: Any  # float64 (MOST_CANDIDATES,), calibrated
    cells: Any  # int16 (MOST_CANDIDATES,)
    kind: Any  # float64 (2,), longest length kind that matched, and the evidence seen in it
    copies: Any  # int32 (WAYS,), scratch


@kernel
def new_estimates() -> Any:
    """Allocate `Estimates`."""
    return Estimates(
        np.empty(MOST_CANDIDATES, np.int32),
        np.empty(MOST_CANDIDATES, np.float64),
        np.empty(MOST_CANDIDATES, np.float64),
        np.empty(MOST_CANDIDATES, np.int16),
        np.empty(2, np.float64),
        np.empty(WAYS, np.int32),
    )


@kernel
def _add(tokens: Any, raw: Any, count: int, token: int, share: float) -> int:
    for i in range(count):
        if tokens[i] == token:
            raw[i] += share
            return count
    tokens[count] = token
    raw[count] = share
    return count + 1


@kernel
def _blend_row(table: Any, row: int, kappa: float, out: Any, count: int) -> int:
    scale = 1.0 / (table.totals[row] + kappa)
    for i in range(count):
        out.raw[i] *= kappa * scale
    for i in range(SLOTS):
        weight = table.weights[row, i]
        if weight == 0.0:
            continue
        count = _add(out.tokens, out.raw, count, table.tokens[row, i], weight * scale)
    return count


@kernel
def blend(evidence: Any, context: Any, end: int, out: Any) -> int:
    """Write the raw estimates of the token that follows context[:end].

    Args:
        evidence: an `Evidence`.
        context: int32, at least `end` long; only the last CONTEXT tokens count.
        end: number of context tokens, at least 1.
        out: an `Estimates`; `tokens`, `raw` and `kind` are written.

    Returns:
        How many estimates there are.
    """
    table, kappa, longest = evidence.table, evidence.kappa, evidence.longest
    count = 0
    out.kind[0] = 0.0
    out.kind[1] = 0.0
    row = find(table, single_key(context[end - 1]))
    if row >= 0:
        count = _blend_row(table, row, kappa, out, count)
        out.kind[1] = table.totals[row]
    if end > 1 and longest > 1:
        row = find(table, pair_key(context[end - 2], context[end - 1]))
        if row >= 0:
            count = _blend_row(table, row, kappa, out, count)
            out.kind[0] = 1.0
            out.kind[1] = table.totals[row]
    for n in range(_N_LENGTHS):
        if _LENGTHS[n] > longest:
            break
        copies = successors(evidence.log, context, end, n, out.copies)
        if copies == 0:
            break  # a context that does not occur in the log makes every longer one impossible
        scale = 1.0 / (copies + kappa)
        for i in range(count):
            out.raw[i] *= kappa * scale
        for i in range(copies):
            if out.copies[i] >= 0:
                count = _add(out.tokens, out.raw, count, out.copies[i], scale)
        out.kind[0] = n + 2.0
        out.kind[1] = copies
    return count


@kernel
def calibrate(evidence: Any, out: Any, count: int) -> None:
    """Write the calibrated probability and the cell of each of the first `count` raw estimates."""
    for i in range(count):
        cell = cell_of(int(out.kind[0]), out.kind[1], out.raw[i])
        out.cells[i] = cell
        trust = 1.0 if evidence.trusting else evidence.counts[TRUST, cell]
        out.probs[i] = min(out.raw[i] * trust, SURE)
