"""Blended estimates against the formula, length by length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.draft.calibration import CELLS, LENGTH_KINDS, SURE, TRUST, Calibration
from aded_edge.draft.estimate import MOST_CANDIDATES, calibrate
from aded_edge.draft.matrix import SLOTS, TrigramMatrix
from aded_edge.draft.spans import LENGTHS, WAYS, Spans
from tests import naive
from tests.draft.reading import blended, copies, next_tokens
from tests.naive import contents, ids

KAPPA = 0.75

texts = st.lists(st.integers(-1, 3), max_size=60) | st.lists(st.integers(0, 30), max_size=60)
contexts = st.lists(st.integers(0, 3), min_size=1, max_size=10) | st.just([0, 1] * 20)


def read(*texts):
    matrix, spans = TrigramMatrix(), Spans(1 << 10)
    for text in texts:
        matrix.observe(ids(*text))
        spans.append(ids(*text))
    return matrix, spans


def evidence(matrix, spans, context, longest):
    """What each length knows: (kind of length, all weight seen, token -> weight)."""
    rows, found = contents(matrix), []
    for kind, length in enumerate((1, 2)):
        row = rows.get(tuple(context[-length:]))
        if row is not None and length <= min(len(context), longest):
            found.append((kind, row[0], row[2]))
    places = copies(spans, ids(*context))
    for kind, length in enumerate(LENGTHS, start=2):
        if length not in places or length > longest:
            break
        weights = {token: places[length].count(token) for token in places[length]}
        found.append((kind, len(places[length]), weights))
    return found


longests = st.sampled_from([1, 2, *LENGTHS])


@given(st.lists(texts | st.just([0, 1] * 25), max_size=4), contexts, longests)
def test_each_length_speaks_louder_than_all_shorter_ones(texts, context, longest):
    """Up to the longest that is asked for."""
    matrix, spans = read(*texts)
    known = evidence(matrix, spans, context, longest)
    tokens, estimates, kind = blended(matrix, spans, ids(*context), KAPPA, longest)
    expected = naive.blend([(total, weights) for _, total, weights in known], KAPPA)
    assert len(set(tokens)) == len(tokens), "a token is named once"
    assert dict(zip(tokens, estimates, strict=True)) == pytest.approx(expected, rel=1e-5)
    assert sum(estimates) < 1.0
    assert kind == [known[-1][0], known[-1][1]] if known else tokens == []


def test_a_length_without_a_match_changes_nothing():
    matrix, spans = read([5, 6, 7, 8], [9, 6, 3])
    short = next_tokens(matrix, spans, ids(6), KAPPA)
    assert next_tokens(matrix, spans, ids(1, 2, 3, 4, 6), KAPPA) == short
    assert set(short) == {7, 3}


def test_a_long_copy_outweighs_a_frequent_tri_gram():
    matrix, spans = read([1, 2, 3, 4, 5], *[[9, 3, 4, 6]] * 5)
    estimates = next_tokens(matrix, spans, ids(1, 2, 3, 4), KAPPA)
    assert max(estimates, key=estimates.__getitem__) == 5
    assert estimates[6] > 0.1


def test_nothing_known_is_nothing_estimated():
    matrix, spans = read()
    assert next_tokens(matrix, spans, ids(1, 2, 3), KAPPA) == {}


def test_there_is_room_for_all_that_can_be_named():
    """Two full rows of the matrix and every place of every length, all different."""
    end = [*range(1000, 1000 + LENGTHS[-1] - 2), 7, 8]
    matrix, spans = TrigramMatrix(), Spans(1 << 10)
    for n in range(SLOTS):
        matrix.observe(ids(50 + n, 8, 100 + n), 2)
        matrix.observe(ids(7, 8, 200 + n), 2)
    table = contents(matrix)
    for number, length in enumerate(LENGTHS):
        for way in range(WAYS):
            spans.append(ids(99 - length, *end[-length:], 300 + 10 * number + way))
    tokens, estimates, kind = blended(matrix, spans, ids(*end), KAPPA)
    assert len(table[7, 8][2]) == SLOTS
    assert len(tokens) <= MOST_CANDIDATES
    assert len(set(tokens)) == len(tokens)
    assert kind == [LENGTH_KINDS - 1, WAYS]
    assert max(estimates) == estimates[tokens.index(300 + 10 * number + way)]


@given(
    st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=MOST_CANDIDATES),
    st.integers(0, LENGTH_KINDS - 1),
    st.floats(0.0, 64.0, width=32),
    st.lists(st.floats(0.0, 3.0, width=32), min_size=8, max_size=8),
    st.booleans(),
)
def test_calibrated_is_estimated_times_trusted(estimates, length_kind, weight, trusts, trusting):
    counts = Calibration().counts
    counts[TRUST] = np.resize(np.float32(trusts), CELLS)
    probs, cells = np.empty(len(estimates)), np.empty(len(estimates), np.int16)
    raw, kind = np.asarray(estimates), np.asarray([length_kind, weight], np.float64)
    calibrate(raw, len(estimates), kind, counts, trusting, probs, cells)
    expected = [naive.cell(length_kind, weight, estimate) for estimate in estimates]
    assert cells.tolist() == expected
    trust = np.ones(len(cells)) if trusting else counts[TRUST, cells]
    assert probs.tolist() == pytest.approx(np.minimum(raw * trust, SURE), rel=1e-6)
