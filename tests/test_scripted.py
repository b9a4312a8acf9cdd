"""The scripted target gives the scripted logits, and refuses calls that break the protocol."""

import numpy as np
import pytest

from aded_edge.errors import EvaluationError
from tests.scripted import ScriptedTarget

NONE = np.empty(0, np.int32)


def ints(*values):
    return np.asarray(values, np.int32)


@pytest.fixture
def target():
    target = ScriptedTarget.ngram(8, order=2, seed=3)
    target.read([1, 2])
    return target


def test_rows_are_the_known_logits_behind_root_and_nodes(target):
    rows = target.evaluate(3, ints(4, 5, 6), ints(-1, 0, -1))
    for row, path in enumerate(([3], [3, 4], [3, 4, 5], [3, 6])):
        np.testing.assert_array_equal(rows[row], target.behind(path))


def test_what_was_submitted_is_collected(target):
    expected = target.evaluate(3, ints(4, 5), ints(-1, 0)).copy()
    target.submit(3, ints(4, 5), ints(-1, 0))
    assert target.ticket
    np.testing.assert_array_equal(target.collect(), expected)
    target.settle()
    with pytest.raises(AssertionError, match="behind submit"):
        target.collect()


def test_the_same_seed_is_the_same_model(target):
    other = ScriptedTarget.ngram(8, order=2, seed=3)
    other.read([1, 2])
    np.testing.assert_array_equal(other.logits(), target.logits())
    other = ScriptedTarget.ngram(8, order=2, seed=4)
    other.read([1, 2])
    assert not np.array_equal(other.logits(), target.logits())


def test_the_history_grows_by_what_was_advanced_to_and_nothing_else(target):
    target.evaluate(3, ints(4, 5, 6), ints(-1, 0, -1))
    target.advance(0)
    target.advance(3)
    np.testing.assert_array_equal(target.logits(), target.behind([]))
    target.settle()
    assert target.history.tolist() == [1, 2, 3, 6]


@pytest.mark.parametrize(
    ("tokens", "parents"), [((4, 5), (1, -1)), ((4, 4), (-1, -1)), ((9,), (-1,))]
)
def test_a_malformed_tree_is_our_own_fault(target, tokens, parents):
    with pytest.raises(AssertionError):
        target.evaluate(3, ints(*tokens), ints(*parents))


def test_advancing_to_a_row_off_the_path_is_our_own_fault(target):
    target.evaluate(3, ints(4, 5), ints(-1, 0))
    with pytest.raises(AssertionError, match="parent"):
        target.advance(2)
    target.settle()
    with pytest.raises(AssertionError, match="between"):
        target.advance(0)


def test_a_full_context_is_refused():
    target = ScriptedTarget.ngram(8)
    small = ScriptedTarget(target.behind, 8, n_ctx=3)
    target.read([0])
    small.read([1, 2])
    assert small.max_nodes == 0
    with pytest.raises(EvaluationError, match="2 tokens"):
        small.evaluate(3, ints(4), ints(-1))
