"""Candidates: the likeliest next tokens of rows of logits.

Knows logits. Does not know what the candidates are used for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.draft.compile import compiled, kernel

CANDIDATES = 8
"""Candidates kept per row."""

_LANES = 2048
"""Lanes into which a row is divided: few enough for a small scratch array at every size of the
vocabulary, and so many that most lanes hold no candidate and are skipped."""

_NEGLIGIBLE = 8.0
"""Tokens less likely than exp(-8) times the best are left out of the sum of probabilities."""


def _lane_max(row: Any, lanes: Any) -> None:
    # Writes the maximum of each lane. Lane i holds the tokens i, i + n, i + 2n, ...: neighbouring
    # lanes are neighbouring logits, so the compiler can use vector instructions.
    n = lanes.size
    stripes = row[: row.size // n * n].reshape(-1, n)
    lanes[:] = stripes[0]
    for j in range(1, stripes.shape[0]):
        for i in range(n):
            lanes[i] = max(lanes[i], stripes[j, i])


# Vector instructions need the promise that there are no NaNs and that -0 may stand for 0.
_lane_max = compiled(_lane_max, fastmath={"nnan", "nsz"})


@kernel
def _offer(tokens: Any, values: Any, held: int, token: int, value: float) -> int:
    # Inserts a token into a list of the largest values, equal ones in order of token id. Returns
    # how many the list holds.
    k = tokens.size
    if held == k:
        if value < values[k - 1] or (value == values[k - 1] and token > tokens[k - 1]):
            return held
        held -= 1
    at = held
    while at > 0 and (
        values[at - 1] < value or (values[at - 1] == value and tokens[at - 1] > token)
    ):
        values[at] = values[at - 1]
        tokens[at] = tokens[at - 1]
        at -= 1
    values[at] = value
    tokens[at] = token
    return held + 1


@kernel
def _top(logits: Any, tokens: Any, probs: Any) -> None:
    n = _LANES if logits.shape[1] >= _LANES else 0
    lanes = np.empty(n, np.float32)
    whole = logits.shape[1] // _LANES * _LANES
    for r in range(logits.shape[0]):
        row = logits[r]
        best = row[0]
        if n:
            _lane_max(row, lanes)
            best = lanes.max()
        for token in range(whole, row.size):
            best = max(best, row[token])
        tokens[r] = 0
        probs[r] = -np.inf
        held = 0
        total = 0.0
        for i in range(n + 1):
            # First each lane; last (i == n) the tokens after the last whole stripe.
            first, step, most = (i, n, lanes[i]) if i < n else (whole, 1, best)
            if most < best - _NEGLIGIBLE and (
                held == tokens.shape[1] and most < probs[r, held - 1]
            ):
                continue
            for token in range(first, row.size if i == n else whole, step):
                value = row[token]
                if value > best - _NEGLIGIBLE:
                    total += np.exp(value - best)
                if held < tokens.shape[1] or value >= probs[r, held - 1]:
                    held = _offer(tokens[r], probs[r], held, token, value)
        for j in range(tokens.shape[1]):
            probs[r, j] = np.exp(probs[r, j] - best) / total


def top_candidates(logits: Float32Array, k: int = CANDIDATES) -> tuple[Int32Array, Float32Array]:
    """Find the k likeliest tokens of each row, likeliest first, and their probabilities.

    Args:
        logits: float32 (rows, n_vocab), C-contiguous, without NaN.
        k: number of tokens; reduced to n_vocab if larger.

    Returns:
        tokens int32 (rows, k) and probs float32 (rows, k); equal logits in order of token id.
        The sum that probabilities are divided by leaves out tokens that are less likely than
        exp(-8) times the best.
    """
    k = min(k, logits.shape[1])
    tokens = np.empty((len(logits), k), np.int32)
    probs = np.empty((len(logits), k), np.float32)
    _top(logits, tokens, probs)
    return tokens, probs
