"""What an estimate is worth: how often the target really chose what was estimated at p.

Raw estimates are over-confident on a cold matrix and differ by kind of evidence: a copied span
of eight tokens that says 0.7 is not a tri-gram seen once that says 0.7. Each kind is a cell with
a trust, the factor by which its estimates are multiplied. Cells start pessimistic: width must
be earned.

Knows cells and counts. Does not know what the evidence was, nor what a node costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Float32Array

from .compile import kernel

LENGTH_KINDS = 8
"""Longest context that matched: 1, 2, 3, 4, 6, 8, 16, 32 tokens."""

EVIDENCE_KINDS = 4
"""How much was seen in it: next to nothing, little, some, a lot."""

BANDS = 8
"""Bands of the raw estimate."""

CELLS = LENGTH_KINDS * EVIDENCE_KINDS * BANDS

PRIOR_TRIALS = 4.0
"""An unseen cell counts as this many trials ..."""

PRIOR_TRUST = 0.6
"""... that were accepted this much less often than estimated."""

MOST_EXPECTED = 200.0
"""A cell that has expected more acceptances is halved: it follows the target and the user."""

SURE = 0.998
"""No estimate is believed beyond this."""

EXPECTED, ACCEPTED, TRUST, NEW_EXPECTED, NEW_ACCEPTED = range(5)
"""Rows of `Calibration.counts`."""

# Weights are mostly whole numbers, so bounds between whole numbers do not depend on rounding.
_LITTLE, _SOME, _MUCH = 1.4, 4.4, 12.4
_EDGES = np.asarray([0.05, 0.12, 0.25, 0.4, 0.6, 0.8, 0.93], np.float64)
_PRIOR = PRIOR_TRIALS * np.tile(
    np.asarray([0.03, 0.08, 0.18, 0.32, 0.5, 0.7, 0.87, 0.97], np.float32),
    LENGTH_KINDS * EVIDENCE_KINDS,
)


@kernel
def cell_of(length_kind: int, evidence: float, estimate: float) -> int:
    """The cell of an estimate: its length kind 0..7, weight of evidence, raw probability."""
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
    """Counts the outcome of one raw estimate; a negative cell is passed over."""
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
        counts: float32 (5, CELLS): by EXPECTED, the sum of the raw estimates whose outcome was
            seen; by ACCEPTED, how many of them the target chose; by TRUST, the factor for the
            estimates of each cell; by NEW_EXPECTED and NEW_ACCEPTED, what this process added.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((5, CELLS), np.float32)
        self.counts[TRUST] = PRIOR_TRUST

    def record(self, cell: int, estimate: float, hit: bool) -> None:
        """Counts the outcome of one raw estimate."""
        record(self.counts, cell, estimate, hit)

    def absorb(self, expected: Float32Array, accepted: Float32Array) -> None:
        """Adds what an earlier process counted, float32 (CELLS,) each; of another version, not."""
        if len(expected) != CELLS:
            return
        counts = self.counts
        counts[EXPECTED] += expected
        counts[ACCEPTED] += accepted
        counts[: ACCEPTED + 1] /= np.maximum(counts[EXPECTED] / MOST_EXPECTED, 1.0)
        counts[TRUST] = (counts[ACCEPTED] + PRIOR_TRUST * _PRIOR) / (counts[EXPECTED] + _PRIOR)

    def take_new(self) -> tuple[Float32Array, Float32Array]:
        """What was counted since the last call: expected, accepted, float32 (CELLS,) each."""
        expected, accepted = self.counts[NEW_EXPECTED:].copy()
        self.counts[NEW_EXPECTED:] = 0.0
        return expected, accepted
