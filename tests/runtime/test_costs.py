"""The cost curve: measured once, kept, and found again under the same conditions."""

import json

import pytest

from aded_edge.decode.cost_curve import CostCurve
from aded_edge.llamacpp.target import LlamaTarget
from aded_edge.runtime import costs
from aded_edge.runtime.costs import chain_evaluation
from aded_edge.store import Store

CURVE = dict.fromkeys((1, 2, 4, 8), 1.0)


@pytest.fixture
def measured(monkeypatch):
    """The widest widths that were asked for, one for each measurement; all widths cost 1 s."""
    measured = []

    def measure(evaluate, most, seconds):
        measured.append(most)
        assert evaluate(most) > 0
        return CostCurve(CURVE)

    monkeypatch.setattr(costs, "measure_first", measure)
    return measured


def test_a_small_context_does_not_narrow_the_drafts_of_a_large_one(load_tiny, tmp_path):
    """The small one can measure only narrow widths, so its curve is not used for the large one."""
    store = tmp_path / "store.db"
    load_tiny(store=store, n_ctx=4).close()
    assert max(load_tiny(store=store, n_ctx=512).costs) >= 8


def test_costs_are_measured_once_for_each_setting(load_tiny, tmp_path, measured):
    store = tmp_path / "store.db"
    for settings in ({}, {}, {"n_threads": 2}, {}, {"n_threads": 2}):
        with load_tiny(store=store, **settings) as llama:
            assert llama.costs == CURVE
            assert llama.n_tokens == 0
    assert measured == [65, 65]


def test_without_a_store_costs_are_measured_every_time(load_tiny, measured):
    for _ in range(2):
        load_tiny(store=None)
    assert len(measured) == 2


@pytest.mark.parametrize(("steps", "kept"), [(100, True), (50, False)])
def test_what_steps_showed_is_kept_once_there_were_enough(
    load_tiny, tmp_path, measured, monkeypatch, steps, kept
):
    monkeypatch.setattr(costs, "KEEP_AFTER", 100)
    store = tmp_path / "store.db"
    with load_tiny(store=store) as llama:
        for _ in range(steps):
            llama._loop.budget.curve.observe(1, 4.0)
    assert (load_tiny(store=store).costs[1] > 1.0) == kept


def test_a_chain_is_timed_behind_a_history_that_stays(load_tiny):
    llama = load_tiny(n_ctx=64)
    evaluate = chain_evaluation(llama, LlamaTarget(llama))
    assert all(evaluate(width) > 0 for width in (1, 8, 40))
    assert llama.n_tokens == 16


def test_a_disturbed_measurement_is_used_and_not_kept(load_tiny, tmp_path, monkeypatch):
    seen = []

    def disturbed(evaluate, most, seconds):
        seen.append(most)
        return CostCurve(CURVE, most, disturbed=True)

    monkeypatch.setattr(costs, "measure_first", disturbed)
    store = tmp_path / "store.db"
    for _ in range(2):
        with load_tiny(store=store) as llama:
            assert llama._loop.budget.curve.ratio(8) == 1.0
    assert len(seen) == 2


@pytest.mark.parametrize(
    "forged",
    [
        {1: 1.0, 2: 1e300, 64: 1e-300},
        {1: 1e-300, 2: 1.0, 4: 1e300},
        {1: 1e300, 2: 1.0, 10**6: 1.0},
        dict.fromkeys((1, 2, 4, 8, 16, 32, 64), 1.0),
    ],
)
def test_kept_costs_that_no_machine_shows_are_bounded(load_tiny, tmp_path, forged, monkeypatch):
    store = tmp_path / "store.db"
    with monkeypatch.context() as patch:
        patch.setattr(costs, "measure_first", lambda *_: CostCurve(CURVE))
        load_tiny(store=store).close()
    with Store.open(store) as kept, kept._file.writing() as conn:
        conn.execute("UPDATE cost_curves SET curve = ?", (json.dumps(forged),))
    with load_tiny(store=store) as llama:
        curve = llama._loop.budget.curve
        widths = curve.widths.tolist()
        for width in sorted(forged.keys() & set(widths)):
            assert 1.0 <= curve.ratio(width) <= 2 * width
        llama.create_completion([1, 70, 80], max_tokens=80)
        assert 0 < curve.scale < 1.0
