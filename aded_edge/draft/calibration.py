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
import numpy.typing as npt
from numba import njit

LENGTH_KINDS = 6
"""Longest context that matched: 1, 2, 3, 4, 6, 8 tokens."""

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

SURE = 0.99
"""No estimate is believed beyond this."""

_EDGES = np.asarray([0.05, 0.12, 0.25, 0.4, 0.6, 0.8, 0.93], np.float64)
_PRIOR = PRIOR_TRIALS * np.tile(
    np.asarray([0.03, 0.08, 0.18, 0.32, 0.5, 0.7, 0.87, 0.97], np.float32),
    LENGTH_KINDS * EVIDENCE_KINDS,
)


@njit(cache=True, nogil=True)
def cell_of(length_kind: int, evidence: float, estimate: float) -> int:
    """The cell of an estimate: its length kind 0..5, weight of evidence, raw probability."""
    weight_kind = 0
    if evidence >= 12.0:
        weight_kind = 3
    elif evidence >= 4.0:
        weight_kind = 2
    elif evidence >= 1.5:
        weight_kind = 1
    band = 0
    while band < BANDS - 1 and estimate >= _EDGES[band]:
        band += 1
    return (length_kind * EVIDENCE_KINDS + weight_kind) * BANDS + band


@njit(cache=True, nogil=True)
def _record(
    expected: Any, accepted: Any, trust: Any, prior: Any, cells: Any, estimates: Any, hits: Any
) -> None:
    for i in range(cells.size):
        cell = cells[i]
        if cell < 0:
            continue
        if expected[cell] >= MOST_EXPECTED:
            expected[cell] *= 0.5
            accepted[cell] *= 0.5
        expected[cell] += estimates[i]
        accepted[cell] += hits[i]
        trust[cell] = (accepted[cell] + PRIOR_TRUST * prior[cell]) / (
            expected[cell] + prior[cell]
        )


class Calibration:
    """Expected and real acceptances by cell.

    Attributes:
        expected: float32 (CELLS,), sum of the raw estimates whose outcome was seen.
        accepted: float32 (CELLS,), how many of them the target chose.
        trust: float32 (CELLS,), the factor for the estimates of each cell.
    """

    def __init__(self) -> None:
        self.expected = np.zeros(CELLS, np.float32)
        self.accepted = np.zeros(CELLS, np.float32)
        self.trust = np.full(CELLS, PRIOR_TRUST, np.float32)

    def record(
        self,
        cells: npt.NDArray[np.int16],
        estimates: npt.NDArray[np.float32],
        hits: npt.NDArray[np.float32],
    ) -> None:
        """Counts outcomes of raw estimates.

        Args:
            cells: int16 (n,), negative ones are passed over.
            estimates: float32 (n,), the raw estimates.
            hits: float32 (n,), 1 where the target chose the token, else 0.
        """
        _record(self.expected, self.accepted, self.trust, _PRIOR, cells, estimates, hits)

    def absorb(
        self, expected: npt.NDArray[np.float32], accepted: npt.NDArray[np.float32]
    ) -> None:
        """Adds what an earlier process counted, float32 (CELLS,) each."""
        self.expected += expected
        self.accepted += accepted
        excess = np.maximum(self.expected / MOST_EXPECTED, 1.0)
        self.expected /= excess
        self.accepted /= excess
        self.trust[:] = (self.accepted + PRIOR_TRUST * _PRIOR) / (self.expected + _PRIOR)
