"""The budget on other people's machines: trees, changes of the width, curves that fall."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.decode.budget import MARGIN, CostBudget
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.measuring import comb, leaves_of
from aded_edge.draft.tree import DraftTree

# Costs relative to a plain step, by width, as published (DESIGN.md, section 5).
RTX_4090 = {1: 1, 2: 1.05, 4: 1.06, 8: 1.15, 16: 1.2}  # llama.cpp 6646, 15131
RTX_3090 = {1: 1, 2: 1.12, 3: 1.2, 4: 1.33, 5: 1.54, 6: 1.73, 8: 2.15, 16: 2.2}  # 15802, 17505
RX_6800 = {1: 1, 2: 1.13, 4: 1.53, 8: 2.7}  # llama.cpp 5351
STRIX = {1: 1, 2: 1.16, 3: 1.35, 4: 1.51, 6: 1.98, 8: 2.39, 12: 1.86, 16: 1.77}  # strix 56, HIP
METAL = {1: 1, 2: 1.43, 3: 1.75, 4: 2.02, 5: 2.43, 6: 2.72, 8: 3.13}  # llama.cpp 10581
MOE = {1: 1, 2: 3.05, 4: 3.89, 8: 5.11}  # ik_llama.cpp 1630
EPYC = {1: 1, 2: 1.8, 3: 2.0, 4: 2.17, 6: 2.75, 8: 3.67, 12: 4.52, 16: 5.09}
MACHINES = [RTX_4090, RTX_3090, RX_6800, STRIX, METAL, MOE, EPYC]


def unlimited(costs, **options):
    """A budget that nothing uses up, so that only the expected speed decides."""
    budget = CostBudget(CostCurve(costs, **options))
    budget._loss_budget = budget._credit = float("inf")
    return budget


def chain(n, each=0.99):
    return DraftTree.build(range(n), range(-1, n - 1), [each ** (i + 1) for i in range(n)])


def taken(budget, draft, steps=1):
    """Widths of steps with the same draft, all accepted but for the last node."""
    widths = []
    for _ in range(steps):
        widths.append(len(budget.cut(draft)) + 1)
        budget.settle(widths[-1], 1)
        budget._loss_budget = budget._credit = float("inf")
    return widths


# --- curves that fall -----------------------------------------------------------------------------


def test_sixteen_rows_are_taken_in_the_place_of_eight_where_they_cost_less():
    """Metal and MoE have no wider width; on an RTX 3090 sixteen rows cost what eight do."""
    widths = [taken(unlimited(costs), chain(32))[0] for costs in MACHINES]
    assert widths == [16, 16, 8, 16, 8, 8, 16]


@pytest.mark.parametrize("nodes", [5, 7, 8, 9, 11, 14])
def test_a_short_draft_is_filled_up_to_a_width_that_costs_less(nodes):
    cut = unlimited(STRIX).cut(chain(nodes))
    assert len(cut) == 15
    assert cut.tokens[:nodes].tolist() == list(range(nodes))
    assert cut.parents.tolist() == list(range(-1, 14))
    assert cut.probs[nodes:].tolist() == [0.0] * (15 - nodes)
    assert cut.cells[nodes:].tolist() == [-1] * (15 - nodes)


@pytest.mark.parametrize("costs", [RTX_4090, RTX_3090, RX_6800, METAL, MOE, EPYC])
@pytest.mark.parametrize("nodes", [1, 2, 3, 5, 6, 9])
def test_where_the_curve_rises_no_draft_is_filled_up(costs, nodes):
    assert len(unlimited(costs).cut(chain(nodes))) <= nodes


def test_an_unmeasured_width_where_the_curve_falls_is_not_trusted():
    """Nine rows may cost anything between 2.39 and more: twelve are evaluated, which are known."""
    costs = {width: cost for width, cost in STRIX.items() if width < 16}
    assert len(unlimited(costs).cut(chain(8))) == 11
    assert CostCurve({1: 1.0, 8: 3.0, 16: 2.0}, 16).ratio(10) == 3.0
    assert CostCurve({1: 1.0, 8: 2.0, 16: 3.0}, 16).ratio(10) == 3.0


def test_widths_that_must_be_exact_are_not_filled_up():
    budget = CostBudget(CostCurve(STRIX), (4, 8, 16))
    budget._loss_budget = float("inf")
    assert len(budget.cut(chain(9))) in {3, 7}


def test_where_nothing_pays_nothing_is_drafted_but_probes():
    budget = unlimited({1: 1.0, 2: 2.3, 4: 4.8, 8: 9.0})
    widths = taken(budget, chain(8, each=1.0), steps=5000)
    assert np.mean(np.asarray(widths) > 1) < 0.005


# --- trees ----------------------------------------------------------------------------------------


def forked(probs):
    """A chain whose every node has a sibling: 2 n nodes, n + 1 leaves, likeliest first."""
    tree, depths = comb(2 * len(probs) + 1, 64), []
    for parent in tree.tolist():
        depths.append(0 if parent < 0 else depths[parent] + 1)
    path = np.cumprod(probs)
    ranked = [path[d] if i % 2 == 0 else path[d] * 0.5 for i, d in enumerate(depths)]
    order = sorted(range(len(ranked)), key=lambda i: -ranked[i])
    place = {-1: -1} | {node: at for at, node in enumerate(order)}
    parents = [place[int(tree[node])] for node in order]
    return DraftTree.build(order, parents, [ranked[node] for node in order])


def speed(cut, costs, leaf):
    rows = min(w for w in costs if w > len(cut))
    cost = costs[rows] + leaf * (leaves_of(cut.parents) - 1)
    return (1.0 + float(cut.probs.sum())) / cost


@pytest.mark.parametrize("costs", MACHINES)
@pytest.mark.parametrize("leaf", [0.0, 0.01, 0.05, 0.3])
@given(st.lists(st.floats(0.3, 0.98), min_size=1, max_size=12))
@settings(max_examples=20)
def test_of_all_prefixes_of_a_tree_the_one_with_most_tokens_per_cost_is_evaluated(
    costs, leaf, probs
):
    draft = forked(probs)
    cut = unlimited(costs, leaf=leaf).cut(draft)
    prefixes = [draft.prefix(n) for n in range(min(len(draft), max(costs) - 1) + 1)]
    best = max(speed(prefix, costs, leaf) for prefix in prefixes)
    if best > MARGIN * 1.001:
        assert speed(cut, costs, leaf) >= best * 0.999
    elif costs is not STRIX:  # there the whole draft may be filled up
        assert len(cut) == 0 or best > MARGIN * 0.999


def test_a_leaf_that_costs_too_much_leaves_the_chain():
    draft = DraftTree.build(range(4), [-1, -1, 0, 2], [0.9, 0.09, 0.08, 0.07])
    costs = {1: 1.0, 2: 1.01, 3: 1.02, 4: 1.03, 5: 1.04}
    assert len(unlimited(costs, leaf=0.0).cut(draft)) == 4
    assert len(unlimited(costs, leaf=0.5).cut(draft)) == 1
    assert unlimited(costs, leaf=0.5).branch == pytest.approx(0.5 * MARGIN)


def test_rows_are_cheap_where_the_curve_says_so_and_nowhere_else():
    assert [CostBudget(CostCurve(costs)).rows_are_cheap for costs in MACHINES] == [
        costs is RTX_4090 for costs in MACHINES
    ]


def test_what_a_tree_costs_beside_its_rows_is_not_counted_as_the_cost_of_the_width():
    budget = unlimited(RTX_4090, leaf=0.1)
    draft = DraftTree.build(range(7), [-1, -1, 0, 2, 3, 4, 5], [0.9, 0.5, *[0.8] * 5])
    for _ in range(60):
        nodes = len(budget.cut(draft))
        branches = leaves_of(draft.parents[:nodes]) - 1 if nodes else 0
        cost = RTX_4090[8] + 0.1 * branches if nodes else 1.0
        budget.observe(nodes + 1, cost)
        budget.settle(nodes + 1, nodes + 1)
        budget._loss_budget = float("inf")
    assert budget.curve.ratio(8) == pytest.approx(RTX_4090[8], rel=0.01)


# --- changes of the width -------------------------------------------------------------------------

SWITCH = 0.3
CHANGING = {1: 1.0, 2: 1.65, 4: 1.7, 6: 1.76, 8: 1.8}
"""Costs between plain steps: 0.6 of them are the two changes."""


def test_behind_a_width_the_same_one_is_cheaper():
    """Six rows would do, but eight are what was evaluated before: no graph is built anew."""
    budget = unlimited(CHANGING, switch=SWITCH)
    assert taken(budget, chain(7)) == [8]
    assert taken(budget, chain(5)) == [8]
    assert taken(unlimited(CHANGING, switch=SWITCH), chain(5)) == [6]
    assert taken(unlimited(CHANGING), chain(5)) == [6]


def test_a_draft_pays_behind_a_draft_that_would_not_pay_behind_a_plain_step():
    budget = unlimited(CHANGING, switch=SWITCH)
    doubtful = DraftTree.build(range(1), [-1], [0.8])
    assert taken(budget, doubtful) == [1]
    taken(budget, chain(1, each=0.999))
    assert taken(budget, doubtful) == [2]
    budget.begin()
    budget._loss_budget = float("inf")
    assert taken(budget, doubtful) == [1]


def test_few_distinct_widths_are_used_where_changes_are_dear():
    rng = np.random.default_rng(0)
    drafts = [chain(int(n)) for n in rng.integers(3, 8, 400)]
    distinct = []
    for switch in (0.0, SWITCH):
        budget = unlimited(CHANGING, switch=switch)
        widths = [taken(budget, draft)[0] for draft in drafts]
        distinct.append(sum(a != b for a, b in pairwise(widths)))
    assert distinct[1] < 0.25 * distinct[0]  # two plain steps now and then


@pytest.mark.parametrize("widths", [(1, 1, 8), (1, 1, *[8] * 20), (1, 1, 8, 4, 8, 4, 4)])
def test_runs_and_changes_teach_the_curve_the_same(widths):
    """However the widths follow each other, the curve keeps what they cost between plain steps."""
    plain = {1: 1.0, 4: 2.0 - 2 * SWITCH, 8: 3.0 - 2 * SWITCH}
    curve = CostCurve({1: 1.0, 4: 2.0, 8: 3.0}, switch=SWITCH)
    before = 1
    for width in widths * 60:
        curve.observe(width, plain[width] + SWITCH * (width != before))
        before = width
    assert curve.seconds() == pytest.approx({1: 1.0, 4: 2.0, 8: 3.0}, rel=0.01)
