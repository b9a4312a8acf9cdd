"""The likeliest next tokens in a row of logits, in one pass.

Knows logits. Does not know what they are used for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

CANDIDATES = 8
"""Candidates kept per row."""

_BLOCK = 64
_NEGLIGIBLE = 12.0
"""exp(-12) of the best: all tokens below it together are not worth a second look."""


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def _block_max(row: Any, start: int, stop: int) -> float:
    best = row[start]
    for i in range(start + 1, stop):
        best = max(best, row[i])
    return float(best)


@njit(cache=True, nogil=True)
def _top(logits: Any, tokens: Any, probs: Any) -> None:
    k = tokens.shape[1]
    for r in range(logits.shape[0]):
        row = logits[r]
        total = 0.0  # of exp(logit - best), best so far
        best = -np.inf
        least = -np.inf  # the k-th best so far
        held = 0
        tokens[r] = 0
        probs[r] = -np.inf
        for start in range(0, row.size, _BLOCK):
            stop = min(start + _BLOCK, row.size)
            if _block_max(row, start, stop) <= min(least, best - _NEGLIGIBLE):
                continue
            for i in range(start, stop):
                value = row[i]
                if value > best:
                    total = total * np.exp(best - value) + 1.0
                    best = value
                elif value > best - _NEGLIGIBLE:
                    total += np.exp(value - best)
                if held < k or value > least:
                    at = held if held < k else k - 1
                    while at > 0 and probs[r, at - 1] < value:
                        probs[r, at] = probs[r, at - 1]
                        tokens[r, at] = tokens[r, at - 1]
                        at -= 1
                    probs[r, at] = value
                    tokens[r, at] = i
                    held = min(held + 1, k)
                    if held == k:
                        least = probs[r, k - 1]
        for j in range(k):
            probs[r, j] = np.exp(probs[r, j] - best) / total


def top_candidates(
    logits: npt.NDArray[np.float32], k: int = CANDIDATES
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k likeliest tokens of each row, likeliest first, and their probabilities.

    Args:
        logits: float32 (rows, n_vocab), C-contiguous, not NaN.
        k: how many; at most n_vocab.

    Returns:
        tokens int32 (rows, k) and probs float32 (rows, k); equal logits in order of token id.
        Probabilities leave out tokens less likely than exp(-12) of the best.
    """
    k = min(k, logits.shape[1])
    tokens = np.empty((len(logits), k), np.int32)
    probs = np.empty((len(logits), k), np.float32)
    _top(logits, tokens, probs)
    return tokens, probs
