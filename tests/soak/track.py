"""What a soak watches: memory and store at the quarters of a run, bookkeeping time at its tenths.

Knows numbers only. Does not know what runs.
"""

from __future__ import annotations

import gc
from pathlib import Path
from statistics import median
from typing import Any

import psutil

TENTHS = 10
QUARTERS = 4

MOST_GROWTH = 1.05
"""Memory of the last quarter over that of the second one."""

MOST_STORE_GROWTH = 1.15
"""The same for the largest size of the store; a fold writes the new sum before the old parts go."""

MOST_SLOWER = 1.3
"""Bookkeeping time of a step in the last tenth over that in the second one."""


class Track:
    """The figures of one run.

    Args:
        total: number of steps of the run.
        store: the store's file.
    """

    def __init__(self, total: int, store: Path) -> None:
        self._total = total
        self._store = store
        self._micros: list[list[float]] = [[] for _ in range(TENTHS)]  # of a step, by answer
        self._memory = [0] * QUARTERS
        self._sizes = [0] * QUARTERS
        self.steps = 0

    def add(self, steps: int, seconds: float) -> None:
        """Count the steps of an answer, and the seconds of drafting and learning in it."""
        if self.done or not steps:
            return
        self._micros[self.steps * TENTHS // self._total].append(1e6 * seconds / steps)
        quarter = self.steps * QUARTERS // self._total
        self.steps += steps
        self._sizes[quarter] = max(self._sizes[quarter], self._store_bytes())
        if self.steps * QUARTERS // self._total > quarter:
            gc.collect()
            self._memory[quarter] = psutil.Process().memory_info().rss

    @property
    def done(self) -> bool:
        """Whether all steps were made."""
        return self.steps >= self._total

    def figures(self) -> dict[str, Any]:
        """All figures, ready for JSON; memory and store in bytes, times in microseconds."""
        # Medians of answers, because other processes disturb some of them.
        micros = [round(median(times), 1) if times else 0.0 for times in self._micros]
        return {
            "steps": self.steps,
            "memory": self._memory,
            "memory_growth": _ratio(self._memory[-1], self._memory[1]),
            "store": self._sizes,
            "store_growth": _ratio(self._sizes[-1], self._sizes[1]),
            "bookkeeping_us": micros,
            "slower": _ratio(micros[-1], micros[1]),
        }

    def _store_bytes(self) -> int:
        files = self._store.parent.glob(self._store.name + "*")
        return sum(file.stat().st_size for file in files if file.exists())


def violations(name: str, figures: dict[str, Any], timed: bool) -> list[str]:
    """What does not hold of the figures of a run.

    Args:
        name: of the run.
        figures: see `Track.figures`.
        timed: judge times too.
    """
    limits = {"memory_growth": MOST_GROWTH, "store_growth": MOST_STORE_GROWTH}
    if timed:
        limits["slower"] = MOST_SLOWER
    return [
        f"{name}: {what} is {figures[what]}, more than {most}"
        for what, most in limits.items()
        if figures[what] > most
    ]


def _ratio(last: float, second: float) -> float:
    return round(last / second, 3) if second else float("inf")
