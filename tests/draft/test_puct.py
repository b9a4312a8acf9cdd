"""The paper's search against the same search in objects and dicts."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.puct import PUCT_DRAFTS, PUCT_NODES, PUCT_SEARCHED, puct
from tests import naive
from tests.draft.reading import lookup
from tests.draft.trees import Knowledge, assert_is_a_tree, assert_same, shape, texts


def known_successors(matrix):
    """(a, b) -> [(token, probability)], heaviest first."""

    def successors(a, b):
        tokens, shares = lookup(matrix, a, b)
        return list(zip(tokens.tolist(), map(float, shares), strict=True))

    return cache(successors)


def drafted_by(tree):
    """Path -> probability."""
    tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
    paths = [tuple(naive.path_to(node, tokens, parents)) for node in range(len(tree))]
    return dict(zip(paths, tree.probs.tolist(), strict=True))


@given(st.lists(texts, min_size=1, max_size=3), st.integers(0, 64))
def test_it_is_the_search_of_the_paper(texts, max_nodes):
    matrix = Knowledge(texts).matrix
    tree = puct(matrix.table, 0, 1, max_nodes=max_nodes)
    expected = naive.puct(known_successors(matrix), 0, 1, max_nodes)
    assert drafted_by(tree) == pytest.approx(expected, rel=1e-5)


@given(st.lists(texts, min_size=1, max_size=3), st.integers(0, 64))
def test_it_gives_a_tree_within_the_bounds_of_the_paper(texts, max_nodes):
    tree = puct(Knowledge(texts).matrix.table, 0, 1, max_nodes=max_nodes)
    assert_is_a_tree(tree)
    depths, leaves = shape(tree)
    assert len(tree) <= max_nodes
    assert leaves <= PUCT_DRAFTS
    assert max(depths, default=0) <= PUCT_SEARCHED + 1


def test_it_chooses_among_many_as_the_paper_does():
    """More is known than fits into 64 nodes, so the search decides."""
    chances = 1 / np.arange(1, 31)
    text = np.random.default_rng(0).choice(30, 4000, p=chances / chances.sum())
    matrix = Knowledge([text.tolist()]).matrix
    successors = known_successors(matrix)
    for before, root in ((0, 0), (0, 1), (1, 0), (2, 1), (5, 3)):
        tree = puct(matrix.table, before, root)
        assert len(tree) == PUCT_NODES
        expected = naive.puct(successors, before, root, PUCT_NODES)
        assert drafted_by(tree) == pytest.approx(expected, rel=1e-5)


@given(st.lists(texts, max_size=3), st.lists(st.integers(0, 2), min_size=2))
def test_the_same_knowledge_gives_the_same_draft(texts, context):
    """Ties, too, are decided by what was read, not by chance or by what was drafted before."""
    one, other = Knowledge(texts).matrix, Knowledge(texts).matrix
    first = puct(one.table, *context[-2:])
    assert_same(first, puct(one.table, *context[-2:]))
    assert_same(first, puct(other.table, *context[-2:]))


def test_nothing_known_nothing_drafted():
    assert len(puct(TrigramMatrix().table, 1, 2)) == 0
