"""The budget: how many draft nodes are worth their evaluation.

Cuts a draft at the width with the most expected tokens per second by the cost curve; zero nodes
is a normal answer. A rare probe evaluates what seems not worth it, so that the curve and the
calibration stay true when nothing has been drafted for long, or nothing but drafts.

What drafts may lose is bounded in each answer: they play from a purse, which holds a share of the
plain steps so far and all that drafts have won. So an answer that cannot be foreseen costs hardly
more than plain decoding, however short it is, and what is nearly certain needs no purse.

Does not know tokens, nor where the probabilities come from.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from aded_edge.draft.compile import kernel
from aded_edge.draft.tree import ROOT, DraftTree

from .cost_curve import CostCurve

MARGIN = 1.12
"""A draft must promise this much over plain decoding: what drafting itself costs, and doubt."""

PURSE = 0.2
"""Plain steps that drafts may lose at the beginning of an answer ..."""

PURSE_SHARE = 0.05
"""... and what each plain step adds."""

SAFE = 0.02
"""A draft that may lose no more than this needs no purse."""

MOST_PURSE = 8.0
"""What was won long ago is no reason to lose now."""

PROBE_SHARE = 0.005
"""The share of the time that probes may take."""

PLAIN_EVERY = 256
"""After so many drafts in a row two steps are plain: width 1 always competes, and the first of
them still pays for the change of the width."""

_DOUBT = 1.5
"""A step that seems to cost so much more or less than the curve says was disturbed."""

_REFRESH = 64
"""Observations after which it is looked up anew which widths can pay."""

_PROBED = (2, 4, 8)
"""Widths that are probed in turn."""


@kernel
def _best_nodes(probs: Any, parents: Any, widths: Any, ratios: Any, purse: float) -> int:
    best_nodes = 0
    best_speed = MARGIN
    tokens = 1.0
    missed = 1.0  # how likely none of the nodes so far is accepted
    nodes = 0
    for i in range(widths.size):
        # A tree that ends between two measured widths pays for the wider one.
        while nodes < min(widths[i] - 1, probs.size):
            tokens += probs[nodes]
            if parents[nodes] == ROOT:
                missed -= probs[nodes]
            nodes += 1
        speed = tokens / ratios[i]
        if speed > best_speed and missed * (ratios[i] - 1.0) <= max(purse, SAFE):
            best_speed = speed
            best_nodes = nodes
        if nodes == probs.size:
            break
    return best_nodes


class Budget(Protocol):
    """What the loop needs of a budget."""

    @property
    def most_nodes(self) -> int:
        """The largest draft that is worth searching for."""
        ...

    @property
    def worth(self) -> float:
        """What follows on a path less likely than this need not be searched for."""
        ...

    @property
    def plain_seconds(self) -> float:
        """What a plain step costs now, 0 if that is not known."""
        ...

    def cut(self, tree: DraftTree) -> DraftTree:
        """The part of the draft that is worth evaluating."""
        ...

    def begin(self) -> None:
        """An answer begins."""
        ...

    def observe(self, width: int, seconds: float) -> None:
        """An evaluation of this width took so long."""
        ...

    def settle(self, width: int, emitted: int) -> None:
        """An evaluation of this width brought so many tokens."""
        ...


class CostBudget:
    """Cuts a draft where expected tokens per second are highest."""

    def __init__(self, curve: CostCurve) -> None:
        self.curve = curve
        self.most_nodes, self.worth = self._useful()
        self._plain_steps = 0  # since anything was drafted
        self._drafts = 0  # since anything was decoded plainly
        self._probes = [width for width in _PROBED if width in curve.widths]
        self._probe = 0  # which of them is next
        self._due = self._until_probe()  # plain steps before it
        self._observed = 0
        self._purse = PURSE
        self._seconds = 0.0  # that the last evaluation took, if anybody measures

    @property
    def plain_seconds(self) -> float:
        """Cost of width 1."""
        return self.curve.scale

    def cut(self, tree: DraftTree) -> DraftTree:
        """max over n of (1 + sum of the first n acceptances) / cost(n + 1)."""
        nodes = 0
        # Twice `worth` is what the first node must promise at least: mostly that is all there is
        # to look at.
        if len(tree) and tree.probs[0] >= 2 * self.worth:
            curve = self.curve
            nodes = _best_nodes(tree.probs, tree.parents, curve.widths, curve.ratios, self._purse)
        if nodes:
            self._plain_steps = 0
            self._drafts += 1
            if self._drafts <= PLAIN_EVERY:
                return tree.prefix(nodes)
            if self._drafts == PLAIN_EVERY + 2:
                self._drafts = 0
            return tree.prefix(0)
        self._drafts = 0
        self._plain_steps += 1
        return tree.prefix(self._nodes_to_probe(len(tree)))

    def begin(self) -> None:
        """What drafts won in the last answer is not lost in this one."""
        self._purse = PURSE

    def settle(self, width: int, emitted: int) -> None:
        """Plain steps fill the purse, and so do drafts that win; others empty it."""
        if width == 1:
            self._purse += PURSE_SHARE
        else:
            # What it really cost, as far as that can be true of one step.
            cost = self.curve.ratio(width)
            seen = self._seconds / self.curve.scale if self._seconds else cost
            self._purse += emitted - min(max(seen, cost / _DOUBT), cost * _DOUBT)
        self._purse = min(self._purse, MOST_PURSE)

    def observe(self, width: int, seconds: float) -> None:
        """Keeps the curve up to date."""
        self.curve.observe(width, seconds)
        self._seconds = seconds
        self._observed += 1
        if self._observed % _REFRESH == 0:
            self.most_nodes, self.worth = self._useful()

    def _useful(self) -> tuple[int, float]:
        # Probabilities never rise along a draft. So a width that costs more a token than a
        # narrower one, even if all is accepted, is never the best; nor does it pay to search
        # for its nodes. Costs that are within their noise count as equal.
        widths, ratios = self.curve.widths, self.curve.ratios
        speeds = widths / ratios
        most = int(widths[np.flatnonzero(speeds >= 0.97 * speeds.max())[-1]]) - 1
        if len(widths) == 1:
            return 0, 1.0
        most = max(most, 1)  # where nothing pays there is still a probe now and then
        # A draft of n nodes, none of them likelier than p, pays if p is at least this. Behind
        # likelier nodes half of it may still be worth a place.
        needed = (MARGIN * ratios[1:] - 1.0) / (widths[1:] - 1)
        return most, 0.5 * float(needed.min())

    def _nodes_to_probe(self, drafted: int) -> int:
        if self._plain_steps < self._due:
            return 0
        nodes = self._probes[self._probe] - 1
        self._probe = (self._probe + 1) % len(self._probes)
        if drafted < nodes:  # the next width, then
            return 0
        self._plain_steps = 0
        self._due = self._until_probe()
        return nodes

    def _until_probe(self) -> float:
        if not self._probes:
            return float("inf")
        place = np.searchsorted(self.curve.widths, self._probes[self._probe])
        return float(self.curve.ratios[place] - 1.0) / PROBE_SHARE


class FixedBudget:
    """Takes every draft whole, whatever it costs: the paper's setting."""

    def __init__(self, most_nodes: int, plain_seconds: float = 0.0) -> None:
        self._most = most_nodes
        self.worth = 0.0
        self.plain_seconds = plain_seconds

    @property
    def most_nodes(self) -> int:
        """As given."""
        return self._most

    def cut(self, tree: DraftTree) -> DraftTree:
        """The tree itself."""
        return tree

    def begin(self) -> None:
        """Nothing changes."""

    def observe(self, width: int, seconds: float) -> None:
        """Nothing to learn."""

    def settle(self, width: int, emitted: int) -> None:
        """Nothing to learn."""
