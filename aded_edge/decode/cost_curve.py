"""The cost curve: seconds of one evaluation by width, measured, and followed from the steps.

It is kept as measured, width by width: kernels take rows in groups, so it is a staircase, and a
line through it would be wrong everywhere.

Knows widths and seconds. Does not know drafts, nor what is done with the costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..draft.kernel import kernel

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""Widths that are measured. Only these are chosen: between them nothing is guessed."""

NARROW = 8
"""Widths up to this one are always measured."""

_STEP_DOWN = 1.4
"""The most that a width can cost in terms of a wider one; 1.25 was seen."""

_RECENT = 31
"""Steps whose median is the machine's speed now: half of them notice a slowdown, or its end."""

_HELD = 9
"""Latest times of each width whose median is its place on the staircase."""

_MEMORY = 512
"""Observations after which one of a width's times gives way to the one measured at first."""


# Columns of the curve's state, one row a width; an array less is a microsecond less a step.
_MEASURED, _MEDIAN, _RATIO, _AGE, _COUNT, _FIRST_HELD = range(6)


@kernel
def _median(values: Any) -> float:
    # Of an odd number of values; by insertion, as they are few.
    ordered = np.empty(values.size, np.float64)
    for i in range(values.size):
        at = i
        while at > 0 and ordered[at - 1] > values[i]:
            ordered[at] = ordered[at - 1]
            at -= 1
        ordered[at] = values[i]
    return ordered[values.size // 2]


@kernel
def _hold(row: Any, value: float) -> None:
    row[_FIRST_HELD + int(row[_COUNT]) % _HELD] = value
    row[_COUNT] += 1
    row[_AGE] = 0
    row[_MEDIAN] = _median(row[_FIRST_HELD:])


@kernel
def _observe(state: Any, speeds: Any, seen: int, place: int, seconds: float) -> float:
    now = np.log(seconds)
    speeds[seen % speeds.size] = now - np.log(state[place, _RATIO])
    speed = _median(speeds)
    _hold(state[place], now - speed)
    for i in range(state.shape[0]):
        state[i, _AGE] += 1
        # What a slow phase did to a width must not keep it from ever being tried again.
        if state[i, _AGE] > _MEMORY:
            _hold(state[i], state[i, _MEASURED])
    for i in range(state.shape[0]):
        state[i, _RATIO] = np.exp(state[i, _MEDIAN] - state[0, _MEDIAN])
    return np.exp(speed)


class CostCurve:
    """Seconds of one evaluation, by width.

    Kept as the machine's speed now (`scale`) and the staircase relative to it. Another process or
    a hot chip slows all widths alike, and that must not look like a change of the staircase,
    which alone decides how wide to draft. Both are medians, so a hiccup changes nothing; a
    slowdown is noticed after 16 steps, and forgotten 16 steps after it ends.

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
        measured = np.log([seconds[w] / self.scale for w in sorted(seconds)])
        # Logarithms of seconds: of each width relative to the speed at the time, and what each
        # of the last steps says of the speed.
        self._state = np.zeros((len(measured), _FIRST_HELD + _HELD))
        self._state[:, (_MEASURED, _MEDIAN, *range(_FIRST_HELD, _FIRST_HELD + _HELD))] = measured[
            :, np.newaxis
        ]
        self._state[:, _RATIO] = np.exp(measured)
        self._speeds = np.full(_RECENT, np.log(self.scale))
        self.observed = 0
        self._before = (1, 0.0)  # the last step's width and seconds
        self._places = {int(w): place for place, w in enumerate(self.widths)}

    @property
    def ratios(self) -> npt.NDArray[np.float64]:
        """As above; a view that follows the steps."""
        return self._state[:, _RATIO]

    def seconds(self) -> dict[int, float]:
        """Width -> seconds, as it stands now."""
        return {width: self.scale * float(self.ratios[i]) for width, i in self._places.items()}

    def settled(self) -> dict[int, float]:
        """Width -> seconds, half-way from what was measured to what was seen since.

        What to keep for the next process: a slow hour counts half, and a first measurement that
        was disturbed is mended in a few sessions.
        """
        halfway = np.exp((self._state[:, _MEASURED] + np.log(self.ratios)) / 2)
        return {width: self.scale * float(halfway[i]) for width, i in self._places.items()}

    def observe(self, width: int, seconds: float) -> None:
        """A step of this width took so long. Unmeasured widths teach nothing.

        llama.cpp builds its graph anew when the width changes. So a plain step behind a draft
        takes longer for the draft's sake, and that is counted as the draft's.
        """
        before, self._before = self._before, (width, seconds)
        if before[0] > 1:
            self._count(
                before[0], before[1] + (max(seconds - self.scale, 0.0) if width == 1 else 0)
            )
        elif width == 1:
            self._count(1, seconds)

    def _count(self, width: int, seconds: float) -> None:
        place = self._places.get(width)
        if place is not None and seconds > 0:
            self.scale = _observe(self._state, self._speeds, self.observed, place, seconds)
            self.observed += 1


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
