"""The walk: which rows are visited, what counts as accepted."""

import pytest

from aded_edge.decode.accept import Walk
from aded_edge.draft.tree import DraftTree

# root -> 5 -> 6, 7;  root -> 8
TREE = DraftTree.build([5, 8, 6, 7], [-1, -1, 0, 0])


def walk(choices, tree=TREE):
    walk = Walk(tree)
    rows = []
    for row, choice in zip(walk, choices, strict=False):
        rows.append(row)
        walk.take(choice)
    return walk, rows


def test_a_wrong_first_guess_leaves_the_bonus_alone():
    result, rows = walk([9, 9])
    assert (rows, result.path, result.emitted) == ([0], [], [9])


def test_the_path_goes_through_the_child_that_carries_the_choice():
    result, rows = walk([5, 7, 1, 1])
    assert (rows, result.path, result.emitted) == ([0, 1, 4], [0, 3], [5, 7, 1])


def test_a_sibling_can_be_confirmed_too():
    result, rows = walk([8, 3])
    assert (rows, result.path, result.emitted) == ([0, 2], [1], [8, 3])


def test_a_choice_confirms_no_node_of_another_branch():
    result, _ = walk([8, 6])
    assert (result.path, result.emitted) == ([1], [8, 6])


def test_the_empty_tree_is_plain_decoding():
    result, rows = walk([4, 4], DraftTree.empty())
    assert (rows, result.path, result.emitted) == ([0], [], [4])


def test_a_stopped_walk_visits_no_further_row():
    stopped = Walk(TREE)
    rows = iter(stopped)
    next(rows)
    stopped.stopped = True
    assert next(rows, None) is None
    assert stopped.emitted == []


def test_taking_more_than_was_asked_for_is_our_own_fault():
    ended, _ = walk([9])
    with pytest.raises(AssertionError, match="ended"):
        ended.take(1)
