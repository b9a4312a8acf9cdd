"""Measuring on a simulated clock: chains, changes of the width, and trees."""

import numpy as np
import pytest

from aded_edge.decode import measuring
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.decode.measuring import (
    BETWEEN,
    FIRST,
    NARROW,
    change_cost,
    comb,
    leaf_cost,
    leaves_of,
    measure,
    measure_changes,
    measure_first,
    measure_trees,
)


class Machine:
    """Evaluations on a simulated clock."""

    def __init__(self, monkeypatch, cost):
        self.now = 0.0
        self.cost = cost
        self.evaluated = []
        monkeypatch.setattr(measuring.time, "perf_counter", lambda: self.now)

    def evaluate(self, width):
        self.evaluated.append(width)
        self.now += self.cost(width, self.evaluated.count(width))


def test_a_measured_curve_is_the_fastest_of_all_rounds(monkeypatch):
    """The first evaluation of a width allocates, and others are disturbed."""
    machine = Machine(monkeypatch, lambda width, times: width + (5.0 if times % 3 else 0.0))
    curve = measure(machine.evaluate, 8, seconds=1e9, rounds=4)
    assert curve.seconds() == pytest.approx({width: width for width in range(1, 9)})


def test_a_change_of_the_width_is_part_of_what_a_draft_costs(monkeypatch):
    """llama.cpp builds its graph anew before the draft, and again after it."""

    class Changing(Machine):
        def evaluate(self, width):
            self.now += 0.25 * (self.evaluated[-1:] != [width])
            super().evaluate(width)

    machine = Changing(monkeypatch, lambda width, times: width)
    curve = measure(machine.evaluate, 4, seconds=1e9)
    assert curve.seconds() == pytest.approx({1: 1.0, 2: 2.5, 3: 3.5, 4: 4.5})
    curve = CostCurve({1: 1.0, 2: 2.0})
    for _ in range(20):
        for width, seconds in ((1, 1.0), (2, 2.25), (1, 1.25)):
            curve.observe(width, seconds)
    assert curve.seconds() == pytest.approx({1: 1.0, 2: 2.5})


def test_measuring_leaves_out_what_does_not_fit(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 1.0)
    assert measure(machine.evaluate, 11, seconds=1e9).widths.tolist() == [*range(1, 9), 10]
    assert max(machine.evaluated) == 10


def test_a_slow_machine_is_measured_once_and_not_in_its_widest(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 10.0 * width)
    curve = measure(machine.evaluate, 64, seconds=0.0)
    assert curve.widths.tolist() == [width for width in WIDTHS if width <= NARROW]
    assert machine.evaluated.count(8) == 1


def test_most_of_the_time_goes_to_narrow_widths(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 1.0)
    assert measure(machine.evaluate, 64, seconds=1e9, rounds=3).widths.tolist() == list(WIDTHS)
    assert machine.evaluated.count(NARROW) == 2 * 3
    assert machine.evaluated.count(64) == 3


def test_a_wider_evaluation_never_seems_cheaper_than_a_plain_one(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 2.0 if width == 1 else 1.0)
    assert measure(machine.evaluate, 4, seconds=1e9).seconds() == pytest.approx(
        dict.fromkeys(range(1, 5), 2.0)
    )


# --- before the first answer --------------------------------------------------------------------


def test_the_first_widths_come_first_and_the_others_as_far_as_the_time_goes(monkeypatch):
    for seconds, measured in ((1.2, FIRST), (1e9, WIDTHS)):
        machine = Machine(monkeypatch, lambda width, times: 0.01 * width)
        curve = measure_first(machine.evaluate, 64, seconds)
        assert set(measured) <= set(curve.seconds())
        assert curve.widths.tolist() == list(WIDTHS)
        assert machine.now < seconds
        assert not curve.disturbed


@pytest.mark.parametrize("plain", [0.001, 0.02, 0.1, 0.3, 1.0])
def test_the_time_is_kept_however_slow_the_machine_is(monkeypatch, plain):
    """On the slowest, what was measured is not worth keeping."""
    machine = Machine(monkeypatch, lambda width, times: plain * (1 + 0.5 * (width - 1)))
    curve = measure_first(machine.evaluate, 64, seconds=2.0)
    assert machine.now < 2.0
    assert curve.disturbed == (plain >= 0.3)
    assert curve.widths.tolist() == list(WIDTHS)
    assert set(FIRST) <= set(curve.seconds()) or plain >= 0.1


def test_a_measurement_whose_rounds_disagree_is_disturbed(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: width * (3.0 if times % 2 else 1.0))
    assert measure_first(machine.evaluate, 64, seconds=1e9).disturbed


def test_a_context_that_holds_less_is_not_measured_beyond(monkeypatch):
    machine = Machine(monkeypatch, lambda width, times: 1.0)
    curve = measure_first(machine.evaluate, 5, seconds=1e9)
    assert max(machine.evaluated) == 5
    assert curve.widths.tolist() == [1, 2, 3, 4, 5]


def test_a_context_that_evaluates_single_tokens_only_is_measured_too():
    curve = measure_first(lambda width: None, 1, 1.0)
    assert curve.widths.tolist() == [1]
    assert curve.scale > 0


# --- curves that go up and down -------------------------------------------------------------------

STRIX = {1: 1, 2: 1.16, 3: 1.35, 4: 1.51, 6: 1.98, 8: 2.39, 12: 1.86, 16: 1.77}
"""Costs by width of llama.cpp on a Strix Halo by HIP (halo-box/strix 56)."""


def stairs(costs):
    """Cost of any width: that of the next wider one that is known, or 1 a row beyond."""
    return lambda width, times: (
        costs[min((w for w in costs if w >= width), default=1)]
        + (width if width > max(costs) else 0)
    )


def test_where_the_curve_falls_every_width_is_measured(monkeypatch):
    """Neighbours say little there: other kernels take the wider batches."""
    machine = Machine(monkeypatch, stairs(STRIX))
    assert set(range(1, 17)) <= measure_first(machine.evaluate, 64, seconds=1e9).seconds().keys()
    rising = Machine(monkeypatch, lambda width, times: width)
    assert not {*BETWEEN} & measure_first(rising.evaluate, 64, seconds=1e9).seconds().keys()


@pytest.mark.parametrize("factor", [1.3, 3.0])
def test_a_width_that_really_costs_more_than_a_wider_one_is_believed(monkeypatch, factor):
    costs = {1: 1.0, 8: 2.0, 10: factor * 2.5, 12: 2.5, 64: 9.0}
    machine = Machine(monkeypatch, stairs(costs))
    assert measure_first(machine.evaluate, 64, seconds=1e9).seconds()[10] == factor * 2.5


def test_a_width_that_was_disturbed_once_is_measured_again(monkeypatch):
    """Width 10 is timed once at first: too few to tell a disturbance from another kernel."""
    machine = Machine(monkeypatch, lambda w, times: w + (50.0 if (w, times) == (10, 1) else 0.0))
    assert measure_first(machine.evaluate, 64, seconds=1e9).seconds()[10] == pytest.approx(10.0)


# --- changes of the width -------------------------------------------------------------------------


class Changing(Machine):
    """Every change of the width costs `once`, and the evaluation behind it `twice`."""

    once, twice = 0.3, 0.0

    def evaluate(self, width):
        last = self.evaluated[-2:]
        self.now += self.once * (last[-1:] != [width])
        self.now += self.twice * (last[-1:] == [width] and last != [width, width])
        super().evaluate(width)


@pytest.mark.parametrize(("once", "twice"), [(0.3, 0.0), (0.2, 0.1), (1.5, 0.5)])
def test_what_a_change_of_the_width_costs_is_measured(monkeypatch, once, twice):
    """A backend that records graphs is slow twice: without a graph, then recording it."""
    machine = Changing(monkeypatch, lambda width, times: width)
    machine.once, machine.twice = once, twice
    same, changed = measure_changes(machine.evaluate, 64, seconds=1e9)
    assert same == pytest.approx({1: 1.0, 4: 4.0})
    assert change_cost((same, changed)) == pytest.approx(once + twice)


def test_a_change_that_is_lost_in_noise_costs_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    machine = Machine(monkeypatch, lambda width, times: width * (1 + 0.005 * rng.random()))
    assert change_cost(measure_changes(machine.evaluate, 64, seconds=1e9)) == 0.0


@pytest.mark.parametrize("plain", [0.001, 0.02, 1.0])
def test_changes_and_trees_keep_their_time(monkeypatch, plain):
    machine = Machine(monkeypatch, lambda width, times: plain * width)
    found = measure_changes(machine.evaluate, 64, seconds=1.0)
    assert machine.now < max(1.0, 1.1 * plain)
    assert (found is None) == (plain == 1.0)
    machine = Machine(monkeypatch, lambda parents, times: plain)
    machine.evaluated = Unhashable()
    found = measure_trees(machine.evaluate, 64, 16, seconds=1.0)
    assert machine.now < max(1.0, 3.1 * plain)
    assert (found is None) == (plain == 1.0)


class Unhashable(list):
    """Counts nothing: arrays cannot be compared."""

    def count(self, _):
        return 0


# --- trees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_leaves", [2, 5, 16])
@pytest.mark.parametrize("leaf", [0.0, 0.02, 0.5])
def test_what_a_leaf_costs_is_measured_whatever_rows_cost(monkeypatch, leaf, most_leaves):
    machine = Machine(
        monkeypatch,
        lambda parents, _: 2.0 * (1 + 0.05 * len(parents) + leaf * (leaves_of(parents) - 1)),
    )
    machine.evaluated = Unhashable()
    found = measure_trees(machine.evaluate, 64, most_leaves, seconds=1e9)
    assert [sorted(costs) for costs in found] == [[1, 8, 16, 32]] * 2
    assert leaf_cost(found, most_leaves) == pytest.approx(leaf, abs=1e-6)


def test_without_room_for_a_tree_there_is_no_cost(monkeypatch):
    machine = Machine(monkeypatch, lambda parents, _: 1.0)
    machine.evaluated = Unhashable()
    assert measure_trees(machine.evaluate, 4, 16, seconds=1e9) is None


@pytest.mark.parametrize("most_leaves", [1, 2, 5, 16])
@pytest.mark.parametrize("width", [1, 2, 3, 8, 33, 64])
def test_a_comb_is_a_tree_with_as_many_leaves_as_it_can_have(width, most_leaves):
    parents = comb(width, most_leaves)
    assert len(parents) == width - 1
    assert all(-1 <= parent < node for node, parent in enumerate(parents))
    assert leaves_of(parents) == min(most_leaves, (width - 1) // 2 + 1)
