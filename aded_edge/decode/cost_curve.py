"""The cost curve: seconds of one evaluation by width, measured first, then updated by each step.

It is kept as measured, width by width. llama.cpp's kernels take rows in groups, so the curve is a
staircase, and a line fitted through it would be wrong everywhere.

Knows widths and seconds. Does not know drafts, nor what the costs are used for.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

import numpy as np

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""Widths that are measured. A draft between two of them is charged the cost of the wider one."""

NARROW = 16
"""Widths up to this one are always measured, however long it takes."""

_STEP_DOWN = 1.4
"""Upper bound for cost(width) / cost(any wider width). A larger ratio means that the measurement of
the narrower width was disturbed. The largest genuine ratio seen was 1.25."""

_RECENT = 31
"""The machine's speed is the median of this many latest steps, so half as many steps are enough to
notice a slowdown, or its end."""

_HELD = 9
"""The cost ratio of a width is the median of this many latest comparisons with width 1."""

_NEAR = 8
"""A step is compared with a plain step if at most this many steps lie between them."""

_USES = 2
"""A width is compared with the same plain step at most this often, so that one disturbed step does
not decide alone."""

_MEMORY = 512
"""A width that was not evaluated for this many steps forgets one comparison; the first measurement
takes its place."""


class CostCurve:
    """Seconds of one evaluation, by width.

    Kept as the machine's speed now (`scale`) and the cost of each width relative to width 1
    (`ratios`). Another process or a hot chip slows all widths alike. This must not change the
    ratios, which alone decide how wide to draft, so a width is only compared with plain steps close
    to it in time. Both are medians, so a few disturbed steps change nothing. A slowdown is noticed
    after 16 steps, and forgotten 16 steps after it ends.

    Args:
        seconds: width -> seconds; width 1 is required.

    Attributes:
        scale: seconds of one evaluation of width 1.
        widths: int64 (n,), rising.
        ratios: float64 (n,), cost relative to width 1.
        observed: number of steps so far.

    Raises:
        ValueError: width 1 is missing, or a time is not positive.
    """

    def __init__(self, seconds: Mapping[int, float]) -> None:
        if 1 not in seconds or any(s <= 0 for s in seconds.values()):
            raise ValueError(
                f"a cost curve needs seconds above 0 and an entry for width 1, not {dict(seconds)}"
            )
        self.scale = float(seconds[1])
        self.widths = np.asarray(sorted(seconds), np.int64)
        self.ratios = np.asarray([seconds[w] / self.scale for w in sorted(seconds)])
        self.observed = 0
        # All times and ratios below are logarithms, except those of `_before`.
        self._measured: list[float] = np.log(self.ratios).tolist()
        self._held = [deque([ratio] * _HELD, _HELD) for ratio in self._measured]
        self._held_at = [0] * len(self._held)
        self._speeds = deque([math.log(self.scale)] * _RECENT, _RECENT)
        self._plain, self._plain_at = 0.0, -_NEAR  # the last plain step: its time and number
        self._uses: Counter[int] = Counter()  # comparisons with that plain step, by place
        self._waiting: dict[int, tuple[float, int]] = {}  # steps to compare with the next plain one
        self._before = (1, 0.0)  # the last step's width and seconds
        self._places = {int(w): place for place, w in enumerate(self.widths)}  # width -> index

    def ratio(self, width: int) -> float:
        """Return the cost relative to width 1.

        Args:
            width: a width that was not measured costs what the next wider one does, or the widest.
        """
        place = min(int(np.searchsorted(self.widths, width)), len(self.widths) - 1)
        return float(self.ratios[place])

    def seconds(self) -> dict[int, float]:
        """Return width -> seconds, as the machine is now."""
        return {width: self.scale * float(self.ratios[i]) for width, i in self._places.items()}

    def settled(self) -> dict[int, float]:
        """Return width -> seconds for the next process to begin with.

        The ratios lie half-way (as factors) between the first measurement and the steps since. So
        a slow hour counts half, and a disturbed first measurement is corrected within a few
        sessions.
        """
        halfway = np.exp((np.asarray(self._measured) + np.log(self.ratios)) / 2)
        return {width: self.scale * float(halfway[i]) for width, i in self._places.items()}

    def observe(self, width: int, seconds: float) -> None:
        """Record that a step of this width took so many seconds; unmeasured widths are ignored.

        llama.cpp builds its graph anew when the width changes. So a plain step after a draft takes
        longer, and the additional time is added to the cost of the draft.
        """
        (before, spent), self._before = self._before, (width, seconds)
        if before > 1:
            near = self.observed - self._plain_at <= _NEAR
            plain = math.exp(self._plain) if near else self.scale
            self._count(before, spent + (max(seconds - plain, 0.0) if width == 1 else 0.0))
        elif width == 1:
            self._count(1, seconds)

    def _count(self, width: int, seconds: float) -> None:
        place = self._places.get(width)
        if place is None or seconds <= 0:
            return
        self.observed += 1
        now = math.log(seconds)
        self._speeds.append(now - math.log(self.ratios[place]))
        self.scale = math.exp(_median(self._speeds))
        if place == 0:
            self._plain, self._plain_at = now, self.observed
            self._uses.clear()
            if self._waiting:
                waiting, self._waiting = self._waiting, {}
                for other, (then, at) in waiting.items():
                    self._compare(other, then, at)
        else:
            self._compare(place, now, self.observed)
        if self.observed % _MEMORY == 0:
            self._remind()

    def _compare(self, place: int, time: float, at: int) -> None:
        if abs(at - self._plain_at) > _NEAR or self._uses[place] == _USES:
            self._waiting[place] = time, at
            return
        self._uses[place] += 1
        self._hold(place, time - self._plain)

    def _hold(self, place: int, ratio: float) -> None:
        self._held[place].append(ratio)
        self._held_at[place] = self.observed
        self.ratios[place] = math.exp(_median(self._held[place]))

    def _remind(self) -> None:
        # A width that became expensive in a slow phase is not evaluated any more, so no step could
        # correct its cost.
        for place, at in enumerate(self._held_at):
            if place > 0 and self.observed - at >= _MEMORY:
                self._hold(place, self._measured[place])


def _median(values: deque[float]) -> float:
    return sorted(values)[len(values) // 2]  # their number is odd


def measure(
    evaluate: Callable[[int], object], most: int, seconds: float, rounds: int = 3
) -> CostCurve:
    """Measure the curve in rounds through the widths, until the time is spent.

    The fastest round counts, because other work of the machine can only add to a time. A wider
    evaluation never costs less than a plain one, so lower measurements are raised to it. Narrow
    widths come first and twice as often, because most decisions are about them. Each width is
    measured between plain evaluations, because most drafts lie between plain steps and both
    changes of the width take time.

    Args:
        evaluate: evaluates a chain of the given width and waits for the result.
        most: largest width that can be evaluated.
        seconds: time to spend. Widths up to NARROW are always measured once; on a slow model the
            wider ones may be left out.
        rounds: largest number of rounds.
    """
    times: dict[int, list[float]] = {1: []}

    def timed(width: int) -> float:
        began = time.perf_counter()
        evaluate(width)
        return time.perf_counter() - began

    evaluate(1)  # not timed: the first evaluation of a context allocates memory
    start = time.perf_counter()
    narrow = [width for width in WIDTHS if 1 < width <= min(most, NARROW)]
    wide = [width for width in WIDTHS if NARROW < width <= most]
    for part, widths in enumerate([narrow, narrow, wide] * rounds):
        for width in widths or [1]:
            if part and time.perf_counter() - start > seconds:
                break
            evaluate(1)
            times[1].append(timed(1))
            pair = timed(width) + timed(1)
            times.setdefault(width, []).append(max(pair - min(times[1]), pair / 2))
    return CostCurve(_plausible({width: min(t) for width, t in times.items()}))


def _plausible(fastest: dict[int, float]) -> dict[int, float]:
    # Kernels take rows in groups, so a wider batch can cost a little less than a narrower one, but
    # not much less: then the narrower one was disturbed in every round.
    curve, wider = {}, float("inf")
    for width in sorted(fastest, reverse=True):
        curve[width] = min(fastest[width], _STEP_DOWN * wider)
        wider = min(wider, curve[width])
    return {width: max(cost, curve[1]) for width, cost in curve.items()}
