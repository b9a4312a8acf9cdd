"""Calibration cells against a dict of sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.draft.calibration import (
    ACCEPTED,
    CELLS,
    EXPECTED,
    LENGTH_KINDS,
    MOST_EXPECTED,
    MOST_KEPT,
    PRIOR_TRUST,
    TRUST,
    Calibration,
    cell_of,
    record,
)
from tests import naive

estimates = st.floats(0.0, 1.0, width=32)
edges = st.sampled_from([*naive.ESTIMATE_EDGES, *naive.EVIDENCE_EDGES])
outcomes = st.tuples(st.integers(-1, CELLS - 1), estimates, st.booleans())


def recorded(outcomes):
    calibration = Calibration()
    for outcome in outcomes:
        record(calibration.counts, *outcome)
    return calibration


@given(st.integers(0, LENGTH_KINDS - 1), st.floats(0, 64) | edges, estimates | edges)
def test_each_kind_of_evidence_has_its_cell(length_kind, evidence, estimate):
    cell = cell_of(length_kind, evidence, estimate)
    assert cell == naive.cell(length_kind, evidence, estimate)
    assert 0 <= cell < CELLS


def test_every_cell_is_some_evidence():
    middles = (0.0, 2.0, 8.0, 20.0)
    cells = {cell_of(k, e, p) for k in range(LENGTH_KINDS) for e in middles for p in naive.MIDDLES}
    assert cells == set(range(CELLS))


@given(st.lists(outcomes, max_size=60))
def test_trust_is_what_was_accepted_of_what_was_expected(outcomes):
    calibration, reference = recorded(outcomes), naive.Calibration()
    for outcome in outcomes:
        reference.record(*outcome)
    for cell in range(CELLS):
        expected, accepted = reference.cells.get(cell, (0.0, 0.0))
        counts = calibration.counts[:, cell]
        assert counts[EXPECTED] == pytest.approx(expected, rel=1e-5)
        assert counts[ACCEPTED] == accepted
        assert counts[TRUST] == pytest.approx(reference.trust(cell), rel=1e-5)


def test_an_unseen_cell_is_pessimistic_and_earns_its_trust():
    calibration = Calibration()
    cell = cell_of(2, 1.0, 0.9)
    trusts = [float(calibration.counts[TRUST, cell])]
    for _ in range(50):
        record(calibration.counts, cell, 0.9, True)
        trusts.append(float(calibration.counts[TRUST, cell]))
    assert trusts[0] == pytest.approx(PRIOR_TRUST)
    assert trusts == sorted(trusts)
    assert trusts[-1] > 1.0


def test_a_cell_follows_the_target_when_it_changes():
    calibration, reference = Calibration(), naive.Calibration()
    for n in range(3000):
        record(calibration.counts, 7, 0.75, n < 2500)
        reference.record(7, 0.75, n < 2500)
    assert calibration.counts[EXPECTED, 7] <= MOST_EXPECTED + 1
    assert calibration.counts[TRUST, 7] == pytest.approx(reference.trust(7), rel=1e-4)
    assert calibration.counts[TRUST, 7] < 0.5, "for good, 2500 hits of 3000 would stand above 1"


def test_a_node_without_a_cell_teaches_nothing():
    calibration = recorded([(-1, 0.5, True)])
    assert np.array_equal(calibration.counts, Calibration().counts)


@given(st.lists(outcomes, max_size=40), st.lists(outcomes, max_size=40))
def test_absorbing_what_is_new_is_having_seen_it(first, second):
    whole, again = recorded(first + second), recorded(first)
    again.absorb(*recorded(second).take_new())
    assert again.counts[: TRUST + 1] == pytest.approx(whole.counts[: TRUST + 1], rel=1e-4)


def test_what_is_absorbed_weighs_no_more_than_one_cell_may():
    calibration = recorded([(3, 0.5, True)])
    many = np.full(CELLS, 10 * MOST_EXPECTED, np.float32)
    calibration.absorb(many, many / 2)
    assert calibration.counts[EXPECTED] == pytest.approx(MOST_EXPECTED)
    assert calibration.counts[ACCEPTED] == pytest.approx(MOST_EXPECTED / 2, rel=1e-2)
    assert calibration.counts[TRUST] == pytest.approx(0.5, abs=0.02)


def test_what_is_new_is_taken_once():
    calibration = recorded([(3, 0.5, True)])
    trust = calibration.counts[TRUST].copy()
    expected, accepted = calibration.take_new()
    assert (expected[3], accepted[3], expected.sum()) == (0.5, 1.0, 0.5)
    again = calibration.take_new()
    assert not np.any(again)
    assert np.array_equal(calibration.counts[TRUST], trust), "what is taken is not forgotten"


def test_what_was_absorbed_is_not_new():
    calibration = Calibration()
    calibration.absorb(*recorded([(3, 0.5, True)]).take_new())
    assert not np.any(calibration.take_new())


@given(st.lists(outcomes, max_size=200))
def test_doubt_leaves_the_trust_of_what_was_seen_to_come_true(outcomes):
    calibration = recorded(outcomes * 20)
    before = calibration.counts.copy()
    calibration.doubt()
    now = calibration.counts
    likely = before[TRUST] >= 0.2  # below that the prior alone gives a little more
    most = 1.0 / np.resize(np.asarray(naive.MIDDLES), CELLS)  # more cannot come true
    np.testing.assert_allclose(now[TRUST][likely], np.minimum(before[TRUST], most)[likely], 1e-3)
    assert (now[TRUST] <= 1.001 * np.maximum(before[TRUST], 0.2)).all()
    assert (now[EXPECTED] <= MOST_KEPT).all()
    assert (now[[EXPECTED, ACCEPTED]] >= 0.0).all()


@pytest.mark.parametrize("many", [200.0, 1e30, 3.4e38])
@pytest.mark.parametrize("estimate", [0.06, 0.5, 0.97])
def test_forged_counts_are_outweighed_by_some_outcomes(many, estimate):
    calibration = Calibration()
    for _ in range(3):
        calibration.absorb(np.full(CELLS, many, np.float32), np.full(CELLS, many, np.float32))
    calibration.absorb(np.zeros(CELLS, np.float32), np.full(CELLS, many, np.float32))
    calibration.doubt()
    assert np.isfinite(calibration.counts).all()
    cell = cell_of(5, 9.0, estimate)
    for _ in range(4 * int(MOST_KEPT)):
        record(calibration.counts, cell, estimate, False)
    assert estimate * calibration.counts[TRUST, cell] < 0.3
