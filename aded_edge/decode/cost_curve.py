"""The cost curve: seconds of one evaluation by width, measured, and followed from the steps.

It is kept as measured, width by width: kernels take rows in groups, so it is a staircase, and a
line through it would be wrong everywhere.

Knows widths and seconds. Does not know drafts, nor what is done with the costs.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

import numpy as np

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""Widths that are measured. Only these are chosen: between them nothing is guessed."""

NARROW = 16
"""Widths up to this one are always measured."""

_STEP_DOWN = 1.4
"""The most that a width can cost in terms of a wider one; 1.25 was seen."""

_RECENT = 31
"""Steps whose median is the machine's speed now: half of them notice a slowdown, or its end."""

_HELD = 9
"""Latest comparisons of each width with width 1 whose median is its place on the staircase."""

_NEAR = 8
"""Steps of two widths are compared if no more than so many lie between them."""

_USES = 2
"""Comparisons of one width with the same plain step: a disturbed one must not decide alone."""

_MEMORY = 512
"""Observations after which one of a width's comparisons gives way to the first measurement."""


class CostCurve:
    """Seconds of one evaluation, by width.

    Kept as the machine's speed now (`scale`) and the staircase relative to it. Another process or
    a hot chip slows all widths alike, and that must not look like a change of the staircase,
    which alone decides how wide to draft. So a width is only compared with plain steps close by.
    Both are medians, so a hiccup changes nothing; a slowdown is noticed after 16 steps, and
    forgotten 16 steps after it ends.

    Args:
        seconds: width -> seconds; width 1 is required.

    Attributes:
        scale: seconds of one evaluation of width 1.
        widths: int64 (n,), rising.
        ratios: float64 (n,), cost relative to width 1.
        observed: steps seen so far.
    """

    def __init__(self, seconds: Mapping[int, float]) -> None:
        if 1 not in seconds or any(s <= 0 for s in seconds.values()):
            raise ValueError(f"a cost curve needs positive seconds and a width 1: {dict(seconds)}")
        self.scale = float(seconds[1])
        self.widths = np.asarray(sorted(seconds), np.int64)
        self.ratios = np.asarray([seconds[w] / self.scale for w in sorted(seconds)])
        self.observed = 0
        # All in logarithms of seconds.
        self._measured: list[float] = np.log(self.ratios).tolist()
        self._held = [deque([ratio] * _HELD, _HELD) for ratio in self._measured]
        self._held_at = [0] * len(self._held)
        self._speeds = deque([math.log(self.scale)] * _RECENT, _RECENT)
        self._plain, self._plain_at = 0.0, -_NEAR  # the last plain step, and when it was
        self._uses: Counter[int] = Counter()  # comparisons with it, by place
        self._waiting: dict[int, tuple[float, int]] = {}  # steps without a plain one before them
        self._before = (1, 0.0)  # the last step's width and seconds
        self._places = {int(w): place for place, w in enumerate(self.widths)}

    def ratio(self, width: int) -> float:
        """Cost relative to width 1 of the next width that is measured, or of the widest."""
        place = min(int(np.searchsorted(self.widths, width)), len(self.widths) - 1)
        return float(self.ratios[place])

    def seconds(self) -> dict[int, float]:
        """Width -> seconds, as it stands now."""
        return {width: self.scale * float(self.ratios[i]) for width, i in self._places.items()}

    def settled(self) -> dict[int, float]:
        """Width -> seconds, half-way from what was measured to what was seen since.

        What to keep for the next process: a slow hour counts half, and a first measurement that
        was disturbed is mended in a few sessions.
        """
        halfway = np.exp((np.asarray(self._measured) + np.log(self.ratios)) / 2)
        return {width: self.scale * float(halfway[i]) for width, i in self._places.items()}

    def observe(self, width: int, seconds: float) -> None:
        """A step of this width took so long. Unmeasured widths teach nothing.

        llama.cpp builds its graph anew when the width changes. So a plain step behind a draft
        takes longer for the draft's sake, and that is counted as the draft's.
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
        # What a slow phase did to a width must not keep it from ever being tried again.
        for place, at in enumerate(self._held_at):
            if place > 0 and self.observed - at >= _MEMORY:
                self._hold(place, self._measured[place])


def _median(values: deque[float]) -> float:
    return sorted(values)[len(values) // 2]  # of an odd number


def measure(
    evaluate: Callable[[int], object], most: int, seconds: float, rounds: int = 3
) -> CostCurve:
    """Measures the curve in rounds through the widths, until the time is spent.

    The fastest round counts: whatever else the machine does can only add to a time. A wider
    evaluation never costs less than a plain one, so neither does the curve say so. Narrow widths
    come first and twice as often, because most decisions are about them. Each is measured between
    plain ones, as most drafts stand: both changes of the width cost something.

    Args:
        evaluate: evaluates a chain of the given width and waits for the result.
        most: the widest evaluation possible.
        seconds: time to spend. Widths up to NARROW are always measured once; on a slow model the
            wider ones may be left out.
        rounds: the most rounds.
    """
    times: dict[int, list[float]] = {1: []}

    def timed(width: int) -> float:
        began = time.perf_counter()
        evaluate(width)
        return time.perf_counter() - began

    evaluate(1)  # the first evaluation of a context allocates
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
    # Kernels take rows in groups, so a wider batch can cost a little less, but not half: such a
    # step down means that the narrower one was disturbed in every round.
    curve, wider = {}, float("inf")
    for width in sorted(fastest, reverse=True):
        curve[width] = min(fastest[width], _STEP_DOWN * wider)
        wider = min(wider, curve[width])
    return {width: max(cost, curve[1]) for width, cost in curve.items()}
