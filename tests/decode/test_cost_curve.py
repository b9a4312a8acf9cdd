"""The cost curve on a simulated clock."""

import math
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.decode.budget import CostBudget, FixedBudget
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.draft.tree import DraftTree

STAIRCASE = {1: 0.01, 2: 0.02, 3: 0.026, 4: 0.024, 6: 0.05, 8: 0.035, 16: 0.05, 32: 0.2}
"""Seconds by width on a CPU: kernels take rows in groups of 4 and 8."""

MIXES = [
    (1,),
    (1, 1, *[4] * 16),
    (1, 1, 4),
    (1, 1, 2, 4, 8, 16),
    (1, 1, *[8] * 9),
    (1, 1, *[8] * 64),
    (*[1] * 64, 8),
]
"""Sequences of widths that steps repeat."""

curves = st.dictionaries(st.sampled_from(WIDTHS[1:]), st.floats(1.0, 20.0)).map(
    lambda ratios: {1: 1.0, **ratios}
)


def observed(curve, widths, steps, factor=1.0, noise=0.0, costs=STAIRCASE):
    """Let a curve observe steps; yields after each."""
    rng = np.random.default_rng(0)
    for width, _ in zip(cycle(widths), range(steps), strict=False):
        curve.observe(width, factor * costs[width] * math.exp(noise * rng.standard_normal()))
        yield


def show(*arguments, **options):
    for _ in observed(*arguments, **options):
        pass


def staircase(curve):
    """The cost ratios relative to those at the start, width by width."""
    return curve.ratios / CostCurve(STAIRCASE).ratios


@pytest.mark.parametrize("seconds", [{}, {2: 1.0}, {1: 0.0}, {1: 1.0, 2: -1.0}])
def test_a_curve_without_a_plain_width_or_with_impossible_times_is_refused(seconds):
    with pytest.raises(ValueError, match="width 1"):
        CostCurve(seconds)


@given(curves)
def test_a_curve_gives_back_what_it_was_made_of(seconds):
    curve = CostCurve(seconds)
    assert curve.seconds() == pytest.approx(seconds)
    assert curve.settled() == pytest.approx(seconds)
    assert CostBudget(curve).plain_seconds == pytest.approx(seconds[1])


@pytest.mark.parametrize("factor", [3.0, 10.0, 0.3])
@pytest.mark.parametrize("widths", MIXES)
def test_a_slowdown_is_noticed_at_once_and_forgotten_as_fast_and_no_width_is_blamed(widths, factor):
    """Within 30 steps, whichever widths they have; the staircase stays as it was."""
    curve = CostCurve(STAIRCASE)
    show(curve, widths, 100, noise=0.01)
    for now in (factor, 1.0, factor, 1.0):
        for step, _ in enumerate(observed(curve, widths, 300, factor=now, noise=0.01), start=1):
            assert staircase(curve) == pytest.approx(1.0, abs=0.05)
            if step >= 30:
                assert curve.scale == pytest.approx(now * STAIRCASE[1], rel=0.05)


@pytest.mark.parametrize("widths", MIXES)
def test_what_steps_differ_by_chance_does_not_add_up(widths):
    curve = CostCurve(STAIRCASE)
    for _ in observed(curve, widths, 6000, noise=0.03):
        assert staircase(curve) == pytest.approx(1.0, abs=0.15)
        assert curve.scale == pytest.approx(STAIRCASE[1], rel=0.15)


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("factor", [10.0, 100.0])
def test_hiccups_change_nothing(width, factor):
    """Once in a while, and several in a row."""
    curve = CostCurve(STAIRCASE)
    show(curve, (1, 1, 8), 40)
    for in_a_row in (1, 2, 4):
        for _ in range(in_a_row):
            curve.observe(width, factor * STAIRCASE[width])
            assert curve.seconds() == pytest.approx(STAIRCASE, rel=1e-6)
        for _ in observed(curve, (1, 1, 8), 40):
            assert curve.seconds() == pytest.approx(STAIRCASE, rel=1e-6)


@pytest.mark.parametrize("factor", [2.0, 0.6])
@pytest.mark.parametrize("widths", [(1, 1, 2, 8), (1, 1, 8), (1, 1, 1, 8), (1, 1, 8, 8, 8)])
def test_a_width_that_became_dear_or_cheap_is_found_out(widths, factor):
    """After 5 of its steps, once as many others have followed as the speed needs."""
    costs = {**STAIRCASE, 8: factor * STAIRCASE[8]}
    curve = CostCurve(STAIRCASE)
    show(curve, widths, 5 * len(widths) + 20, costs=costs)
    for _ in observed(curve, widths, 2000, costs=costs):
        assert curve.seconds()[8] == pytest.approx(costs[8], rel=0.05)
    assert curve.seconds() == pytest.approx(costs, rel=0.05), "what was not seen stays"


def test_what_a_slow_phase_did_to_a_width_is_mended_when_it_is_not_used_any_more():
    """Otherwise the width would never be tried again."""
    curve = CostCurve(STAIRCASE)
    show(curve, (1, 1, 8), 60, costs={**STAIRCASE, 8: 1.0})
    assert curve.seconds()[8] == pytest.approx(1.0, rel=0.05)
    show(curve, (1,), 2000)
    assert curve.seconds()[8] == pytest.approx(1.0, rel=0.05), "4 of 9 are no majority"
    show(curve, (1,), 1500)
    assert curve.seconds() == pytest.approx(STAIRCASE, rel=0.01)


def test_what_is_kept_lies_half_way():
    """Between the measurement and the steps since, as factors; the speed is today's."""
    costs = {**STAIRCASE, 8: 4 * STAIRCASE[8]}
    curve = CostCurve(STAIRCASE)
    show(curve, (1, 1, 8), 100, factor=3.0, costs=costs)
    settled = curve.settled()
    assert settled[8] == pytest.approx(3 * 2 * STAIRCASE[8], rel=0.01)
    assert settled[1] == pytest.approx(3 * STAIRCASE[1], rel=0.01)
    assert settled[16] == pytest.approx(3 * STAIRCASE[16], rel=0.01)
    for _ in range(5):  # sessions
        curve = CostCurve(curve.settled())
        show(curve, (1, 1, 8), 100, factor=3.0, costs=costs)
    assert curve.settled()[8] == pytest.approx(3 * costs[8], rel=0.05)


@pytest.mark.parametrize(("width", "seconds"), [(5, 1.0), (64, 1.0), (1, 0.0), (2, -1.0)])
def test_what_was_not_measured_or_took_no_time_teaches_nothing(width, seconds):
    curve = CostCurve(STAIRCASE)
    for _ in range(100):
        CostBudget(curve).observe(width, seconds)
        FixedBudget(5).observe(width, seconds)
    assert curve.seconds() == pytest.approx(STAIRCASE, rel=1e-12)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.floats(1e-6, 1e3)), max_size=50))
def test_the_curve_stays_positive_whatever_is_observed(steps):
    curve = CostCurve(STAIRCASE)
    for width, seconds in steps:
        curve.observe(width, seconds)
    assert all(0 < s < math.inf for s in curve.seconds().values())
    assert curve.ratios[0] == 1.0


def test_drafts_whose_cost_is_wrong_are_found_out_within_100_steps():
    """Every draft is right, and each loses time, because the curve says that it costs nothing."""
    curve = CostCurve({1: 0.1, 2: 0.105, 4: 0.11, 8: 0.12})
    budget, draft = CostBudget(curve), DraftTree.build(range(7), range(-1, 6), [0.99] * 7)
    budget._credit = float("inf")
    widths = []
    for _ in range(300):
        width = len(budget.cut(draft)) + 1
        budget.observe(width, {1: 0.1, 8: 0.88}.get(width, 0.1 * width))
        budget.settle(width, width)
        widths.append(width)
    assert 8 not in widths[100:]
    assert curve.scale == pytest.approx(0.1, rel=0.05)


KNOWN = {1: 1.0, 2: 2.0, 4: 2.5, 8: 4.5}


def test_unmeasured_widths_are_estimated():
    curve = CostCurve(KNOWN, most=64)
    assert curve.seconds() == KNOWN
    assert [curve.is_measured(width) for width in (1, 3, 8, 16)] == [True, False, True, False]
    assert curve.ratio(3) == 2.5  # what the wider one costs
    assert curve.ratio(6) == 4.5
    assert curve.ratio(16) == 4.5 + 8 * 0.5  # as between 4 and 8
    assert CostCurve(KNOWN).widths.tolist() == [1, 2, 4, 8]


def test_three_steps_replace_an_estimate_and_one_does_not():
    curve = CostCurve(KNOWN, most=64)
    for steps, expected in ((1, 8.5), (2, 8.5), (3, 5.0)):
        for width, seconds in ((1, 1.0), (16, 5.0), (1, 1.0)):
            curve.observe(width, seconds)
        assert curve.ratio(16) == pytest.approx(expected), steps
    assert curve.is_measured(16)
    assert curve.seconds()[16] == pytest.approx(5.0)
    assert curve.settled()[16] == pytest.approx(5.0)
    assert curve.ratio(24) == pytest.approx(5.0 + 8 * 0.5 / 8)  # the estimates follow


def test_of_a_disturbed_measurement_only_width_1_is_believed():
    curve = CostCurve({1: 1.0, 2: 9.0, 4: 9.0, 8: 9.0}, most=8, disturbed=True)
    assert curve.seconds() == {1: 1.0}
    assert curve.ratio(4) == 9.0
    show(curve, (1, 4, 1), 3 * 3, costs={1: 1.0, 4: 2.0})
    assert curve.ratio(4) == pytest.approx(2.0)
    assert curve.ratio(2) == 9.0


@pytest.mark.parametrize(("now", "noise"), [(0.1, 0.03), (0.009, 0.03)])
def test_a_ratio_that_the_steps_contradict_is_replaced_at_once(now, noise):
    """Up and down: within 100 steps, and after three comparisons."""
    curve = CostCurve(STAIRCASE)
    show(curve, (1, 4, 1), 12, costs={**STAIRCASE, 4: now}, noise=noise)
    assert curve.ratio(4) == pytest.approx(now / STAIRCASE[1], rel=0.2)


def test_single_disturbed_steps_replace_nothing():
    curve = CostCurve(STAIRCASE)
    for seconds in (0.5, 0.024, 0.6, 0.024, 0.7) * 5:
        for width, spent in ((1, 0.01), (4, seconds), (1, 0.01)):
            curve.observe(width, spent)
    assert curve.ratio(4) < 60
    assert curve.ratio(8) == pytest.approx(3.5)


def test_what_is_only_estimated_is_probed_soon():
    waits = {
        disturbed: CostBudget(CostCurve(KNOWN, 8, disturbed))._due for disturbed in (True, False)
    }
    assert waits[True] * 2 < waits[False]
