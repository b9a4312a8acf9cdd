"""Replay a trace: count the draft tokens that would be accepted, and what that would save.

The drafter and the budget of `decode/loop.py` run against recorded answers; a cost curve stands
for the machine. Nothing is evaluated, so thousands of steps take seconds, and the same input gives
the same figures. Use it to try ideas about drafting.

Two things are missing. The real loop also learns the target's candidates at rejected nodes, which
no trace contains. And drafting takes time, for which `overhead` is an estimate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aded_edge.bench.dialogs import ALL_CATEGORIES
from aded_edge.bench.oracle import oracle_seconds
from aded_edge.decode.budget import Budget, CostBudget, FixedBudget
from aded_edge.decode.candidates import CANDIDATES
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.loop import learn_together
from aded_edge.draft.drafter import AdaptiveDrafter, Step
from aded_edge.draft.puct import PUCT_NODES
from aded_edge.draft.tree import ROOT, DraftTree
from aded_edge.llamacpp.prompt import common_prefix

from .curves import Curve
from .trace import Turn

LEAVES = 16
"""Leaves of a draft where rows are cheap, as in `Llama`; else drafts are chains."""


def leaves_for(curve: Curve) -> int:
    """Return the leaves of drafts on a machine."""
    return LEAVES if CostBudget(CostCurve(curve.measurable())).rows_are_cheap else 1


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
        widths: width of an evaluation -> number of steps.
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
    widths: Counter[int] = field(default_factory=Counter)

    def count(self, drafted: int, accepted: int, emitted: int) -> None:
        """Add one step."""
        self.tokens += emitted
        self.steps += 1
        self.drafted += drafted
        self.accepted += accepted
        self.depths[accepted] += 1
        self.widths[drafted + 1] += 1

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
        curve: what an evaluation costs.
        fixed: evaluate every draft whole, as ADED does in the paper.
        overhead: cost of drafting, accepting and learning in one step, in units of the cost of
            width 1.
    """

    def __init__(
        self,
        drafter: AdaptiveDrafter,
        curve: Curve,
        *,
        fixed: bool = False,
        overhead: float = 0.0,
    ) -> None:
        self.drafter = drafter
        self._curve = curve
        self._every = curve.every()
        self._budget: Budget
        self._budget = (
            FixedBudget(PUCT_NODES) if fixed else CostBudget(CostCurve(curve.measurable()))
        )
        self._overhead = overhead * curve.cost(1)
        self._unlearned: list[Step] = []
        self._plain_steps = 0  # in a row in this answer, up to now
        self._history = np.empty(0, np.int32)  # what the KV cache would hold

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
        # What the KV cache holds already is not read again, as in `Llama`.
        held = common_prefix(self._history, turn.prompt[:-1])
        self._history = text[:-1]
        self.drafter.read(turn.prompt, held)
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
            budget.observe(len(tree) + 1, self._curve.cost(len(tree) + 1))
            path = _accepted(tree, text[place + 1 :])
            emitted = text[place + 1 : place + 2 + len(path)]
            place += len(emitted)
            self._note(draft, emitted, path, text, place, turn)
            budget.settle(len(tree) + 1, len(emitted))
            tally.count(len(tree), len(path), len(emitted))
        self._learn(least=1)
        tally.cost = self._curve.total(tally.widths) + self._overhead * tally.steps
        tally.plain = self._curve.cost(1) * tally.tokens
        tally.oracle = oracle_seconds(self._every, tally.tokens)
        return tally

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
        if not tops[0].shape[1]:  # a transcript has no candidates, so no row is taught
            befores, lasts, tops = befores[:0], lasts[:0], (tops[0][:0], tops[1][:0])
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
