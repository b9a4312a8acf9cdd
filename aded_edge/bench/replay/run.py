"""Replays a trace: what drafts would have been accepted, and what that would have been worth.

The same drafter and budget as in `decode/loop.py` run against the recorded answers; a cost curve
stands for the machine. Nothing is evaluated, so a thousand steps take a moment, and the same
input gives the same figures. This is where ideas are tried.

What it cannot know: the target's candidates at rejected nodes, from which the real loop learns
too, and what drafting itself costs (`overhead` stands for that).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aded_edge.bench.oracle import oracle_seconds
from aded_edge.decode.budget import Budget, CostBudget, FixedBudget
from aded_edge.decode.candidates import CANDIDATES
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.decode.loop import LEARN_TOGETHER
from aded_edge.draft.drafter import AdaptiveDrafter, Step
from aded_edge.draft.puct import PUCT_NODES
from aded_edge.draft.tree import ROOT, DraftTree
from aded_edge.errors import BenchError

from .trace import Trace, Turn

ALL_CATEGORIES = "all"
"""The category that holds all others."""

_SLOPES = {"laptop": 0.10, "gpu": 0.01}


def load_costs(name: str, trace: Trace) -> dict[int, float]:
    """Cost of an evaluation by width.

    Args:
        name: "measured" (what the trace's machine took), "laptop" (1 + 0.10 (n - 1)), "gpu"
            (1 + 0.01 (n - 1)), or a JSON file of costs by width.
        trace: holds the measured ones.

    Raises:
        BenchError: the file cannot be read, or holds no cost curve.
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
            f"--cost {name!r} is none of measured, laptop, gpu, and no file that can be read"
        ) from error
    except (ValueError, AttributeError, TypeError) as error:
        raise BenchError(
            f"{name} is no cost curve ({error}); needed is JSON like "
            '{"1": 0.010, "2": 0.018, "4": 0.026}'
        ) from error
    return costs


@dataclass
class Tally:
    """What happened in some answers.

    Attributes:
        tokens, steps, drafted, accepted: counts behind the prompts' own evaluations.
        cost: what the steps cost.
        plain: what their tokens cost one by one.
        oracle: the least that they could cost.
        depths: how many paths of each length were accepted.
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
        """Takes in the figures of other answers."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def mat(self) -> float:
        """Mean accepted tokens per step, bonus included."""
        return 1.0 + self.accepted / self.steps if self.steps else 1.0

    @property
    def speedup(self) -> float:
        """Predicted, over plain decoding."""
        return self.plain / self.cost if self.cost else 1.0

    @property
    def oracle_share(self) -> float:
        """Share of the oracle's speed."""
        return self.oracle / self.cost if self.cost else 1.0

    def row(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
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
    """Share of the steps whose d-th draft token was accepted, d = 1, 2, ..."""
    steps = sum(depths.values())
    return [
        sum(count for depth, count in depths.items() if depth >= d) / steps
        for d in range(1, max(depths, default=0) + 1)
    ]


class Replay:
    """A drafter and the costs of a machine, run over recorded answers.

    Args:
        drafter: learns on as it goes.
        costs: cost of an evaluation by width.
        fixed: evaluate every draft whole, as the paper does.
        overhead: what drafting, accepting and learning add to each step, in units of the
            cost of width 1.
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

    def visit(self, turns: Iterable[Turn]) -> dict[str, Tally]:
        """Replays answers in order; returns what happened by category, and in ALL_CATEGORIES."""
        tallies: dict[str, Tally] = {ALL_CATEGORIES: Tally()}
        for turn in turns:
            tally = self.answer(turn)
            tallies.setdefault(turn.category, Tally()).add(tally)
            tallies[ALL_CATEGORIES].add(tally)
        return tallies

    def answer(self, turn: Turn) -> Tally:
        """Replays one answer; its first token comes from the prompt's own evaluation."""
        tally = Tally(answers=1)
        text = np.concatenate((turn.prompt, turn.answer))
        self.drafter.read(turn.prompt)
        self._budget.begin()
        place = len(turn.prompt)  # of the root
        self._note(DraftTree.empty(), text[place : place + 1], (), text, place, turn)
        while place < len(text) - 1:
            root = int(text[place])
            budget = self._budget
            draft = self.drafter.draft(text[:place], root, budget.most_nodes, budget.worth)
            self._learn(least=LEARN_TOGETHER)
            tree = budget.cut(draft)
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
        if cost is None:  # a fixed tree may be wider than what was measured: in pieces, then
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
        # The rows on the path: each has the target's candidates behind it on record.
        parents = np.asarray([ROOT, *path][: len(emitted)], np.int32)
        first = place - len(emitted) + 1  # of the emitted tokens
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
            for step in steps:
                self.drafter.learn(step)


def _accepted(tree: DraftTree, future: Any) -> list[int]:
    path: list[int] = []
    node: int | None = ROOT
    for token in future:
        node = tree.child(ROOT if node is None else node, int(token))
        if node is None:
            break
        path.append(node)
    # The last token of an answer is the target's own: there is nothing behind it to evaluate.
    return path[: max(len(future) - 1, 0)]
