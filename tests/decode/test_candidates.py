"""The likeliest tokens of a row of logits, against a sort of all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.decode.candidates import CANDIDATES, top_candidates
from tests import naive

# Around the sizes at which the kernel changes its way through a row, and far beyond.
sizes = st.integers(1, 200) | st.sampled_from([255, 256, 257, 4095, 4096, 4097, 5000])


@st.composite
def logits(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.integers(1, 3)), draw(sizes)
    spread = draw(st.sampled_from([0.1, 2.0, 10.0, 40.0]))
    rows = (spread * rng.standard_normal(shape)).astype(np.float32)
    if draw(st.booleans()):
        rows = rows.round()  # many equal ones
    return rows + np.float32(draw(st.sampled_from([0.0, 300.0, -300.0])))


@given(logits(), st.integers(1, 12))
def test_the_top_is_the_beginning_of_all_tokens_in_order(logits, k):
    """Equal logits stand in order of token id; probabilities are those of a softmax."""
    tokens, probs = top_candidates(logits, k)
    assert tokens.dtype == np.int32
    assert probs.dtype == np.float32
    for row, its_tokens, its_probs in zip(logits, tokens, probs, strict=True):
        order, least, most = naive.top_candidates(row, k)
        assert its_tokens.tolist() == order.tolist()
        assert np.all(its_probs >= least * (1 - 1e-4) - 1e-30)
        assert np.all(its_probs <= most * (1 + 1e-4) + 1e-30)


@pytest.mark.parametrize("place", [0, 63, 64, 127, 4095, 4096, 5000, 9999])
def test_the_best_is_found_wherever_it_stands(place):
    row = np.zeros((1, 10_000), np.float32)
    row[0, place] = 30.0
    tokens, probs = top_candidates(row)
    others = [token for token in range(CANDIDATES) if token != place][: CANDIDATES - 1]
    assert tokens[0].tolist() == [place, *others]
    assert probs[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("rising", [True, False])
def test_sorted_logits_are_no_special_case(rising):
    """The worst orders: every token is the best so far, or none behind the first."""
    row = np.linspace(-20, 20, 9000, dtype=np.float32)[:: 1 if rising else -1]
    tokens, probs = top_candidates(np.ascontiguousarray(row[np.newaxis]))
    order, least, most = naive.top_candidates(row, CANDIDATES)
    assert tokens[0].tolist() == order.tolist()
    assert np.all((least * 0.9999 <= probs[0]) & (probs[0] <= most * 1.0001))


def test_what_is_negligible_beside_the_best_still_has_its_place_in_order():
    row = np.asarray([[-50.0, 0.0, -20.0, -40.0]], np.float32)
    tokens, probs = top_candidates(row, 4)
    assert tokens.tolist() == [[1, 2, 3, 0]]
    assert probs[0, 0] == 1.0
    assert probs[0, 1] == pytest.approx(np.exp(-20.0), rel=1e-4)


def test_a_masked_token_has_no_probability():
    row = np.full((1, 300), -np.inf, np.float32)
    row[0, [7, 250]] = 1.0, 2.0
    tokens, probs = top_candidates(row, 3)
    assert tokens[0, :2].tolist() == [250, 7]
    assert probs[0, :2].sum() == pytest.approx(1.0)
    assert probs[0, 2] == 0.0


def test_there_are_no_more_candidates_than_tokens():
    tokens, probs = top_candidates(np.zeros((2, 3), np.float32))
    assert tokens.tolist() == [[0, 1, 2]] * 2
    assert probs == pytest.approx(np.full((2, 3), 1 / 3))


def test_no_rows_no_candidates():
    tokens, probs = top_candidates(np.empty((0, 50), np.float32))
    assert tokens.shape == probs.shape == (0, CANDIDATES)
