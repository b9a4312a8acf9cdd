"""The searches against a sorted list of all open candidates, and the paper's search in objects."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.draft.best_first import PUCT_DRAFTS, PUCT_NODES, PUCT_SEARCHED, best_first, puct
from aded_edge.draft.calibration import SURE, TRUST, Calibration
from aded_edge.draft.estimate import CONTEXT, next_tokens
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import LENGTHS, Spans
from tests import naive
from tests.naive import contents, ids

KAPPA = 0.75

texts = st.lists(st.integers(0, 2), max_size=80) | st.lists(st.integers(0, 9), max_size=80)
bounds = st.fixed_dictionaries(
    {
        "max_nodes": st.integers(1, 24),
        "max_leaves": st.integers(1, 6) | st.just(64),
        "max_depth": st.integers(1, 9) | st.just(64),
        "least": st.sampled_from([0.02, 0.1, 0.3]),
    }
)
trusts = st.lists(st.sampled_from([0.3, 0.6, 0.9, 1.2]), min_size=8, max_size=8)


class Known:
    """A matrix and spans that read some texts, and a calibration that trusts each band so much.

    `ways`: what else a search is told of how to estimate.
    """

    def __init__(self, texts, trusts=(0.9,), **ways):
        self.matrix, self.spans, self.calibration = TrigramMatrix(), Spans(1 << 10), Calibration()
        for text in texts:
            self.matrix.observe(ids(*text))
            self.spans.append(ids(*text))
        self.trust = np.resize(np.float32(trusts), self.calibration.counts.shape[1])
        self.calibration.counts[TRUST] = self.trust
        self.ways = ways
        self.longest = ways.get("longest", CONTEXT)
        if ways.get("trusting"):
            self.trust = np.ones_like(self.trust)
        self.believe = cache(self._believe)

    def draft(self, context, **bounds):
        *history, root = context
        log, counts = self.spans.log, self.calibration.counts
        table = self.matrix.table
        options = {"kappa": KAPPA, **self.ways, **bounds}
        return best_first(table, log, counts, ids(*history), root, **options)

    def _believe(self, context):
        recent = context[-CONTEXT:]
        kind = self._kind(recent)
        raw = next_tokens(self.matrix.table, self.spans.log, ids(*recent), KAPPA, self.longest)
        cells = {token: naive.cell(*kind, estimate) for token, estimate in raw.items()}
        return {token: min(raw[token] * self.trust[cell], SURE) for token, cell in cells.items()}

    def _kind(self, context):
        rows, places = contents(self.matrix), self.spans.lookup(ids(*context))
        kind = (0, rows.get(context[-1:], [0.0])[0])
        if self.longest > 1 and context[-2:] in rows and len(context) > 1:
            kind = (1, rows[context[-2:]][0])
        for number, length in enumerate(LENGTHS, start=2):
            if length not in places or length > self.longest:
                return kind
            kind = (number, len(places[length]))
        return kind


def shape(tree):
    """Per node: its depth; and how many leaves there are."""
    depths = [len(naive.path_to(i, tree.tokens, tree.parents)) for i in range(len(tree))]
    return depths, len(set(range(len(tree))) - set(tree.parents.tolist()))


def assert_is_a_tree(tree):
    parents = tree.parents.tolist()
    siblings = list(zip(parents, tree.tokens.tolist(), strict=True))
    assert len(set(siblings)) == len(siblings), "a node is drafted twice"
    above = [1.0 if parent < 0 else float(tree.probs[parent]) for parent in parents]
    assert all(-1 <= parent < node for node, parent in enumerate(parents)), "parents come first"
    assert all(prob <= most for prob, most in zip(tree.probs, above, strict=True))
    assert tree.probs.tolist() == sorted(tree.probs.tolist(), reverse=True), "best first"


def assert_likeliest_first(known, context, tree, bounds):
    """Every node is the likeliest that was open; where the tree ends, none was left."""
    rules = {**bounds, "least": bounds["least"] * 0.9999}
    most = rules.pop("max_nodes")
    for node in range(len(tree)):
        queue = naive.open_candidates(context, tree, node, known.believe, **rules)
        odds = {(parent, token): prob for prob, parent, token in queue}
        prob = odds[int(tree.parents[node]), int(tree.tokens[node])]
        assert prob == pytest.approx(float(tree.probs[node]), rel=1e-5)
        assert prob >= queue[0][0] * 0.9999
    rules["least"] = bounds["least"] * 1.0001
    left = naive.open_candidates(context, tree, len(tree), known.believe, **rules)
    assert len(tree) == most or (len(tree) < most and not left)


ways = st.fixed_dictionaries(
    {}, optional={"longest": st.sampled_from([1, 2, *LENGTHS]), "trusting": st.booleans()}
)


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=1), trusts, ways, bounds)
def test_every_node_is_the_likeliest_that_was_open(texts, context, trusts, ways, bounds):
    known = Known(texts, trusts, **ways)
    assert_likeliest_first(known, context, known.draft(context, **bounds), bounds)


@pytest.mark.parametrize(("max_leaves", "max_depth"), [(64, 64), (5, 64), (64, 2)])
def test_the_likeliest_is_found_among_hundreds(max_leaves, max_depth):
    known = Known([np.random.default_rng(0).integers(0, 8, 1000).tolist()])
    bounds = {"max_nodes": 40, "max_leaves": max_leaves, "max_depth": max_depth, "least": 0.001}
    tree = known.draft((1, 2, 3), **bounds)
    assert len(tree) == 40
    assert max(shape(tree)[0]) <= max_depth
    assert_likeliest_first(known, (1, 2, 3), tree, bounds)


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=1), bounds)
def test_the_bounds_hold_and_every_prefix_is_a_tree(texts, context, bounds):
    tree = Known(texts).draft(context, **bounds)
    assert_is_a_tree(tree)
    depths, leaves = shape(tree)
    assert len(tree) <= bounds["max_nodes"]
    assert leaves <= bounds["max_leaves"]
    assert max(depths, default=0) <= bounds["max_depth"]
    assert all(tree.probs >= np.float32(bounds["least"]))


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=1), st.integers(0, 24))
def test_a_smaller_draft_is_the_beginning_of_a_larger_one(texts, context, nodes):
    known = Known(texts)
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
    known = Known(texts)
    room = {"max_leaves": 64, "max_depth": 64, "least": 0.02}
    whole = known.draft(context, max_nodes=nodes, **room)
    tree = known.draft(context, max_nodes=nodes, worth=worth, **room)
    above = np.where(whole.parents < 0, 1.0, whole.probs[whole.parents])
    expected = whole.probs[above >= worth]  # and not the tokens: of equal ones any may be left
    assert tree.probs[: len(expected)].tolist() == expected.tolist()
    assert len(tree) == len(expected) or len(whole) == nodes, "it is drafted as far as it may be"
    assert all(tree.probs[tree.parents[tree.parents >= 0]] >= np.float32(worth))


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 9), min_size=9, max_size=20))
def test_only_the_last_tokens_of_the_history_count(texts, context):
    known = Known(texts)
    trees = [known.draft(history) for history in (context, context[-CONTEXT:])]
    assert_same(*trees)


def assert_same(one, other):
    for name in ("tokens", "parents", "probs", "estimates", "cells"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=2))
def test_the_same_knowledge_gives_the_same_draft(texts, context):
    """Ties, too, are decided by what was read, not by chance or by what was drafted before."""
    one, other = Known(texts), Known(texts)
    first = one.draft(context)
    assert_same(first, one.draft(context))
    assert_same(first, other.draft(context))
    assert_same(puct(one.matrix.table, *context[-2:]), puct(other.matrix.table, *context[-2:]))


def test_a_copied_passage_is_drafted_as_one_long_chain():
    passage = [*range(20, 52)]
    known = Known([passage, [5, 6]], [1.0])
    tree = known.draft(passage[:8], max_nodes=32, least=0.001)
    assert tree.tokens[:24].tolist() == passage[8:]
    assert tree.parents[:24].tolist() == [*range(-1, 23)]


@pytest.mark.parametrize("nodes", [0, -3])
def test_no_nodes_no_tree(nodes):
    assert len(Known([[1, 2, 3]]).draft([1], max_nodes=nodes)) == 0


def test_nothing_known_nothing_drafted():
    assert len(Known([]).draft([1, 2])) == 0
    assert len(puct(TrigramMatrix().table, 1, 2)) == 0


def test_each_node_carries_its_raw_estimate_and_cell():
    known = Known([[1, 2, 3, 1, 2, 4]], [0.5])
    tree = known.draft([1, 2], max_nodes=2)
    raw = next_tokens(known.matrix.table, known.spans.log, ids(1, 2), KAPPA)
    assert {3, 4} == set(tree.tokens.tolist())
    for node, token in enumerate(tree.tokens.tolist()):
        assert tree.estimates[node] == pytest.approx(raw[token])
        assert tree.probs[node] == pytest.approx(raw[token] / 2)
        assert tree.cells[node] == naive.cell(1, 2.0, raw[token])


def known_successors(matrix):
    """(a, b) -> [(token, probability)], heaviest first."""

    def successors(a, b):
        tokens, shares = matrix.lookup(a, b)
        return list(zip(tokens.tolist(), map(float, shares), strict=True))

    return cache(successors)


def drafted_by(tree):
    """Path -> probability."""
    tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
    paths = [tuple(naive.path_to(node, tokens, parents)) for node in range(len(tree))]
    return dict(zip(paths, tree.probs.tolist(), strict=True))


@given(st.lists(texts, min_size=1, max_size=3), st.integers(0, 64))
def test_puct_is_the_search_of_the_paper(texts, max_nodes):
    matrix = Known(texts).matrix
    tree = puct(matrix.table, 0, 1, max_nodes=max_nodes)
    expected = naive.puct(known_successors(matrix), 0, 1, max_nodes)
    assert drafted_by(tree) == pytest.approx(expected, rel=1e-5)


@given(st.lists(texts, min_size=1, max_size=3), st.integers(0, 64))
def test_puct_gives_a_tree_within_the_bounds_of_the_paper(texts, max_nodes):
    tree = puct(Known(texts).matrix.table, 0, 1, max_nodes=max_nodes)
    assert_is_a_tree(tree)
    depths, leaves = shape(tree)
    assert len(tree) <= max_nodes
    assert leaves <= PUCT_DRAFTS
    assert max(depths, default=0) <= PUCT_SEARCHED + 1


def test_puct_chooses_among_many_as_the_paper_does():
    """Where more is known than fits, the search itself decides; 64 nodes are not enough."""
    chances = 1 / np.arange(1, 31)
    text = np.random.default_rng(0).choice(30, 4000, p=chances / chances.sum())
    matrix = Known([text.tolist()]).matrix
    successors = known_successors(matrix)
    for before, root in ((0, 0), (0, 1), (1, 0), (2, 1), (5, 3)):
        tree = puct(matrix.table, before, root)
        assert len(tree) == PUCT_NODES
        expected = naive.puct(successors, before, root, PUCT_NODES)
        assert drafted_by(tree) == pytest.approx(expected, rel=1e-5)
