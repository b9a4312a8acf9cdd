"""Best-first search against a sorted list of all open candidates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.draft.estimate import CONTEXT
from aded_edge.draft.spans import LENGTHS
from tests import naive
from tests.draft.reading import next_tokens
from tests.draft.trees import KAPPA, Knowledge, assert_is_a_tree, assert_same, shape, texts
from tests.naive import ids

bounds = st.fixed_dictionaries(
    {
        "max_nodes": st.integers(1, 24),
        "max_leaves": st.integers(1, 6) | st.just(64),
        "max_depth": st.integers(1, 9) | st.just(64),
        "least": st.sampled_from([0.02, 0.1, 0.3]),
    }
)
trusts = st.lists(st.sampled_from([0.3, 0.6, 0.9, 1.2]), min_size=8, max_size=8)


def assert_likeliest_first(known, context, tree, bounds):
    """Every node is the likeliest open candidate; if the tree is not full, none is left."""
    rules = {**bounds, "least": bounds["least"] * 0.9999}
    most = rules.pop("max_nodes")
    for node in range(len(tree)):
        queue = naive.open_candidates(context, tree, node, known.probs_after, **rules)
        odds = {(parent, token): prob for prob, parent, token in queue}
        prob = odds[int(tree.parents[node]), int(tree.tokens[node])]
        assert prob == pytest.approx(float(tree.probs[node]), rel=1e-5)
        assert prob >= queue[0][0] * 0.9999
    rules["least"] = bounds["least"] * 1.0001
    left = naive.open_candidates(context, tree, len(tree), known.probs_after, **rules)
    assert len(tree) == most or (len(tree) < most and not left)


ways = st.fixed_dictionaries(
    {}, optional={"longest": st.sampled_from([1, 2, *LENGTHS]), "trusting": st.booleans()}
)


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=1), trusts, ways, bounds)
def test_every_node_is_the_likeliest_that_was_open(texts, context, trusts, ways, bounds):
    known = Knowledge(texts, trusts, **ways)
    assert_likeliest_first(known, context, known.draft(context, **bounds), bounds)


@pytest.mark.parametrize(("max_leaves", "max_depth"), [(64, 64), (5, 64), (64, 2)])
def test_the_likeliest_is_found_among_hundreds(max_leaves, max_depth):
    known = Knowledge([np.random.default_rng(0).integers(0, 8, 1000).tolist()])
    bounds = {"max_nodes": 40, "max_leaves": max_leaves, "max_depth": max_depth, "least": 0.001}
    tree = known.draft((1, 2, 3), **bounds)
    assert len(tree) == 40
    assert max(shape(tree)[0]) <= max_depth
    assert_likeliest_first(known, (1, 2, 3), tree, bounds)


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=1), bounds)
def test_the_bounds_hold_and_every_prefix_is_a_tree(texts, context, bounds):
    tree = Knowledge(texts).draft(context, **bounds)
    assert_is_a_tree(tree)
    depths, leaves = shape(tree)
    assert len(tree) <= bounds["max_nodes"]
    assert leaves <= bounds["max_leaves"]
    assert max(depths, default=0) <= bounds["max_depth"]
    assert all(tree.probs >= np.float32(bounds["least"]))


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=1), st.integers(0, 24))
def test_a_smaller_draft_is_the_beginning_of_a_larger_one(texts, context, nodes):
    known = Knowledge(texts)
    small = known.draft(context, max_nodes=nodes)
    large = known.draft(context, max_nodes=24).prefix(nodes)
    assert small.tokens.tolist() == large.tokens.tolist()
    assert small.parents.tolist() == large.parents.tolist()


@given(
    st.lists(texts, max_size=3),
    st.lists(st.integers(0, 2), min_size=1),
    st.integers(1, 64),
    st.sampled_from([0.05, 0.2, 0.6, 1.0]),
)
def test_nothing_is_looked_for_behind_what_is_not_worth_it(texts, context, nodes, worth):
    known = Knowledge(texts)
    room = {"max_leaves": 64, "max_depth": 64, "least": 0.02}
    whole = known.draft(context, max_nodes=nodes, **room)
    tree = known.draft(context, max_nodes=nodes, worth=worth, **room)
    above = np.where(whole.parents < 0, 1.0, whole.probs[whole.parents])
    expected = whole.probs[
        above >= worth
    ]  # not the tokens: any of equally likely ones may be left out
    assert tree.probs[: len(expected)].tolist() == expected.tolist()
    assert len(tree) == len(expected) or len(whole) == nodes, (
        "the tree is as large as the bounds allow"
    )
    assert all(tree.probs[tree.parents[tree.parents >= 0]] >= np.float32(worth))


@given(
    st.lists(texts, max_size=3),
    st.lists(st.integers(0, 2), min_size=1),
    st.sampled_from([0.1, 0.3, 0.6, 1.0]),
)
def test_a_branch_that_is_hardly_likely_is_left_out(texts, context, least_branch):
    tree = Knowledge(texts).draft(context, max_nodes=40, max_leaves=64, least_branch=least_branch)
    assert_is_a_tree(tree)
    seen = set()
    for parent, prob in zip(tree.parents.tolist(), tree.probs.tolist(), strict=True):
        assert parent not in seen or prob >= np.float32(least_branch)
        seen.add(parent)
    if least_branch == 1.0:
        chain = Knowledge(texts).draft(context, max_nodes=40, max_leaves=1)
        assert_same(tree, chain)


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 9), min_size=9, max_size=20))
def test_only_the_last_tokens_of_the_history_count(texts, context):
    known = Knowledge(texts)
    trees = [known.draft(history) for history in (context, context[-CONTEXT:])]
    assert_same(*trees)


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=2))
def test_the_same_knowledge_gives_the_same_draft(texts, context):
    """Ties, too, are decided by what was read, not by chance or by what was drafted before."""
    one, other = Knowledge(texts), Knowledge(texts)
    first = one.draft(context)
    assert_same(first, one.draft(context))
    assert_same(first, other.draft(context))


def test_a_copied_passage_is_drafted_as_one_long_chain():
    passage = [*range(20, 52)]
    known = Knowledge([passage, [5, 6]], [1.0])
    tree = known.draft(passage[:8], max_nodes=32, least=0.001)
    assert tree.tokens[:24].tolist() == passage[8:]
    assert tree.parents[:24].tolist() == [*range(-1, 23)]


@pytest.mark.parametrize("nodes", [0, -3])
def test_no_nodes_no_tree(nodes):
    assert len(Knowledge([[1, 2, 3]]).draft([1], max_nodes=nodes)) == 0


def test_nothing_known_nothing_drafted():
    assert len(Knowledge([]).draft([1, 2])) == 0


def test_each_node_carries_its_raw_estimate_and_cell():
    known = Knowledge([[1, 2, 3, 1, 2, 4]], [0.5])
    tree = known.draft([1, 2], max_nodes=2)
    raw = next_tokens(known.matrix, known.spans, ids(1, 2), KAPPA)
    assert {3, 4} == set(tree.tokens.tolist())
    for node, token in enumerate(tree.tokens.tolist()):
        assert tree.estimates[node] == pytest.approx(raw[token])
        assert tree.probs[node] == pytest.approx(raw[token] / 2)
        assert tree.cells[node] == naive.cell(1, 2.0, raw[token])
