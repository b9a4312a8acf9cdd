"""The oracle: a drafter that knows the whole answer in advance. It bounds every real drafter.

Knows cost curves and lengths of answers. Does not know drafts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache


def oracle_seconds(costs: Mapping[int, float], tokens: int) -> float:
    """Compute the least possible cost of the evaluations that emit `tokens` tokens.

    An evaluation of width w emits up to w tokens: w - 1 accepted draft tokens and the bonus.

    Args:
        costs: cost of one evaluation by width, in any unit; width 1 is required.
        tokens: tokens of the answer without the first, which the evaluation of the prompt emits.

    Returns:
        The cost, in the unit of `costs`.
    """
    tokens = max(tokens, 0)
    # Rounded up, so that answers of many lengths share few tables.
    return _least(tuple(sorted(costs.items())), -(-tokens // _TOGETHER) * _TOGETHER)[tokens]


@lru_cache(maxsize=64)
def _least(costs: tuple[tuple[int, float], ...], tokens: int) -> list[float]:
    least = [0.0]
    for length in range(1, tokens + 1):
        least.append(min(cost + least[max(length - width, 0)] for width, cost in costs))
    return least


_TOGETHER = 256
