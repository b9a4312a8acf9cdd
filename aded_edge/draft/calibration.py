"""Calibration: how often the target really chose a token that was estimated at p.

Raw estimates are too high while the matrix is cold, and they differ by kind of evidence: an
estimate of 0.7 from a copied span of eight tokens is better than one from a tri-gram seen once.
So estimates are sorted into cells by length of the context, weight of evidence and height, and
each cell has a trust: the factor by which its estimates are multiplied. A cell starts below 1, so
that a new matrix drafts little until its estimates have proved right.

Knows cells and counts. Does not know where an estimate comes from, nor what a node costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Float32Array

from .compile import kernel

LENGTH_KINDS = 8
"""Kinds of the longest context that matched: 1, 2, 3, 4, 6, 8, 16 or 32 tokens."""

EVIDENCE_KINDS = 4
"""Kinds of the weight seen in that context: next to nothing, little, some, much."""

BANDS = 8
"""Bands of the raw estimate."""

CELLS = LENGTH_KINDS * EVIDENCE_KINDS * BANDS

PRIOR_TRIALS = 4.0
"""Number of estimates with which a cell starts, as if they had been tried."""

PRIOR_TRUST = 0.6
"""Trust of a new cell: the share of these trials that counts as accepted."""

MOST_EXPECTED = 200.0
"""When a cell has expected more acceptances than this its counts are halved, so that it follows
changes of the target's behaviour."""

MOST_KEPT = 32.0
"""What an earlier process counted weighs as much as this many estimates of this one at most, so
that a wrong or forged count is soon outweighed."""

SURE = 0.998
"""Upper bound of a calibrated probability."""

EXPECTED, ACCEPTED, TRUST, NEW_EXPECTED, NEW_ACCEPTED = range(5)
"""Rows of `Calibration.counts`."""

_MOST_COUNTED = 1e6  # more is not counted by any process, and a sum of forged counts may overflow

# Lower bounds of the kinds of evidence. Weights are mostly whole numbers, so bounds between whole
# numbers do not depend on rounding. (Three scalars: an array makes a search 5 % slower.)
_LITTLE, _SOME, _MUCH = 1.4, 4.4, 12.4

_EDGES = np.asarray([0.05, 0.12, 0.25, 0.4, 0.6, 0.8, 0.93], np.float64)  # between bands
_PRIOR = PRIOR_TRIALS * np.tile(  # the middle of each band, for each cell
    np.asarray([0.03, 0.08, 0.18, 0.32, 0.5, 0.7, 0.87, 0.97], np.float32),
    LENGTH_KINDS * EVIDENCE_KINDS,
)


@kernel
def cell_of(length_kind: int, evidence: float, estimate: float) -> int:
    """Return the cell of an estimate.

    Args:
        length_kind: which context length matched, 0 .. LENGTH_KINDS - 1.
        evidence: weight that was seen in that context.
        estimate: the raw estimate.
    """
    weight_kind = 0
    if evidence >= _MUCH:
        weight_kind = 3
    elif evidence >= _SOME:
        weight_kind = 2
    elif evidence >= _LITTLE:
        weight_kind = 1
    band = 0
    while band < BANDS - 1 and estimate >= _EDGES[band]:
        band += 1
    return (length_kind * EVIDENCE_KINDS + weight_kind) * BANDS + band


@kernel
def record(counts: Any, cell: int, estimate: float, hit: bool) -> None:
    """Count the outcome of one raw estimate. A negative cell (no calibration) is ignored."""
    if cell < 0:
        return
    if counts[EXPECTED, cell] >= MOST_EXPECTED:
        counts[EXPECTED, cell] *= 0.5
        counts[ACCEPTED, cell] *= 0.5
    counts[EXPECTED, cell] += estimate
    counts[NEW_EXPECTED, cell] += estimate
    if hit:
        counts[ACCEPTED, cell] += 1.0
        counts[NEW_ACCEPTED, cell] += 1.0
    prior = _PRIOR[cell]
    counts[TRUST, cell] = (counts[ACCEPTED, cell] + PRIOR_TRUST * prior) / (
        counts[EXPECTED, cell] + prior
    )


class Calibration:
    """Expected and real acceptances by cell.

    Attributes:
        counts: float32 (5, CELLS). EXPECTED: sum of the raw estimates whose outcome is known.
            ACCEPTED: how many of them the target chose. TRUST: factor for the estimates of the
            cell. NEW_EXPECTED, NEW_ACCEPTED: what was counted since `take_new`.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((5, CELLS), np.float32)
        self.counts[TRUST] = PRIOR_TRUST

    def absorb(self, expected: Float32Array, accepted: Float32Array) -> None:
        """Add the counts of an earlier process.

        Args:
            expected, accepted: float32 (CELLS,). Counts with another number of cells come from
                another version and are ignored.
        """
        if len(expected) != CELLS:
            return
        counts = self.counts
        counts[EXPECTED] += np.minimum(expected, _MOST_COUNTED)
        counts[ACCEPTED] += np.minimum(accepted, _MOST_COUNTED)
        counts[: ACCEPTED + 1] /= np.maximum(counts[EXPECTED] / MOST_EXPECTED, 1.0)
        counts[TRUST] = (counts[ACCEPTED] + PRIOR_TRUST * _PRIOR) / (counts[EXPECTED] + _PRIOR)

    def doubt(self) -> None:
        """Let what was absorbed weigh MOST_KEPT estimates at most; the trust of each cell stays."""
        counts = self.counts
        weight = counts[EXPECTED] + _PRIOR
        trust = (counts[ACCEPTED] + PRIOR_TRUST * _PRIOR) / weight
        trust = np.minimum(trust, PRIOR_TRIALS / _PRIOR)  # more than all cannot come true
        weight = np.minimum(weight, MOST_KEPT / PRIOR_TRIALS * _PRIOR)
        counts[EXPECTED] = weight - _PRIOR
        counts[ACCEPTED] = np.maximum(trust * weight - PRIOR_TRUST * _PRIOR, 0.0)
        counts[TRUST] = (counts[ACCEPTED] + PRIOR_TRUST * _PRIOR) / weight

    def take_new(self) -> tuple[Float32Array, Float32Array]:
        """Return what was counted since the last call: expected, accepted; float32 (CELLS,)."""
        expected, accepted = self.counts[NEW_EXPECTED:].copy()
        self.counts[NEW_EXPECTED:] = 0.0
        return expected, accepted
