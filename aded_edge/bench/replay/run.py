"""Replay a trace: count the draft tokens that would be accepted, and what that would save.

The drafter and the budget of `decode/loop.py` run against recorded answers; a cost curve stands
for the machine. Nothing is evaluated, so thousands of steps take seconds, and the same input gives
the same figures. Use it to try ideas about drafting.

Two things are missing. The real loop also learns the target's candidates at rejected nodes, which
no trace contains. And drafting takes time, for which `overhead` is an estimate.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aded_edge.bench.dialogs import ALL_CATEGORIES
from aded_edge.bench.oracle import oracle_seconds
from aded_edge.decode.budget import Budget, CostBudget, FixedBudget
from aded_edge.decode.candidates import CANDIDATES
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.decode.loop import learn_together
from aded_edge.draft.drafter import AdaptiveDrafter, Step
from aded_edge.draft.puct import PUCT_NODES
from aded_edge.draft.tree import ROOT, DraftTree
from aded_edge.errors import BenchError

from .trace import Trace, Turn

_SLOPES = {"laptop": 0.10, "gpu": 0.01}
"""Named cost curves: cost of each further row, in units of the cost of width 1."""


def load_costs(name: str, trace: Trace) -> dict[int, float]:
    """Look up or read a cost curve.

    Args:
        name: "measured" (seconds on the machine that recorded the trace), "laptop"
            (1 + 0.10 (n - 1) for width n), "gpu" (1 + 0.01 (n - 1)), or the path of a JSON file
            with costs by width.
        trace: gives the measured costs.

    Returns:
        Width -> cost of one evaluation.

    Raises:
        BenchError: the file cannot be read, or is not a cost curve.
    """
    if name == "measured":
        return trace.cost
    if name in _SLOPES:
        return {width: 1.0 + _SLOPES[name] * (width - 1) for width in WIDTHS}
    try:
        costs = {int(w): float(cost) for w, cost in json.loads(Path(name).read_text()).items()}
        CostCurve(costs)
    except OSError as error:
        raise BenchError(
            f"--cost {name!r} is not a readable file; give measured, laptop, gpu or a JSON file"
        ) from error
    except (ValueError, AttributeError, TypeError) as error:
        raise BenchError(
            f"{name} is not a cost curve ({error}); write JSON like "
            '{"1": 0.010, "2": 0.018, "4": 0.026}'
        ) from error
    return costs


@dataclass
class Tally:
    """Counts and costs of some answers, without their first tokens.

    Costs are in the unit of the cost curve.

    Attributes:
        answers, tokens, steps, drafted, accepted: counts.
        cost: cost of the steps.
        plain: cost of the same tokens by plain decoding.
        oracle: least possible cost of the same tokens.
        depths: length of an accepted path -> number of steps.
    """

    answers: int = 0
    tokens: int = 0
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    cost: float = 0.0
    plain: float = 0.0
    oracle: float = 0.0
    depths: Counter[int] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the figures of other answers."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def mat(self) -> float:
        """Mean accepted tokens per step, bonus included."""
        return 1.0 + self.accepted / self.steps if self.steps else 1.0

    @property
    def speedup(self) -> float:
        """Predicted speed in units of plain decoding."""
        return self.plain / self.cost if self.cost else 1.0

    @property
    def oracle_share(self) -> float:
        """Share of the oracle's speed that is reached."""
        return self.oracle / self.cost if self.cost else 1.0

    def row(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            "answers": self.answers,
            "tokens": self.tokens,
            "steps": self.steps,
            "mat": self.mat,
            "speedup": self.speedup,
            "oracle_speedup": self.plain / self.oracle if self.oracle else 1.0,
            "oracle_share": self.oracle_share,
            "drafted": self.drafted,
            "wasted": self.drafted - self.accepted,
            "accepted_by_depth": _by_depth(self.depths),
        }


def _by_depth(depths: Counter[int]) -> list[float]:
    """Return the share of steps whose d-th draft token was accepted, for d = 1, 2, ..."""
    steps = sum(depths.values())
    return [
        sum(count for depth, count in depths.items() if depth >= d) / steps
        for d in range(1, max(depths, default=0) + 1)
    ]


class Replay:
    """A drafter that answers recorded turns under given costs.

    Args:
        drafter: drafts, and learns from every step.
        costs: width -> cost of one evaluation.
        fixed: evaluate every draft whole, as ADED does in the paper.
        overhead: cost of drafting, accepting and learning in one step, in units of the cost of
            width 1.
    """

    def __init__(
        self,
        drafter: AdaptiveDrafter,
        costs: dict[int, float],
        *,
        fixed: bool = False,
        overhead: float = 0.0,
    ) -> None:
        self.drafter = drafter
        self._costs = costs
        self._budget: Budget
        self._budget = FixedBudget(PUCT_NODES) if fixed else CostBudget(CostCurve(costs))
        self._overhead = overhead * costs[1]
        self._unlearned: list[Step] = []
        self._plain_steps = 0  # in a row in this answer, up to now

    def visit(self, turns: Iterable[Turn]) -> dict[str, Tally]:
        """Replay answers in order; return a tally by category, with ALL_CATEGORIES for the sum."""
        tallies: dict[str, Tally] = {ALL_CATEGORIES: Tally()}
        for turn in turns:
            tally = self.answer(turn)
            tallies.setdefault(turn.category, Tally()).add(tally)
            tallies[ALL_CATEGORIES].add(tally)
        return tallies

    def answer(self, turn: Turn) -> Tally:
        """Replay one answer; the evaluation of the prompt emits its first token."""
        tally = Tally(answers=1)
        text = np.concatenate((turn.prompt, turn.answer))
        self.drafter.read(turn.prompt)
        self._budget.begin()
        self._plain_steps = 0
        place = len(turn.prompt)  # index of the root in the text
        self._note(DraftTree.empty(), text[place : place + 1], (), text, place, turn)
        while place < len(text) - 1:
            root = int(text[place])
            budget = self._budget
            draft = self.drafter.draft(text[:place], root, budget.most_nodes, budget.worth)
            tree = budget.cut(draft)
            self._plain_steps = 0 if len(tree) else self._plain_steps + 1
            self._learn(least=learn_together(self._plain_steps))
            path = _accepted(tree, text[place + 1 :])
            emitted = text[place + 1 : place + 2 + len(path)]
            place += len(emitted)
            self._note(draft, emitted, path, text, place, turn)
            budget.settle(len(tree) + 1, len(emitted))
            self._count(tally, tree, len(path), len(emitted))
        self._learn(least=1)
        tally.plain = tally.tokens * self._costs[1]
        tally.oracle = oracle_seconds(self._costs, tally.tokens)
        return tally

    def _count(self, tally: Tally, tree: DraftTree, accepted: int, emitted: int) -> None:
        width = len(tree) + 1
        cost = min((c for w, c in self._costs.items() if w >= width), default=None)
        if cost is None:  # a fixed tree is wider than the curve: as if evaluated in several batches
            widest = max(self._costs)
            cost = self._costs[widest] * width / widest
        tally.tokens += emitted
        tally.steps += 1
        tally.drafted += len(tree)
        tally.accepted += accepted
        tally.cost += cost + self._overhead
        tally.depths[accepted] += 1

    def _note(
        self,
        draft: DraftTree,
        emitted: Any,
        path: Iterable[int],
        text: Any,
        place: int,
        turn: Turn,
    ) -> None:
        # Only rows on the accepted path are taught: the trace has the candidates after those.
        parents = np.asarray([ROOT, *path][: len(emitted)], np.int32)
        first = place - len(emitted) + 1  # index of the first emitted token
        behind = np.arange(first - 1, place)
        known = behind - len(turn.prompt) + 1
        lasts = text[behind]
        befores = np.where(behind > 0, text[behind - 1], -1).astype(np.int32)
        tops = turn.top_tokens[known][:, :CANDIDATES], turn.top_probs[known][:, :CANDIDATES]
        self._unlearned.append(Step(draft, parents, emitted, befores, lasts, *tops))

    def _learn(self, least: int) -> None:
        # As in the decoding loop: a step is learned from some steps later, after a draft.
        if len(self._unlearned) >= least:
            steps, self._unlearned = self._unlearned, []
            self.drafter.learn(*steps)


def _accepted(tree: DraftTree, future: Any) -> list[int]:
    path: list[int] = []
    node: int | None = ROOT
    for token in future:
        node = tree.child(ROOT if node is None else node, int(token))
        if node is None:
            break
        path.append(node)
    # The last token of an answer is the target's own bonus, so a draft of it is not counted.
    return path[: max(len(future) - 1, 0)]
