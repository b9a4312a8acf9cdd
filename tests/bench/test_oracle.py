"""The oracle against all ways to cut an answer into evaluations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.bench.oracle import oracle_seconds

costs = st.dictionaries(st.integers(2, 9), st.floats(0.1, 5.0), max_size=4).map(
    lambda costs: {1: 1.0, **costs}
)


def cheapest(costs, tokens):
    """Tries every width for the next evaluation, and all that may follow."""
    if tokens <= 0:
        return 0.0
    return min(cost + cheapest(costs, tokens - width) for width, cost in costs.items())


@given(costs, st.integers(-1, 9))
def test_no_way_to_cut_an_answer_is_cheaper(costs, tokens):
    assert oracle_seconds(costs, tokens) == pytest.approx(cheapest(costs, tokens))


def test_where_width_is_free_the_widest_is_taken():
    costs = {1: 1.0, 8: 1.0}
    assert [oracle_seconds(costs, n) for n in (0, 1, 8, 9, 80)] == [0.0, 1.0, 1.0, 2.0, 10.0]


def test_where_width_never_pays_it_is_plain_decoding():
    assert oracle_seconds({1: 0.5, 2: 1.5, 4: 3.0}, 100) == pytest.approx(50.0)


def test_the_last_evaluation_may_be_wider_than_what_is_left():
    """Width 4 for 1.5 is cheaper than two plain ones."""
    assert oracle_seconds({1: 1.0, 4: 1.5}, 2) == 1.5
