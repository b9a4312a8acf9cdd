"""The cost curve: measured once, kept, and found again under the same conditions."""

import json

import pytest

from aded_edge.decode import measuring
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.measuring import leaves_of
from aded_edge.llamacpp.target import LlamaTarget
from aded_edge.runtime import building, costs
from aded_edge.runtime.costs import candidates_pay, chain_evaluation
from aded_edge.store import Store
from tests.runtime.helpers import ASKED, OTHER, assert_in_agreement, take

STEEP = {width: 1 + 0.5 * (width - 1) for width in (1, 2, 4, 8, 16)}
FLAT = {width: 1 + 0.01 * (width - 1) for width in (1, 2, 4, 8, 16)}
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


def test_a_small_context_does_not_narrow_the_drafts_of_a_large_one(
    load_tiny, tmp_path, monkeypatch
):
    """The small one can measure only narrow widths, so its curve is not used for the large one."""
    monkeypatch.setattr(costs, "MEASURE_SECONDS", 60.0)  # however busy this machine is
    monkeypatch.setattr(measuring, "DISAGREE", float("inf"))
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
    dear = {1: 1.0, 4: 1.0}, {1: 9.0, 4: 9.0}
    monkeypatch.setattr(costs, "measure_changes", lambda *_: dear)
    store = tmp_path / "store.db"
    for _ in range(2):
        with load_tiny(store=store) as llama:
            assert llama._loop.budget.curve.ratio(8) == 1.0
            assert llama._loop.budget.curve.switch == 0.0
            assert llama.context_params.n_seq_max == 1  # rows seem cheap, but nobody knows
    assert len(seen) == 2


# --- what is decided by costs ---------------------------------------------------------------------


@pytest.fixture
def costing(monkeypatch):
    """Sets the costs that are measured, in milliseconds."""

    def costing(milliseconds):
        seconds = {width: cost / 1e3 for width, cost in milliseconds.items()}
        monkeypatch.setattr(costs, "measure_first", lambda *_: CostCurve(seconds))

    return costing


@pytest.mark.parametrize("gpu_layers", [0, 1, -1])
@pytest.mark.parametrize(("curve", "leaves"), [(STEEP, 1), (FLAT, 16)])
def test_trees_are_drafted_where_rows_are_cheap_whatever_is_offloaded(
    load_tiny, costing, gpu_layers, curve, leaves
):
    """A number of layers, or a build for GPUs, says nothing: it may have found no device."""
    costing(curve)
    llama = load_tiny(n_gpu_layers=gpu_layers)
    assert llama.context_params.n_seq_max == leaves
    assert llama._loop.drafter.max_leaves == leaves


def test_trees_that_pay_change_no_token(load_tiny, costing, tiny_truth, monkeypatch):
    """Chains and trees in turn, behind prompts that share a prefix with the history."""
    costing(FLAT)
    monkeypatch.setattr(costs, "measure_trees", lambda *_: ({1: 1.0, 8: 1.1}, {1: 1.0, 8: 1.1}))
    llama = load_tiny()
    llama._loop.budget.observe = lambda *_: None
    leaves, real = [], llama._target.submit

    def submit(root, tokens, parents):
        leaves.append(leaves_of(parents))
        real(root, tokens, parents)

    monkeypatch.setattr(llama._target, "submit", submit)
    for prompt in (ASKED, OTHER, [*ASKED, *OTHER], OTHER, [*ASKED, *OTHER]):
        assert take(llama, prompt, 60) == tiny_truth(prompt, 60)
        assert_in_agreement(llama)
    assert 1 in leaves
    assert max(leaves) > 1


def test_what_a_leaf_costs_is_measured_in_this_context(load_tiny, costing, tmp_path, monkeypatch):
    """And kept for contexts of this size: llama.cpp walks through all cells."""
    costing(FLAT)
    asked = []

    def measure_trees(evaluate, most, leaves, seconds):
        asked.append((most, leaves))
        return {1: 1.0, 16: 2.0}, {1: 1.0, 16: 2.7}

    monkeypatch.setattr(costs, "measure_trees", measure_trees)
    store = tmp_path / "store.db"
    for n_ctx in (256, 256, 512, 256, 512):
        with load_tiny(store=store, n_ctx=n_ctx) as llama:
            assert llama._loop.budget.curve.leaf == pytest.approx(0.1)
            assert llama._loop.drafter.least_branch == pytest.approx(0.112)
    assert asked == [(65, 16), (65, 16)]


def test_without_time_for_trees_chains_are_drafted(load_tiny, costing, monkeypatch):
    costing(FLAT)
    monkeypatch.setattr(costs, "measure_trees", lambda *_: None)
    assert load_tiny()._loop.drafter.max_leaves == 1


def test_what_a_change_of_the_width_costs_is_measured_once(
    load_tiny, costing, tmp_path, monkeypatch
):
    costing(STEEP)
    asked = []

    def measure_changes(evaluate, most, seconds):
        asked.append(most)
        return {1: 1.0, 4: 2.0}, {1: 1.25, 4: 2.25}

    monkeypatch.setattr(costs, "measure_changes", measure_changes)
    store = tmp_path / "store.db"
    for _ in range(3):
        with load_tiny(store=store) as llama:
            assert llama._loop.budget.curve.switch == pytest.approx(0.25)
    assert asked == [65]


def test_a_store_of_an_earlier_version_is_added_to(load_tiny, tmp_path, measured):
    """It knows chains only; the curve itself is not measured again."""
    store = tmp_path / "store.db"
    with load_tiny(store=store) as llama:
        llama._persistence.wait()
    with Store.open(store) as opened, opened._file.writing() as conn:
        gone = conn.execute("DELETE FROM cost_curves WHERE key LIKE '% %'").rowcount
    assert gone >= 2
    assert load_tiny(store=store).costs == CURVE
    assert len(measured) == 1


def test_everything_is_measured_within_the_time(load_tiny, monkeypatch):
    """However slow the model is: by its own clock, chains, changes and trees together."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    real = LlamaTarget.evaluate

    def slow(self, root, tokens, parents):
        now[0] += 0.03 * (1 + 0.01 * len(tokens))
        return real(self, root, tokens, parents)

    monkeypatch.setattr(LlamaTarget, "evaluate", slow)
    monkeypatch.setattr(costs, "MEASURE_SECONDS", 2.0)
    llama = load_tiny()
    assert 1.0 < now[0] <= 2.0
    assert llama._loop.drafter.max_leaves in {1, 16}


@pytest.mark.parametrize(("seconds", "pays"), [(1e-9, False), (10.0, True)])
def test_candidates_are_learned_where_finding_them_takes_less_than_they_bring(seconds, pays):
    assert candidates_pay(CostCurve({1: seconds}), 500) == pays


def test_candidates_are_left_out_where_rows_are_dear(load_tiny, costing, monkeypatch):
    monkeypatch.setattr(building, "candidates_pay", lambda *_: True)
    costing(STEEP)
    assert load_tiny()._loop._candidates == 0
    costing(FLAT)
    assert load_tiny()._loop._candidates > 0


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
