"""The budget against all widths tried."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.decode.budget import (
    LOSS_BUDGET,
    LOSS_BUDGET_PER_STEP,
    MARGIN,
    MOST_LOSS_BUDGET,
    PLAIN_EVERY,
    PLAIN_SOON,
    CostBudget,
    FixedBudget,
)
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.draft.tree import DraftTree
from tests import naive

STAIRCASE = {1: 0.01, 2: 0.02, 3: 0.026, 4: 0.024, 6: 0.05, 8: 0.035, 16: 0.05, 32: 0.2}
"""Seconds by width on a CPU: kernels take rows in groups of 4 and 8."""

LAPTOP = {width: 1.0 + 0.10 * (width - 1) for width in WIDTHS}
GPU = {width: 1.0 + 0.01 * (width - 1) for width in WIDTHS}

probs = st.lists(st.floats(0.0, 1.0, width=32), max_size=70).map(
    lambda probs: sorted(probs, reverse=True)
)
# Widths cost at least 1 % more than plain: cheaper ones would be probed at once.
curves = st.dictionaries(st.sampled_from(WIDTHS[1:]), st.floats(1.01, 20.0)).map(
    lambda ratios: {1: 1.0, **ratios}
) | st.sampled_from([STAIRCASE, LAPTOP, GPU])


def tree(probs):
    n = len(probs)
    return DraftTree.build(range(n), [-1] * n, probs)


def filled(probs, n):
    """Probabilities of a draft's first n nodes; those that it lacks are not expected at all."""
    return probs[:n] + [0.0] * (n - len(probs))


def unlimited(curve):
    """A budget that nothing uses up, so that only the expected speed decides."""
    budget = CostBudget(curve)
    budget._loss_budget = budget._credit = float("inf")
    return budget


@given(probs, curves)
def test_no_other_number_of_nodes_gives_more_tokens_per_second(probs, seconds):
    cut = unlimited(CostCurve(seconds)).cut(tree(probs))
    assert cut.probs.tolist() == filled(probs, len(cut))
    best = naive.best_speed(probs, seconds)
    assert naive.speed(len(cut), probs, seconds) == pytest.approx(best, rel=1e-6)


@given(probs, curves)
def test_the_best_number_of_nodes_is_never_more_than_what_is_searched_for(probs, seconds):
    budget = unlimited(CostCurve(seconds))
    cut = budget.cut(tree(probs[: budget.most_nodes]))
    best = naive.best_speed(probs, seconds)
    assert naive.speed(len(cut), probs, seconds) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(
    ("seconds", "most"),
    [
        ({1: 1.0, 2: 1.1, 4: 1.2, 8: 3.0}, 3),  # 8 tokens for 3.0 are dearer than 4 for 1.2
        ({1: 1.0, 2: 1.1, 4: 1.2, 8: 2.42}, 7),  # as good as equal
        ({1: 1.0, 2: 2.2}, 1),  # nothing pays, and is probed now and then
        ({1: 1.0}, 0),
        (STAIRCASE, 15),
        (GPU, 63),
    ],
)
def test_widths_that_never_pay_are_not_searched_for(seconds, most):
    assert unlimited(CostCurve(seconds)).most_nodes == most


@given(curves)
def test_a_draft_is_searched_as_long_as_one_like_it_can_pay(seconds):
    """A draft of nodes with probability `worth` does not pay, one of twice that may."""
    budget = unlimited(CostCurve(seconds))
    if budget.most_nodes:
        alike = [min(budget.worth, 1.0)] * budget.most_nodes
        assert naive.best_speed(alike, seconds) == 1.0
        twice = [2.001 * budget.worth] * (max(seconds) - 1)
        assert naive.best_speed(twice, seconds) > 1.0


def test_what_is_searched_for_follows_the_curve():
    seconds = {1: 1.0, 2: 1.1, 4: 1.2}
    budget = unlimited(CostCurve(seconds))
    worth = budget.worth
    for _ in range(3 * PLAIN_EVERY):
        for width in (
            1,
            *seconds,
        ):  # only the second of two plain steps is timed without a change of width
            budget.observe(width, seconds[width] * (3 if width == 4 else 1))
    assert budget.most_nodes == 1
    assert budget.worth > worth


def test_a_doubtful_draft_is_not_evaluated():
    curve = CostCurve(STAIRCASE)
    assert len(unlimited(curve).cut(tree([0.3, 0.2, 0.1]))) == 0
    assert len(unlimited(curve).cut(DraftTree.empty())) == 0


def test_a_step_down_of_the_staircase_is_taken():
    """Width 4 costs less than width 3, so the third node saves time."""
    curve = CostCurve(STAIRCASE)
    assert len(unlimited(curve).cut(tree([0.95, 0.9, 0.1, 0.0, 0.0]))) == 3


def test_a_draft_that_only_just_pays_is_not_worth_drafting():
    curve = CostCurve({1: 1.0, 2: 1.5})
    assert len(unlimited(curve).cut(tree([1.5 * MARGIN - 1.0 - 0.001]))) == 0
    assert len(unlimited(curve).cut(tree([1.5 * MARGIN - 1.0 + 0.001]))) == 1


def test_a_tree_between_two_measured_widths_pays_for_the_wider():
    curve = CostCurve({1: 1.0, 8: 3.0})
    assert len(unlimited(curve).cut(tree([0.9] * 2))) == 0  # 2.8 tokens for 3 plain steps' time
    assert len(unlimited(curve).cut(tree([0.9] * 3))) == 3


def test_no_draft_is_wider_than_what_was_measured():
    budget = unlimited(CostCurve({1: 1.0, 2: 1.0, 4: 1.0}))
    assert budget.most_nodes == 3
    assert len(budget.cut(tree([1.0] * 9))) == 3


@given(probs, st.floats(0.1, 50.0))
def test_how_fast_the_machine_is_does_not_matter(probs, factor):
    slow = {width: factor * seconds for width, seconds in STAIRCASE.items()}
    cuts = [len(unlimited(CostCurve(curve)).cut(tree(probs))) for curve in (STAIRCASE, slow)]
    speeds = [naive.speed(cut, probs, STAIRCASE) for cut in cuts]
    assert speeds[0] == pytest.approx(speeds[1], rel=1e-9)


def evaluated(seconds, drafts):
    """Widths of the steps that a budget takes of these drafts, one after the other."""
    budget = unlimited(CostCurve(seconds))
    widths = []
    for draft in drafts:
        cut = budget.cut(draft)
        assert cut.tokens.tolist()[: len(draft)] == draft.tokens[: len(cut)].tolist()
        widths.append(len(cut) + 1)
    return widths


@pytest.mark.parametrize("seconds", [STAIRCASE, LAPTOP, {1: 1.0, 2: 1.8, 8: 3.1}])
def test_what_seems_not_worth_it_is_tried_now_and_then_for_next_to_nothing(seconds):
    widths = evaluated(seconds, [tree([0.01] * 10)] * 20_000)
    assert set(widths) == {1, 2, 4, 8} & seconds.keys()
    extra = sum(seconds[width] / seconds[1] - 1 for width in widths) / len(widths)
    assert 0.001 < extra < 0.01


@pytest.mark.parametrize("seconds", [STAIRCASE, LAPTOP])
def test_probes_are_no_larger_than_what_was_drafted(seconds):
    """Nodes that were not drafted cannot be evaluated; short drafts are probed at small widths."""
    rng = np.random.default_rng(0)
    drafts = [tree([0.01] * int(n)) for n in rng.integers(0, 4, 20_000)]
    widths = evaluated(seconds, drafts)
    assert all(width - 1 <= len(draft) for width, draft in zip(widths, drafts, strict=True))
    assert set(widths) == {1, 2, 4}
    assert set(evaluated(seconds, [tree([0.01])] * 5_000)) == {1, 2}
    assert set(evaluated(seconds, [DraftTree.empty()] * 5_000)) == {1}


@pytest.mark.parametrize(("confirmed", "often"), [(True, PLAIN_EVERY), (False, PLAIN_SOON)])
def test_after_many_drafts_in_a_row_two_steps_are_plain(monkeypatch, confirmed, often):
    """The cost of width 1 must stay known, because all costs are relative to it."""
    monkeypatch.setattr(CostCurve, "is_confirmed", lambda self, width: confirmed)
    widths = evaluated(LAPTOP, [tree([0.99] * 7)] * 1000)
    assert widths == (([8] * often + [1, 1]) * 99)[:1000]


@pytest.mark.parametrize(("confirmed", "often"), [(True, PLAIN_EVERY), (False, PLAIN_SOON)])
def test_drafts_that_are_not_in_a_row_need_no_plain_step(monkeypatch, confirmed, often):
    monkeypatch.setattr(CostCurve, "is_confirmed", lambda self, width: confirmed)
    good, none = tree([0.99] * 7), DraftTree.empty()
    widths = evaluated(LAPTOP, [*[good] * (often - 1), none] * 20)
    assert widths.count(1) == 20


def test_the_paper_takes_every_draft_whole():
    budget = FixedBudget(5, 0.25)
    draft = tree([0.001] * 5)
    assert budget.cut(draft) is draft
    assert (budget.most_nodes, budget.plain_seconds) == (5, 0.25)
    assert budget.worth == 0.0


# --- the loss budget ---------------------------------------------------------------------------

chances = st.lists(st.floats(0.0, 1.0, width=32), max_size=20).map(
    lambda probs: sorted((p / max(1.0, sum(probs)) for p in probs), reverse=True)
)


@given(chances, curves, st.floats(0.0, 3.0))
def test_no_draft_risks_more_than_the_loss_budget_holds(probs, seconds, loss_budget):
    budget = CostBudget(CostCurve(seconds))
    budget._loss_budget, budget._credit = loss_budget, float("inf")
    cut = budget.cut(tree(probs))
    assert cut.probs.tolist() == pytest.approx(filled(probs, len(cut)))
    assert naive.speed(len(cut), probs, seconds) >= 0.999 * naive.best_speed(
        probs, seconds, loss_budget - 1e-6
    )


def chain(probs):
    n = len(probs)
    return DraftTree.build(range(n), range(-1, n - 1), probs)


DOUBTFUL = chain([0.7, 0.65, 0.6])
CERTAIN = chain([0.999, 0.998, 0.997])
COSTS = {1: 1.0, 4: 1.9}


def test_at_the_beginning_only_what_is_nearly_certain_is_drafted():
    budget = CostBudget(CostCurve(COSTS))
    budget.begin()
    assert len(budget.cut(CERTAIN)) == 3
    assert len(budget.cut(DOUBTFUL)) == 0


def test_plain_steps_fill_the_loss_budget_and_drafts_play_from_it():
    budget = CostBudget(CostCurve(COSTS))
    steps = 0
    while not len(budget.cut(DOUBTFUL)):
        budget.settle(1, 1)
        steps += 1
    assert (
        LOSS_BUDGET + steps * LOSS_BUDGET_PER_STEP
        >= 0.3 * 0.9
        > LOSS_BUDGET + (steps - 1) * LOSS_BUDGET_PER_STEP
    )
    budget.settle(4, 1)  # nothing was accepted
    assert len(budget.cut(DOUBTFUL)) == 0
    budget.settle(4, 4)
    assert len(budget.cut(DOUBTFUL)) == 3
    budget.begin()
    assert len(budget.cut(DOUBTFUL)) == 0


def test_an_answer_that_cannot_be_foreseen_loses_next_to_nothing():
    """Drafts that promise 0.7 and are always wrong, in answers of 30 steps."""
    budget = CostBudget(CostCurve(COSTS))
    tokens = cost = 0.0
    for _ in range(50):
        budget.begin()
        for _ in range(30):
            width = len(budget.cut(DOUBTFUL)) + 1
            budget.settle(width, 1)
            tokens, cost = tokens + 1, cost + COSTS[width]
    assert cost / tokens < 1.03  # 1.9 without a loss budget, 1.06 without the credit


def test_what_a_step_really_cost_counts():
    budget = CostBudget(CostCurve(COSTS))
    budget._loss_budget = 1.0
    budget.observe(4, 2.5)  # and not 1.9
    budget.settle(4, 2)
    assert budget._loss_budget == pytest.approx(1.0 + 2 - 2.5)
    budget.observe(4, 99.0)  # a disturbed step is no measure
    budget.settle(4, 2)
    assert budget._loss_budget == pytest.approx(0.5 + 2 - 1.5 * 1.9, abs=0.05)
    for _ in range(99):
        budget.settle(4, 4)
    assert budget._loss_budget == MOST_LOSS_BUDGET


@given(probs, curves, st.sets(st.sampled_from(WIDTHS[1:])))
def test_only_allowed_widths_are_evaluated_and_the_best_of_them(probs, seconds, allowed):
    """Exactly these: a draft that is a node short of one is cut at a narrower one."""
    curve = CostCurve(seconds, 64)
    budget = CostBudget(curve, allowed)
    budget._loss_budget = budget._credit = budget._due = float("inf")  # no bound, and no probe
    cut = budget.cut(tree(probs))
    may = [w for w in (1, *sorted(allowed)) if w <= len(probs) + 1 and w in curve.widths]
    assert len(cut) + 1 in may
    speeds = [(1 + sum(probs[: w - 1])) / curve.ratio(w) for w in may]
    best = max((s for s in speeds if s > MARGIN), default=1.0)
    chosen = (1 + sum(probs[: len(cut)])) / curve.ratio(len(cut) + 1)
    assert chosen == pytest.approx(best, rel=1e-6)


def test_probes_are_of_allowed_widths():
    budget = CostBudget(CostCurve(dict.fromkeys((1, 2, 4, 8, 16), 1.5) | {1: 1.0}), (8, 16))
    assert budget.most_nodes >= 7
    budget._credit = float("inf")
    cuts = {len(budget.cut(tree([0.01] * 15))) for _ in range(1000)}
    assert cuts == {0, 7}


def test_without_an_allowed_width_nothing_is_drafted():
    budget = CostBudget(CostCurve(GPU), ())
    assert budget.most_nodes == 0
    assert {len(budget.cut(tree([0.9] * 9))) for _ in range(100)} == {0}
