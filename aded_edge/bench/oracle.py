"""The oracle: a drafter that knows the future. Nobody can be faster under the same costs.

Knows a cost curve and lengths of answers. Does not know drafts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache


def oracle_seconds(costs: Mapping[int, float], tokens: int) -> float:
    """The least that evaluations emitting `tokens` tokens can cost.

    An evaluation of width w emits up to w tokens: its w - 1 drafted ones and the target's own.

    Args:
        costs: cost of one evaluation by width, in any unit; width 1 is required.
        tokens: tokens behind the prompt's own evaluation.
    """
    return _least(tuple(sorted(costs.items())), max(tokens, 0))[max(tokens, 0)]


@lru_cache(maxsize=64)
def _least(costs: tuple[tuple[int, float], ...], tokens: int) -> list[float]:
    least = [0.0]
    for length in range(1, tokens + 1):
        least.append(min(cost + least[max(length - width, 0)] for width, cost in costs))
    return least
