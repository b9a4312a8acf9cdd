"""The cost curve: seconds of one step by width, measured first, then updated by each step.

It is kept as measured, width by width. llama.cpp's kernels take rows in groups, so the curve is a
staircase, and a line fitted through it would be wrong everywhere. Only a few widths are measured
before the first answer (`measuring.py`). The others have an estimate until three steps have shown
what they cost.

Knows widths and seconds. Does not know drafts, nor what the costs are used for.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""Widths that are measured. A draft between two of them is charged the cost of the wider one."""

_RECENT = 31
"""The machine's speed is the median of this many latest steps, so half as many steps are enough to
notice a slowdown, or its end."""

_RESCALE = 4
"""The median is computed once in so many steps, because the CPU's caches are cold after each."""

_HELD = 9
"""The cost ratio of a width is the median of this many latest comparisons with width 1."""

_NEAR = 8
"""A step is compared with a plain step if at most this many steps lie between them."""

_CONFIRMED = 3
"""Comparisons that replace an estimate, or a ratio that they all contradict."""

_CONTRADICTS = math.log(1.4)
"""A comparison contradicts a ratio from this factor on, in either direction."""

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
        most: the widths in WIDTHS up to this one that are missing are estimated.
        disturbed: the measurement cannot be trusted: everything but width 1 is an estimate.
        switch: what a change of the width costs, in plain steps. `ratios` hold two of them, because
            a width is measured between plain steps.
        leaf: what each leaf beyond the first adds to the cost of a tree, in plain steps.

    Attributes:
        scale: seconds of one evaluation of width 1.
        widths: int64 (n,), rising.
        ratios: float64 (n,), cost relative to width 1.
        observed: number of steps so far.
        disturbed, switch, leaf: as given. A disturbed curve is not worth keeping.

    Raises:
        ValueError: width 1 is missing, or a time is not positive.
    """

    def __init__(
        self,
        seconds: Mapping[int, float],
        most: int = 0,
        disturbed: bool = False,
        switch: float = 0.0,
        leaf: float = 0.0,
    ) -> None:
        if 1 not in seconds or any(s <= 0 for s in seconds.values()):
            raise ValueError(
                f"a cost curve needs seconds above 0 and an entry for width 1, not {dict(seconds)}"
            )
        self.scale = float(seconds[1])
        widths = sorted({*seconds, *(w for w in WIDTHS if w <= most)})
        self.widths = np.asarray(widths, np.int64)
        self.ratios = np.asarray([seconds.get(w, self.scale) / self.scale for w in widths])
        self.observed = 0
        self.disturbed = disturbed
        self.switch = switch
        self.leaf = leaf
        # Places without a time, and those with none that can be trusted.
        self._unmeasured = {i for i, w in enumerate(widths) if w not in seconds}
        self._estimated = set(range(1, len(widths))) if disturbed else set(self._unmeasured)
        self._estimate()
        # All times and ratios below are logarithms, except those of `_before`.
        self._measured: list[float] = np.log(self.ratios).tolist()
        self._held = [
            deque([] if i in self._estimated else [ratio] * _HELD, _HELD)
            for i, ratio in enumerate(self._measured)
        ]
        self._held_at = [0] * len(self._held)
        self._comparisons = [0] * len(self._held)  # with plain steps, by place
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

    def is_measured(self, width: int) -> bool:
        """Whether the cost of this width is known, and not only estimated."""
        place = self._places.get(width)
        return place is not None and place not in self._estimated

    def is_confirmed(self, width: int) -> bool:
        """Whether enough steps showed what this width costs, or none can as it is not measured."""
        place = self._places.get(width)
        return place is None or self._comparisons[place] >= _CONFIRMED

    def seconds(self) -> dict[int, float]:
        """Return width -> seconds, as the machine is now, for the measured widths."""
        return {
            width: self.scale * float(self.ratios[place])
            for width, place in self._places.items()
            if place not in self._estimated
        }

    def settled(self) -> dict[int, float]:
        """Return width -> seconds of the measured widths, for the next process to begin with.

        The ratios lie half-way (as factors) between the first measurement and the steps since. So
        a slow hour counts half, and a disturbed first measurement is corrected within a few
        sessions.
        """
        halfway = np.exp((np.asarray(self._measured) + np.log(self.ratios)) / 2)
        return {
            width: self.scale * float(halfway[place])
            for width, place in self._places.items()
            if place not in self._estimated
        }

    def observe(self, width: int, seconds: float, leaves: int = 1) -> None:
        """Record that a step of this width took so many seconds; unmeasured widths are ignored.

        llama.cpp builds its graph anew when the width changes. So a plain step after a draft takes
        longer, and the additional time is added to the cost of the draft. A draft whose neighbours
        have its own width, or another draft's, is counted as if it lay between plain steps.
        """
        near = self.observed - self._plain_at <= _NEAR
        plain = math.exp(self._plain) if near else self.scale
        before, spent = self._before
        if leaves > 1:
            seconds -= (leaves - 1) * self.leaf * plain
        again = self.switch * plain if width == before else 0.0  # was not paid this time
        self._before = (width, seconds + again)
        if before > 1:
            after = max(seconds - plain, 0.0) if width == 1 else self.switch * plain
            self._count(before, spent + after)
        elif width == 1:
            self._count(1, seconds)

    def _count(self, width: int, seconds: float) -> None:
        place = self._places.get(width)
        if place is None or seconds <= 0:
            return
        self.observed += 1
        now = math.log(seconds)
        if place == 0:
            self._speeds.append(now)
        elif self._comparisons[place] >= _CONFIRMED:  # a wrong ratio would make a wrong speed
            self._speeds.append(now - math.log(self.ratios[place]))
        if self.observed % _RESCALE == 0:
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
        self._comparisons[place] += 1
        self._hold(place, time - self._plain)

    def _hold(self, place: int, ratio: float) -> None:
        held = self._held[place]
        held.append(ratio)
        self._held_at[place] = self.observed
        latest = list(held)[-_CONFIRMED:]
        if place in self._estimated:
            if len(held) < _CONFIRMED:
                return  # a single disturbed step must not decide
            self._estimated.discard(place)
            self._unmeasured.discard(place)
            self._measured[place] = sorted(latest)[_CONFIRMED // 2]
        elif self._contradicted(place, latest):
            held.clear()
            held.extend(latest)
            self._speeds.extend([self._plain] * _RECENT)  # the others came from the wrong ratio
        self.ratios[place] = math.exp(_median(held))
        self._estimate()

    def _contradicted(self, place: int, latest: list[float]) -> bool:
        """Whether the latest comparisons all say that a ratio is far too high, or far too low."""
        now = math.log(self.ratios[place])
        return len(latest) == _CONFIRMED and (
            min(latest) > now + _CONTRADICTS or max(latest) < now - _CONTRADICTS
        )

    def _estimate(self) -> None:
        """Estimate the widths that were never timed, from those that were.

        Between two measured widths the dearer one's cost is taken: usually the wider one's. Beyond
        the widest one each row is assumed to cost as much as between the last two.
        """
        known = [i for i in range(len(self.widths)) if i not in self._unmeasured]
        if len(known) == len(self.widths):
            return
        last = known[-1]
        slope = 1.0
        if len(known) > 1:
            before = known[-2]
            rise = self.ratios[last] - self.ratios[before]
            slope = max(rise / (self.widths[last] - self.widths[before]), 0.0)
        for place in self._unmeasured:
            if place > last:
                rows = self.widths[place] - self.widths[last]
                self.ratios[place] = self.ratios[last] + slope * rows
            else:
                wider = bisect(known, place)  # the first known one behind this place
                self.ratios[place] = max(self.ratios[known[wider - 1]], self.ratios[known[wider]])

    def _remind(self) -> None:
        # A width that became expensive in a slow phase is not evaluated any more, so no step could
        # correct its cost.
        for place, at in enumerate(self._held_at):
            unused = self.observed - at >= _MEMORY
            if place > 0 and unused and place not in self._estimated:
                self._hold(place, self._measured[place])


def _median(values: deque[float]) -> float:
    return sorted(values)[len(values) // 2]
