"""The budget: how many draft nodes are worth their evaluation.

Cuts a draft at the width with the most expected tokens per second by the cost curve. Zero nodes
is a normal answer: then the step is plain decoding. Each leaf beyond the first costs what trees
were measured to cost. Where a change of the width costs time, a width is cheaper behind itself;
where a wider batch costs less, the draft is filled up to it. After many plain steps in a row a
probe evaluates a draft that does not seem to pay, and after many drafts in a row there are plain
steps, so that the cost curve and the calibration stay up to date.

The loss budget limits the time that drafts may lose in one answer, counted in plain steps. It
starts small; each plain step adds a share, and each draft adds the time that it saved or subtracts
the time that it lost. A draft that could lose more than the rest is not evaluated, so an
unpredictable answer takes hardly longer than plain decoding, however short it is. Nearly certain
drafts are allowed beyond it.

What was kept on disk may be wrong, or forged. So a second budget, the credit, runs through all
answers of a process. No draft is evaluated while it is used up, however certain it seems. It limits
what a store can cost to CREDIT_PER_STEP of the time, and CREDIT once.

Knows probabilities and the cost curve. Does not know tokens, nor where the probabilities come
from.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np

from aded_edge.arrays import Float64Array, Int64Array
from aded_edge.draft.tree import DraftTree

from .best_cut import MARGIN, best_nodes, rows_of
from .cost_curve import CostCurve
from .measuring import leaves_of

LOSS_BUDGET = 0.2
"""The loss budget at the beginning of an answer, in plain steps."""

LOSS_BUDGET_PER_STEP = 0.05
"""What each plain step adds to the loss budget, in plain steps."""

SAFE = 0.02
"""A draft whose expected loss is at most this is allowed while there is credit, in plain steps."""

CREDIT = 4.0
"""The credit at the beginning, in plain steps."""

CREDIT_PER_STEP = 0.015
"""What each plain step adds to the credit, in plain steps."""

MOST_CREDIT = 64.0
"""Upper bound of the credit, in plain steps. Drafts that win reach it soon."""

MOST_LOSS_BUDGET = 8.0
"""Upper bound of the loss budget, in plain steps, so that a long run of good drafts does not pay
for an equally long run of bad ones."""

PROBE_SHARE = 0.005
"""Share of the time that probes may take."""

SOON = 3
"""Probes of a width whose cost is only estimated come this many times as often."""

PLAIN_EVERY = 256
"""After this many drafts in a row two steps are plain, because the cost of width 1 must stay known.
The first of the two is slower than usual, because the width changes; the second is not."""

PLAIN_SOON = 16
"""The same while the steps have not confirmed what the width of the draft costs. If it costs much
more than was measured, each draft loses time, and only plain steps can show that."""

_DOUBT = 1.5
"""A measured cost counts as at most this many times what the curve says, and at least its inverse:
beyond that the step was disturbed."""

_REFRESH = 64
"""After this many observations the useful widths are computed anew."""

_PROBED = (2, 4, 8)
"""Widths that are probed in turn."""

_AS_FAST = 0.97
"""Widths with at least this share of the best tokens per second count as equally good, because
measured costs are noisy."""


CHEAP = 0.06
"""Rows are cheap where a node pays that is at most this likely. Only then do branches and the
target's other candidates bring anything (NOTES.md)."""


class Budget(Protocol):
    """The budget as the decoding loop uses it."""

    @property
    def most_nodes(self) -> int:
        """Number of nodes of the largest draft that is worth searching for."""
        ...

    @property
    def worth(self) -> float:
        """Nodes whose path is less likely than this need no children."""
        ...

    @property
    def plain_seconds(self) -> float:
        """Seconds of a plain step as it costs now, 0 if that is not known."""
        ...

    def cut(self, tree: DraftTree) -> DraftTree:
        """Return the part of the draft that is worth evaluating."""
        ...

    def begin(self) -> None:
        """Begin a new answer."""
        ...

    def observe(self, width: int, seconds: float) -> None:
        """Record that an evaluation of this width took so many seconds."""
        ...

    def settle(self, width: int, emitted: int) -> None:
        """Record that a step of this width emitted so many tokens."""
        ...


class CostBudget:
    """Cuts a draft where expected tokens per second are highest, within the loss budget.

    Args:
        curve: the cost curve; `observe` keeps it up to date.
        allowed: the only widths that may be evaluated, beside width 1; None for all.
    """

    def __init__(self, curve: CostCurve, allowed: Collection[int] | None = None) -> None:
        self.curve = curve
        self._places: Int64Array | None = None  # of the allowed widths in the curve
        if allowed is not None:
            may = [w == 1 or w in allowed for w in curve.widths.tolist()]
            self._places = np.flatnonzero(may)
        self.most_nodes, self.worth = self._useful()
        self._plain_steps = 0  # in a row, up to now
        self._drafts = 0  # in a row, up to now
        self._plain_due = 0  # plain steps that must come before the next draft
        self._probes = [width for width in _PROBED if width in self._allowed()[0]]
        self._probe = 0  # index of the next one
        self._due = self._until_probe()  # plain steps in a row before the next probe
        self._observed = 0
        self._loss_budget = LOSS_BUDGET
        self._width = 1  # of the last evaluation
        self._leaves = 1  # of the last cut
        self._credit = CREDIT
        self._seconds = 0.0  # of the last evaluation, 0 if evaluations are not timed
        self._plain = 0.0  # seconds of the last evaluation of width 1, 0 before the first

    @property
    def plain_seconds(self) -> float:
        """Seconds of an evaluation of width 1."""
        return self.curve.scale

    @property
    def rows_are_cheap(self) -> bool:
        """Whether nodes pay that are hardly likely, by the widths that were measured."""
        widths, ratios = self._allowed()
        known = np.asarray([w > 1 and self.curve.is_measured(w) for w in widths.tolist()])
        needed = (MARGIN * ratios[known] - 1.0) / (widths[known] - 1)
        return bool(np.any(needed <= CHEAP))

    @property
    def branch(self) -> float:
        """Nodes that add a leaf and are less likely than this do not pay for it."""
        return MARGIN * self.curve.leaf

    def cut(self, tree: DraftTree) -> DraftTree:
        """Return the nodes that maximise (1 + sum of their probabilities) / cost(nodes + 1).

        Where a wider batch costs less than these nodes, they are filled up to it.
        """
        nodes, rows, self._leaves = self._best(tree, len(tree), may_fill=self._places is None)
        if not self._may_risk(rows):
            nodes, rows, self._leaves = self._best(tree, int(self._credit), may_fill=False)
        if nodes:
            self._plain_steps = 0
            if self._plain_due:
                self._plain_due -= 1
                self._leaves = 1
                return tree.prefix(0)
            self._drafts += 1
            often = PLAIN_EVERY if self.curve.is_confirmed(rows) else PLAIN_SOON
            untold = self._seconds > 0.0 and not self._plain  # drafts alone tell no ratio
            if self._drafts >= often or untold:
                self._drafts, self._plain_due = 0, 2
            return tree.prefix(nodes).filled(rows - 1)
        self._drafts = self._plain_due = 0
        self._plain_steps += 1
        probe = tree.prefix(self._nodes_to_probe(len(tree)))
        self._leaves = leaves_of(probe.parents) if len(probe) else 1
        return probe

    def begin(self) -> None:
        """Reset the loss budget, so that drafts do not spend what they won in the last answer."""
        self._loss_budget = LOSS_BUDGET
        self._width = 1  # the prompt was evaluated

    def settle(self, width: int, emitted: int) -> None:
        """Add to both budgets after a plain step or a draft that won; subtract after others."""
        self._width = width
        if width == 1:
            self._loss_budget += LOSS_BUDGET_PER_STEP
            self._credit += CREDIT_PER_STEP
        else:
            # The measured cost counts, within the bounds of what is not a disturbance.
            cost = self.curve.ratio(width)
            seen = self._seconds / self.curve.scale if self._seconds else cost
            cost = min(max(seen, cost / _DOUBT), cost * _DOUBT)
            self._loss_budget += emitted - cost
            self._credit += emitted - self._paid(width, cost)
        self._loss_budget = min(self._loss_budget, MOST_LOSS_BUDGET)
        self._credit = min(self._credit, MOST_CREDIT)

    def observe(self, width: int, seconds: float) -> None:
        """Update the cost curve."""
        self.curve.observe(width, seconds, self._leaves)
        self._seconds = seconds
        if width == 1:
            self._plain = seconds
        self._observed += 1
        if self._observed % _REFRESH == 0:
            self.most_nodes, self.worth = self._useful()

    def _best(self, tree: DraftTree, most: int, may_fill: bool) -> tuple[int, int, int]:
        """Of the first `most` nodes, how many are worth their evaluation.

        Returns:
            Their number, the rows of their batch, and their leaves; 0, 1 and 1 for none.
        """
        # No draft pays if its first node is less likely than twice `worth`. This is the usual case,
        # and the kernel need not be called.
        if most < 1 or self._credit <= 0.0 or tree.probs[0] < 2 * self.worth:
            return 0, 1, 1
        widths, ratios = self._charged()
        if not may_fill:  # it may only end where a width does
            most = int(widths[np.searchsorted(widths, most + 1, "right") - 1]) - 1
        nodes, width, branches = best_nodes(
            tree.probs[:most],
            tree.parents,
            widths,
            ratios,
            self.curve.leaf,
            min(max(self._loss_budget, SAFE), self._credit),
            may_fill,
        )
        return nodes, rows_of(nodes + 1, width, widths, ratios), 1 + branches

    def _may_risk(self, rows: int) -> bool:
        # While its cost is not confirmed, each row may cost a plain step.
        return rows - 1 <= self._credit or (self._credit > 0.0 and self._is_confirmed(rows))

    def _is_confirmed(self, width: int) -> bool:
        widths = self.curve.widths
        charged = widths[min(int(np.searchsorted(widths, width)), len(widths) - 1)]
        return self.curve.is_confirmed(int(charged))

    def _paid(self, width: int, cost: float) -> float:
        """What a draft took, in plain steps, where a kept curve may be wrong.

        Until steps confirm the curve, they count as they were timed. No row takes longer than a
        plain step, unless the step was disturbed.
        """
        if not self._seconds or not self._plain or self._is_confirmed(width):
            return cost
        return min(self._seconds / self._plain, width)

    def _allowed(self) -> tuple[Int64Array, Float64Array]:
        """The widths that may be evaluated, and their costs relative to width 1."""
        widths, ratios = self.curve.widths, self.curve.ratios
        if self._places is None:
            return widths, ratios
        return widths[self._places], ratios[self._places]

    def _charged(self) -> tuple[Int64Array, Float64Array]:
        """The widths that may be evaluated, and their costs behind the last width.

        The costs hold two changes of the width. Behind a plain step both are to be paid: the second
        one when the drafts end. Behind another draft one of them is, behind the same width none.
        """
        widths, ratios = self._allowed()
        switch = self.curve.switch
        if switch and self._width > 1:
            saved = np.where(widths == self._width, 2 * switch, switch)
            ratios = np.maximum(ratios - saved, 1.0)
        return widths, ratios

    def _useful(self) -> tuple[int, float]:
        # Returns `most_nodes` and `worth`. Probabilities never rise along a draft. So a width that
        # costs more per token than a narrower one, even if all its nodes are accepted, is never the
        # best, and its additional nodes need not be searched for.
        widths, ratios = self._allowed()
        ratios = np.maximum(ratios - 2 * self.curve.switch, 1.0)  # behind the same width
        speeds = widths / ratios
        most = int(widths[np.flatnonzero(speeds >= _AS_FAST * speeds.max())[-1]]) - 1
        if len(widths) == 1:
            return 0, 1.0
        # Even if no width pays, a draft is made for the probes.
        most = max(most, int(widths[1]) - 1)
        # If no node of a draft of n nodes is likelier than p, it pays only if p is at least this.
        # After likelier nodes a node with half of it may still pay.
        needed = (MARGIN * ratios[1:] - 1.0) / (widths[1:] - 1)
        return most, 0.5 * float(needed.min())

    def _nodes_to_probe(self, drafted: int) -> int:
        if self._plain_steps < self._due:
            return 0
        nodes = self._probes[self._probe] - 1
        self._probe = (self._probe + 1) % len(self._probes)
        # With too few nodes for this width, or too little credit, the next one is tried.
        if drafted < nodes or not self._may_risk(nodes + 1):
            return 0
        self._plain_steps = 0
        self._due = self._until_probe()
        return nodes

    def _until_probe(self) -> float:
        if not self._probes:
            return float("inf")
        width = self._probes[self._probe]
        # What is only estimated is worth knowing soon.
        share = PROBE_SHARE if self.curve.is_measured(width) else SOON * PROBE_SHARE
        return (self.curve.ratio(width) - 1.0) / share


class FixedBudget:
    """Evaluates every draft whole, whatever it costs, as the paper does.

    Args:
        most_nodes: number of nodes of the largest draft.
        plain_seconds: seconds of a plain step, 0 if that is not known.
    """

    def __init__(self, most_nodes: int, plain_seconds: float = 0.0) -> None:
        self._most = most_nodes
        self.worth = 0.0
        self.plain_seconds = plain_seconds

    @property
    def most_nodes(self) -> int:
        """Number of nodes, as given."""
        return self._most

    def cut(self, tree: DraftTree) -> DraftTree:
        """Return the tree itself."""
        return tree

    def begin(self) -> None:
        """Do nothing."""

    def observe(self, width: int, seconds: float) -> None:
        """Do nothing."""

    def settle(self, width: int, emitted: int) -> None:
        """Do nothing."""
