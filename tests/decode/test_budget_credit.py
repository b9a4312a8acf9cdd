"""The credit: whatever was kept promises, plain decoding is hardly ever faster."""

import pytest

from aded_edge.decode.budget import CREDIT, CostBudget
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.draft.tree import DraftTree

STAIRCASE = {1: 1.0, 2: 1.9, 4: 2.7, 8: 4.0, 16: 6.7, 32: 13.2, 64: 26.0}
LAPTOP = {width: 1.0 + 0.10 * (width - 1) for width in WIDTHS}
GPU = {width: 1.0 + 0.01 * (width - 1) for width in WIDTHS}
FREE = dict.fromkeys(WIDTHS, 1.0)

REAL = {"staircase": STAIRCASE, "laptop": LAPTOP, "gpu": GPU}
KEPT = {"the real one": None, "all widths are free": FREE, "nearly free": GPU}

ANSWER = 60
"""Tokens of an answer."""


def chain(probability, nodes=63):
    probs = [probability ** (node + 1) for node in range(nodes)]
    return DraftTree.build(range(nodes), range(-1, nodes - 1), probs)


def decode(budget, real, tokens, accepted):
    """Cost of a token in units of plain decoding; `accepted(n)` of n drafted ones come true."""
    curve, spent, said = CostCurve(real), 0.0, 0
    while said < tokens:
        if said % ANSWER == 0:
            budget.begin()
        drafted = len(budget.cut(chain(0.998)))
        cost = curve.ratio(drafted + 1)
        emitted = 1 + accepted(drafted)
        budget.observe(drafted + 1, 0.01 * cost)
        budget.settle(drafted + 1, emitted)
        spent, said = spent + cost, said + emitted
    return spent / said


@pytest.mark.parametrize("real", REAL.values(), ids=REAL)
@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_drafts_that_always_promise_and_never_come_true_cost_little(kept, real):
    budget = CostBudget(CostCurve({w: 0.01 * cost for w, cost in (kept or real).items()}))
    assert decode(budget, real, 1000, accepted=lambda drafted: 0) < 1.03


def test_drafts_that_come_true_are_not_held_back():
    free, held = (CostBudget(CostCurve({w: 0.01 * c for w, c in LAPTOP.items()})) for _ in "12")
    free._credit = float("inf")
    costs = [decode(budget, LAPTOP, 2000, accepted=lambda n: n // 2) for budget in (free, held)]
    assert costs[1] < 1.05 * costs[0] < 0.3


def test_a_process_that_lost_drafts_again_when_it_wins():
    budget = CostBudget(CostCurve({w: 0.01 * c for w, c in LAPTOP.items()}))
    decode(budget, LAPTOP, 600, accepted=lambda drafted: 0)
    assert budget._credit < CREDIT
    assert decode(budget, LAPTOP, 600, accepted=lambda drafted: drafted) < 0.5


@pytest.mark.parametrize("nodes", range(1, 8))
def test_a_wide_batch_that_seems_free_is_not_filled_up_beyond_the_credit(nodes):
    """What was kept says that 16 rows cost hardly more than one, and no step confirmed it."""
    costs = {1: 1.0, 2: 1.9, 4: 2.7, 8: 4.0, 16: 1.2}
    budget = CostBudget(CostCurve({width: 0.01 * cost for width, cost in costs.items()}))
    assert len(budget.cut(chain(0.998, nodes))) <= CREDIT
