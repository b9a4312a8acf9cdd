"""The draft tree: flat arrays, of which every prefix is a tree."""

import numpy as np
import pytest

from aded_edge.draft.tree import DraftTree
from tests.draft.reading import chain

#   5 ┬ 7 ─ 5
#     └ 8
#   6 ─ 7
FORK = DraftTree.build([5, 6, 7, 8, 7, 5], [-1, -1, 0, 0, 1, 2], [0.9, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_the_empty_tree_has_no_nodes_and_no_child():
    empty = DraftTree.empty()
    assert len(empty) == len(DraftTree.build([], [])) == len(chain([])) == 0
    assert empty.child(-1, 5) is None


def test_without_probabilities_every_node_is_certain():
    tree = DraftTree.build([4, 5, 6], [-1, 0, 1])
    assert tree.probs.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("tree", [FORK, DraftTree.empty(), chain([1])])
def test_the_arrays_have_their_types_whatever_they_were_built_from(tree):
    types = [np.int32, np.int32, np.float32, np.float32, np.int16]
    arrays = [tree.tokens, tree.parents, tree.probs, tree.estimates, tree.cells]
    assert [array.dtype for array in arrays] == types
    assert {array.shape for array in arrays} == {(len(tree),)}


@pytest.mark.parametrize("n", range(8))
def test_a_prefix_is_the_first_nodes_of_every_array(n):
    prefix = FORK.prefix(n)
    for name in ("tokens", "parents", "probs", "estimates", "cells"):
        assert np.array_equal(getattr(prefix, name), getattr(FORK, name)[:n])


@pytest.mark.parametrize("n", range(1, 10))
def test_a_filled_tree_continues_the_path_of_its_last_node(n):
    filled = FORK.prefix(4).filled(n)
    assert len(filled) == max(n, 4)
    assert_starts_with(filled, FORK.prefix(4))
    assert filled.tokens[4:].tolist() == [8] * (n - 4)
    assert filled.parents[4:].tolist() == list(range(3, n - 1))
    assert filled.probs[4:].tolist() == [0.0] * (n - 4)
    assert filled.cells.dtype == np.int16


def assert_starts_with(tree, other):
    for name in ("tokens", "parents", "probs", "estimates", "cells"):
        assert np.array_equal(getattr(tree, name)[: len(other)], getattr(other, name))


@pytest.mark.parametrize(
    ("parent", "token", "node"),
    [(-1, 5, 0), (-1, 6, 1), (0, 7, 2), (0, 8, 3), (1, 7, 4), (2, 5, 5)],
)
def test_a_child_is_found_by_its_parent_and_its_token(parent, token, node):
    assert FORK.child(parent, token) == node


@pytest.mark.parametrize(("parent", "token"), [(-1, 7), (1, 5), (1, 8), (5, 5), (3, 7)])
def test_a_token_below_another_parent_is_no_child(parent, token):
    assert FORK.child(parent, token) is None


def test_a_tree_without_cells_has_no_evidence_to_calibrate():
    assert FORK.cells.tolist() == [-1] * 6
