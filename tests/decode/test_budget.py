"""The budget against all widths tried, and the cost curve on a clock of its own."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.decode import budget as budget_module
from aded_edge.decode.budget import MARGIN, WIDTHS, CostBudget, CostCurve, FixedBudget, measure
from aded_edge.draft.tree import DraftTree
from tests import naive

STAIRCASE = {1: 0.01, 2: 0.02, 3: 0.026, 4: 0.024, 6: 0.05, 8: 0.035, 16: 0.05, 32: 0.2}
"""Seconds by width on a CPU: kernels take rows in groups of 4 and 8."""

probs = st.lists(st.floats(0.0, 1.0, width=32), max_size=70).map(
    lambda probs: sorted(probs, reverse=True)
)
curves = st.dictionaries(st.sampled_from(WIDTHS[1:]), st.floats(1.0, 20.0)).map(
    lambda ratios: {1: 1.0, **ratios}
)


def tree(probs):
    n = len(probs)
    return DraftTree.build(range(n), [-1] * n, probs)


@given(probs, curves | st.just(STAIRCASE))
@settings(deadline=None)
def test_no_other_number_of_nodes_gives_more_tokens_per_second(probs, seconds):
    cut = CostBudget(CostCurve(seconds)).cut(tree(probs))
    assert cut.probs.tolist() == probs[: len(cut)]
    best = naive.best_speed(probs, seconds)
    assert naive.speed(len(cut), probs, seconds) == pytest.approx(best, rel=1e-6)


def test_a_doubtful_draft_is_not_evaluated():
    curve = CostCurve(STAIRCASE)
    assert len(CostBudget(curve).cut(tree([0.3, 0.2, 0.1]))) == 0
    assert len(CostBudget(curve).cut(DraftTree.empty())) == 0


def test_a_step_down_of_the_staircase_is_taken():
    """Width 4 costs less than 3: the third node comes for less than nothing."""
    curve = CostCurve(STAIRCASE)
    assert len(CostBudget(curve).cut(tree([0.95, 0.9, 0.1, 0.0, 0.0]))) == 3


def test_a_draft_that_only_just_pays_is_not_worth_drafting():
    curve = CostCurve({1: 1.0, 2: 1.5})
    assert len(CostBudget(curve).cut(tree([1.5 * MARGIN - 1.0 - 0.001]))) == 0
    assert len(CostBudget(curve).cut(tree([1.5 * MARGIN - 1.0 + 0.001]))) == 1


def test_a_tree_between_two_measured_widths_pays_for_the_wider():
    curve = CostCurve({1: 1.0, 8: 3.0})
    assert len(CostBudget(curve).cut(tree([0.9] * 2))) == 0  # 2.8 tokens for 3 plain steps' time
    assert len(CostBudget(curve).cut(tree([0.9] * 3))) == 3


def test_no_draft_is_wider_than_what_was_measured():
    budget = CostBudget(CostCurve({1: 1.0, 2: 1.0, 4: 1.0}))
    assert budget.most_nodes == 3
    assert len(budget.cut(tree([1.0] * 9))) == 3


@given(probs, st.floats(0.1, 50.0))
@settings(deadline=None)
def test_how_fast_the_machine_is_does_not_matter(probs, factor):
    slow = {width: factor * seconds for width, seconds in STAIRCASE.items()}
    cuts = [len(CostBudget(CostCurve(curve)).cut(tree(probs))) for curve in (STAIRCASE, slow)]
    speeds = [naive.speed(cut, probs, STAIRCASE) for cut in cuts]
    assert speeds[0] == pytest.approx(speeds[1], rel=1e-9)


def test_the_paper_takes_every_draft_whole():
    budget = FixedBudget(5, 0.25)
    draft = tree([0.001] * 5)
    assert budget.cut(draft) is draft
    assert (budget.most_nodes, budget.plain_seconds) == (5, 0.25)


@pytest.mark.parametrize("seconds", [{}, {2: 1.0}, {1: 0.0}, {1: 1.0, 2: -1.0}])
def test_a_curve_without_a_plain_width_or_with_impossible_times_is_refused(seconds):
    with pytest.raises(ValueError, match="width 1"):
        CostCurve(seconds)


@given(curves)
def test_a_curve_gives_back_what_it_was_made_of(seconds):
    curve = CostCurve(seconds)
    assert curve.seconds() == pytest.approx(seconds)
    assert CostBudget(curve).plain_seconds == pytest.approx(seconds[1])


def test_a_slower_machine_changes_the_scale_and_hardly_the_staircase():
    curve = CostCurve(STAIRCASE)
    rng = np.random.default_rng(0)
    for width in rng.choice([1, 2, 4, 8, 16], 500):
        curve.observe(int(width), 3 * STAIRCASE[int(width)])
    assert curve.scale == pytest.approx(0.03, rel=0.05)
    before = CostCurve(STAIRCASE).ratios
    assert curve.ratios == pytest.approx(before, rel=0.35)


def test_a_width_that_became_dear_is_found_out():
    curve = CostCurve(STAIRCASE)
    for _ in range(400):
        for width in (1, 2, 8):
            curve.observe(width, STAIRCASE[width] * (2 if width == 8 else 1))
    assert curve.seconds()[8] == pytest.approx(0.07, rel=0.1)
    assert curve.seconds()[1] == pytest.approx(0.01, rel=0.1)
    assert curve.seconds()[16] == pytest.approx(0.05, rel=0.1), "it was not seen, and stays"


def test_one_hiccup_changes_little():
    curve = CostCurve(STAIRCASE)
    curve.observe(8, 100.0)
    for width, seconds in curve.seconds().items():
        assert seconds == pytest.approx(STAIRCASE[width], rel=0.02)


@pytest.mark.parametrize(("width", "seconds"), [(5, 1.0), (64, 1.0), (1, 0.0), (2, -1.0)])
def test_what_was_not_measured_or_took_no_time_teaches_nothing(width, seconds):
    curve = CostCurve(STAIRCASE)
    CostBudget(curve).observe(width, seconds)
    FixedBudget(5).observe(width, seconds)
    assert curve.seconds() == pytest.approx(STAIRCASE, rel=1e-12)


class Machine:
    """Evaluations on a clock that only they move."""

    def __init__(self, monkeypatch, cost):
        self.now = 0.0
        self.cost = cost
        self.evaluated = []
        monkeypatch.setattr(budget_module.time, "perf_counter", lambda: self.now)

    def evaluate(self, width):
        self.evaluated.append(width)
        self.now += self.cost(width, self.evaluated.count(width))


def test_a_measured_curve_is_the_fastest_of_all_rounds(monkeypatch):
    """The first evaluation of a width builds its graph, and others are disturbed."""
    machine = Machine(monkeypatch, lambda width, times: width + {1: 50.0, 3: 0.0}.get(times, 5.0))
    curve = measure(machine.evaluate, 8, seconds=1e9, rounds=4)
    assert curve.seconds() == {width: width for width in range(1, 9)}


def test_measuring_leaves_out_what_does_not_fit(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 1.0)
    assert measure(machine.evaluate, 11, seconds=1e9).widths.tolist() == [*range(1, 9), 10]
    assert max(machine.evaluated) == 10


def test_a_slow_machine_is_measured_once_and_not_in_its_widest(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 10.0 * width)
    curve = measure(machine.evaluate, 64, seconds=0.0)
    assert curve.widths.tolist() == list(range(1, 9))
    assert machine.evaluated.count(8) == 2  # once to build the graph, once on the clock


def test_a_wider_evaluation_never_seems_cheaper_than_a_plain_one(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 2.0 if width == 1 else 1.0)
    assert set(measure(machine.evaluate, 4, seconds=1e9).seconds().values()) == {1.4}


@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.floats(1e-6, 1e3)), max_size=50))
def test_the_curve_stays_positive_whatever_is_observed(steps):
    curve = CostCurve(STAIRCASE)
    for width, seconds in steps:
        curve.observe(width, seconds)
    assert all(0 < s < math.inf for s in curve.seconds().values())
    assert curve.ratios[0] == 1.0
