"""The tri-gram matrix against dicts and lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.draft.matrix import MOST_WEIGHT, SLOTS, TrigramMatrix
from tests import naive
from tests.draft.reading import lookup
from tests.naive import contents, ids

HIGHEST = 2**31 - 1

few = st.lists(st.integers(-1, 4), max_size=40)
# One context with more successors than it has slots.
crowd = st.lists(st.integers(10, 14 + SLOTS), max_size=60).map(
    lambda tokens: [token for successor in tokens for token in (3, successor)]
)
huge = st.lists(st.sampled_from([-1, 0, 1, HIGHEST - 1, HIGHEST]), max_size=20)
texts = st.tuples(few | crowd | huge, st.integers(0, 3), st.sampled_from([0.5, 1.0, 4.0]))


@st.composite
def rows_of_candidates(draw):
    lasts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=8))
    befores = [draw(st.integers(-1, 2)) for _ in lasts]
    tokens = [draw(st.permutations(range(SLOTS + 8)))[:4] for _ in lasts]
    # Sixty-fourths are exact in float32; the least of them is not worth a slot.
    probs = [[n / 64 for n in draw(st.tuples(*[st.integers(1, 16)] * 4))] for _ in lasts]
    return befores, lasts, tokens, probs


def observe_top(matrix, befores, lasts, tokens, probs):
    matrix.observe_top(ids(*befores), ids(*lasts), ids(*tokens), np.float32(probs))


def filled(texts, **bounds):
    matrix = TrigramMatrix(**bounds)
    for tokens, start, weight in texts:
        matrix.observe(ids(*tokens), start, weight)
    return matrix


def naively_filled(texts):
    matrix = naive.Matrix()
    for tokens, start, weight in texts:
        matrix.observe(tokens, start, weight)
    return matrix


def without_stamps(rows):
    return {context: (total, weights) for context, (total, _, weights) in rows.items()}


@given(st.lists(texts, max_size=4), st.sampled_from([1, 16, 4096]))
def test_observing_is_counting_and_growth_loses_nothing(texts, capacity):
    matrix = filled(texts, capacity=capacity)
    assert contents(matrix) == naively_filled(texts).contents()


@given(texts, st.lists(rows_of_candidates(), max_size=6), st.sampled_from([1, 4096]))
def test_distributions_are_added_as_they_are(text, steps, capacity):
    matrix, reference = filled([text], capacity=capacity), naively_filled([text])
    for step in steps:
        observe_top(matrix, *step)
        reference.observe_top(*step)
    assert contents(matrix) == reference.contents()


def test_a_candidate_below_the_least_takes_no_slot_but_counts_as_seen():
    matrix = TrigramMatrix()
    observe_top(matrix, [1], [2], [[5, 6]], [[0.75, 0.01]])
    assert contents(matrix) == {(2,): (1.0, 1, {5: 0.75}), (1, 2): (1.0, 1, {5: 0.75})}


@given(st.lists(texts, max_size=3), st.integers(-1, 4), st.integers(0, 4))
def test_lookup_gives_shares_heaviest_first(texts, a, b):
    tokens, shares = lookup(filled(texts), a, b)
    context = (a, b) if a >= 0 else (b,)
    total, _, weights = naively_filled(texts).contents().get(context, (1.0, 0, {}))
    expected = {token: weight / total for token, weight in weights.items()}
    assert dict(zip(tokens.tolist(), shares.tolist(), strict=True)) == pytest.approx(expected)
    assert shares.tolist() == sorted(shares.tolist(), reverse=True)


def test_an_unknown_context_has_no_successors():
    tokens, shares = lookup(filled([([1, 2, 3], 0, 1.0)]), 2, 1)
    assert (len(tokens), len(shares)) == (0, 0)


def test_no_context_reaches_across_a_separator():
    rows = contents(filled([([1, 2, -1, 3, 4], 0, 1.0)]))
    assert set(rows) == {(1,), (3,)}


def test_a_pair_is_never_taken_for_a_single_token():
    matrix = filled([([HIGHEST, HIGHEST, HIGHEST - 1], 1, 1.0), ([0, HIGHEST, 7], 1, 1.0)])
    assert set(contents(matrix)) == {(HIGHEST,), (HIGHEST, HIGHEST), (0,), (0, HIGHEST)}
    assert lookup(matrix, HIGHEST, HIGHEST)[0].tolist() == [HIGHEST - 1]
    assert lookup(matrix, 0, HIGHEST)[0].tolist() == [7]


def test_a_frequent_successor_outlives_any_number_of_rare_ones():
    rare = [token for n in range(20) for token in (3, 100 + n)]
    matrix = filled([([3, 9] * 20 + rare * 5, 0, 1.0)])
    assert 9 in lookup(matrix, -1, 3)[0].tolist()


def test_a_habit_is_unlearned_however_old_it_is():
    matrix = filled([([3, 9] * 1000, 0, 1.0), ([3, 8] * 100, 0, 1.0)])
    assert lookup(matrix, -1, 3)[0].tolist() == [8, 9]
    assert contents(matrix)[3,][0] <= MOST_WEIGHT


def test_a_successor_that_faded_to_nothing_leaves_no_gap():
    """After 150 halvings a float32 weight is 0; the slots after it must still be found."""
    matrix = filled([([3, 8], 0, 1.0)])
    for _ in range(12):
        matrix.observe(ids(*[3, 9, -1] * 500))
        assert contents(matrix)[3,][2].keys() >= {9}, "a successor has one slot, not two"
    assert lookup(matrix, -1, 3)[0][0] == 9


@given(st.lists(texts, max_size=3))
def test_what_is_exported_and_absorbed_is_the_same_matrix(texts):
    matrix, again = filled(texts), TrigramMatrix(capacity=1)
    again.absorb(matrix.export())
    assert contents(again) == contents(matrix)


@given(st.lists(texts, max_size=3), st.lists(texts, max_size=3))
def test_absorbing_adds_what_another_matrix_learned(mine, others):
    matrix, reference = filled(mine), naively_filled(mine)
    matrix.absorb(filled(others).export())
    reference.absorb(naively_filled(others))
    assert contents(matrix) == reference.contents()
    assert matrix.clock == reference.clock


def test_exported_arrays_do_not_change_with_the_matrix():
    matrix = filled([([1, 2, 3], 0, 1.0)])
    rows = matrix.export()
    before = [array.copy() for array in rows]
    matrix.observe(ids(1, 2, 3))
    assert all(np.array_equal(*pair) for pair in zip(rows, before, strict=True))


def walk(n, seed, vocabulary):
    return np.random.default_rng(seed).integers(0, vocabulary, n).astype(np.int32)


def test_a_text_longer_than_one_piece_is_counted_as_one():
    text = walk(1000, 1, 12)  # pieces of 128 tokens; too few contexts to fill the matrix
    matrix, reference = TrigramMatrix(max_contexts=1 << 10), naive.Matrix()
    matrix.observe(text, 5)
    reference.observe(text.tolist(), 5)
    assert without_stamps(contents(matrix)) == without_stamps(reference.contents())
    again = TrigramMatrix(max_contexts=1 << 10)
    again.absorb(matrix.export())  # in pieces too
    assert contents(again) == contents(matrix)


def test_the_bound_holds_whatever_is_read():
    matrix = TrigramMatrix(max_contexts=1 << 10)
    for seed in range(4):
        matrix.observe(walk(700, seed, 400))
        observe_top(matrix, [seed] * 64, [*range(500, 564)], [[1]] * 64, [[0.5]] * 64)
        assert len(matrix) <= 1 << 10
    bigger = filled([(walk(1500, 9, 400).tolist(), 0, 1.0)])
    matrix.absorb(bigger.export())
    assert len(bigger) > 1 << 10 >= len(matrix)
    assert matrix.table.keys.size <= 1 << 10


def test_the_oldest_and_rarest_quarter_makes_room():
    matrix = TrigramMatrix(max_contexts=1 << 10, half_life=3)
    rng = np.random.default_rng(0)
    for _ in range(12):
        matrix.observe(walk(30, int(rng.integers(100)), 60), 0, float(rng.choice([0.5, 1, 4])))
    before, clock = contents(matrix), matrix.clock
    matrix.reserve((1 << 10) - len(matrix) + 1)
    after = contents(matrix)
    assert len(before) - len(after) == len(before) // 4
    assert after.items() <= before.items(), "what is kept is kept as it was"
    worth = {c: naive.value(total, clock - at, 3) for c, (total, at, _) in before.items()}
    dropped = before.keys() - after.keys()
    assert max(worth[c] for c in dropped) <= min(worth[c] for c in after) * 1.0001


def test_a_full_matrix_keeps_the_frequent_and_the_recent():
    matrix = TrigramMatrix(max_contexts=1 << 10, half_life=50)
    for n in range(100):
        matrix.observe(np.arange(1000 * n, 1000 * n + 20, dtype=np.int32))
        matrix.observe(ids(1, 2, 3))
    assert {(1, 2), (2,), (99_018,), (99_017, 99_018)} <= contents(matrix).keys()
    assert (0,) not in contents(matrix)


def test_nothing_is_learned_from_nothing():
    matrix = TrigramMatrix()
    matrix.observe(ids())
    matrix.observe(ids(5))
    matrix.observe(ids(1, 2, 3), 3)
    matrix.absorb(TrigramMatrix().export())
    assert len(matrix) == 0
