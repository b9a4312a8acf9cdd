"""The sequences of a tree's leaves: kept from tree to tree, right after anything in between."""

import llama_cpp
import numpy as np
import pytest

from aded_edge import EvaluationError, Llama
from aded_edge.llamacpp import target as target_module
from aded_edge.llamacpp.target import MAX_LEAVES, LlamaTarget

NONE = np.empty(0, np.int32)
TOKENS = np.asarray([80, 81, 82, 83, 84, 85], np.int32)
PARENTS = np.asarray([-1, -1, -1, 0, 0, 1], np.int32)
LEAVES = 4
"""root -> 80 -> 83, 84;  root -> 81 -> 85;  root -> 82."""

CLOSE = 1e-3
"""Batches of other shapes round differently; another history changes logits by whole units."""


@pytest.fixture(scope="module")
def llama(tiny_settings):
    settings = {**tiny_settings, "n_ctx": 1024, "drafting": "paper", "store": None}
    with Llama(**settings) as llama:
        yield llama


@pytest.fixture(scope="module")
def fresh(tiny_settings):
    """A model that evaluates every history anew."""
    llama = llama_cpp.Llama(**tiny_settings)
    yield llama
    llama.close()


@pytest.fixture
def target(llama):
    llama.reset()
    return llama._target


def logits_after(fresh, tokens):
    fresh.reset()
    fresh.eval(list(map(int, tokens)))
    return np.ctypeslib.as_array(fresh._ctx.get_logits_ith(-1), (fresh.n_vocab(),)).copy()


def step(target, accepted=(0,)):
    """Evaluate the tree after root 79, and accept rows of it."""
    rows = target.evaluate(79, TOKENS, PARENTS).copy()
    for row in accepted:
        target.advance(row)
    target.settle()
    return rows


def assert_every_node_sees_its_path(target, fresh):
    before = target.history.tolist()
    rows = step(target)
    for row, path in enumerate([[], [80], [81], [82], [80, 83], [80, 84], [81, 85]]):
        expected = logits_after(fresh, [*before, 79, *path])
        assert np.abs(rows[row] - expected).max() < CLOSE


class Counting:
    """Counts llama.cpp's operations on sequences, and the cells that they add or remove."""

    def __init__(self, monkeypatch):
        self.calls = self.cells = 0
        for name in ("seq_rm", "seq_cp", "seq_keep"):
            full = f"llama_memory_{name}"
            monkeypatch.setattr(target_module.llama_cpp, full, self._counting(name))

    def _counting(self, name):
        real = getattr(llama_cpp, f"llama_memory_{name}")

        def call(memory, *arguments):
            self.calls += 1
            self.cells += getattr(self, name)(memory, *arguments)
            return real(memory, *arguments)

        return call

    @staticmethod
    def seq_cp(memory, source, _, start, stop):
        last = llama_cpp.llama_memory_seq_pos_max(memory, source)
        return (min(stop, last + 1) if stop >= 0 else last + 1) - max(start, 0)

    @staticmethod
    def seq_rm(memory, sequence, start, _):
        of = range(MAX_LEAVES) if sequence < 0 else [sequence]
        lasts = [llama_cpp.llama_memory_seq_pos_max(memory, s) for s in of]
        return sum(max(last + 1 - start, 0) for last in lasts)

    @staticmethod
    def seq_keep(memory, _):
        lasts = [llama_cpp.llama_memory_seq_pos_max(memory, s) for s in range(MAX_LEAVES)]
        return sum(last + 1 for last in lasts)


@pytest.mark.parametrize("accepted", [(0,), (0, 1), (0, 2, 6), ()])
def test_what_a_tree_costs_does_not_grow_with_the_history(target, monkeypatch, accepted):
    """Neither in calls nor in cells, from the second tree on."""
    counts = []
    for length in (20, 800):
        target._llama.reset()
        target._llama.eval(list(range(70, 70 + 50)) * (length // 50) or [70] * length)
        step(target, accepted)
        with monkeypatch.context() as patch:
            counting = Counting(patch)
            for _ in range(3):
                step(target, accepted)
                target.evaluate(79, NONE, NONE)  # and a plain step
                target.advance(0)
                target.settle()
        counts.append((counting.calls, counting.cells))
    assert counts[0] == counts[1]
    # A leaf gets each new cell once, and its own nodes are removed once.
    assert counts[0][1] <= 3 * LEAVES * (len(accepted) + 1 + len(TOKENS))


def test_a_plain_step_and_a_chain_touch_no_leaf(target, monkeypatch):
    target._llama.eval([70, 71, 72])
    step(target)
    counting = Counting(monkeypatch)
    target.evaluate(79, NONE, NONE)
    target.advance(0)
    target.settle()
    assert counting.calls == 0
    target.evaluate(79, TOKENS, np.arange(-1, 5, dtype=np.int32))
    target.advance(0)
    target.settle()
    assert counting.calls == 1  # the rejected nodes


def rewind(target, llama):
    target.rewind(4)


def lower(target, llama):
    llama.n_tokens = 3


def evaluate(target, llama):
    llama.n_tokens = 2
    llama.eval([90, 91, 92, 93, 94, 95, 96])


def reset(target, llama):
    llama.reset()
    llama.eval([99, 98])


def generate(target, llama):
    stream = llama.generate([70, 71, 100, 101], temp=0.0)
    for _ in range(5):
        next(stream)
    stream.close()


def restore(target, llama):
    state = llama.save_state()
    llama.reset()
    llama.eval([100, 101, 102, 103, 104, 105, 106, 107, 108])
    step(target)
    llama.load_state(state)


def refused(target, llama):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_module.llama_cpp, "llama_decode", lambda *_: 1)
        with pytest.raises(EvaluationError, match="returned 1"):
            step(target)


def never_collected(target, llama):
    target.submit(79, TOKENS, PARENTS)
    target.settle()


def another_target(target, llama):
    other = LlamaTarget(llama)
    llama.reset()
    llama.eval([101, 102, 103])
    step(other)


BETWEEN = [
    rewind, lower, evaluate, reset, generate, restore, refused, never_collected, another_target
]  # fmt: skip


@pytest.mark.parametrize("between", BETWEEN)
def test_whatever_comes_between_two_trees_every_node_sees_its_path(llama, target, fresh, between):
    llama.eval([70, 71, 72, 73, 74])
    step(target, (0, 2, 6))
    between(target, llama)
    assert_every_node_sees_its_path(target, fresh)
    step(target, (0, 1, 5))
    assert_every_node_sees_its_path(target, fresh)


def test_a_state_from_a_context_for_trees_fits_into_one_for_chains(target, tiny_settings):
    target._llama.eval([70, 71, 72])
    step(target, (0, 2, 6))
    history = target.history.tolist()
    state = target._llama.save_state()
    settings = {**tiny_settings, "n_ctx": 1024, "drafting": "off", "store": None}
    with Llama(**settings) as plain:
        plain.load_state(state)
        assert plain.input_ids[: plain.n_tokens].tolist() == history
    step(target)


def test_where_a_window_reuses_cells_no_leaf_keeps_the_history(target, fresh, monkeypatch):
    """A cell that two sequences have would never be free again."""
    monkeypatch.setattr(target, "_window", True)
    target._llama.eval([70, 71, 72])
    for accepted in ((0, 2, 6), (0,), (0, 1, 5)):
        step(target, accepted)
        for leaf in range(1, MAX_LEAVES):
            assert llama_cpp.llama_memory_seq_pos_max(target._memory, leaf) == -1
        assert_every_node_sees_its_path(target, fresh)


def test_trees_go_on_to_the_end_of_the_context(target, fresh):
    target._llama.eval([70 + n % 30 for n in range(1000)])
    while target.max_nodes >= len(TOKENS):
        step(target, (0, 1, 5))
    row = target.evaluate(79, NONE, NONE)[0]
    expected = logits_after(fresh, [*target.history, 79])
    assert np.abs(row - expected).max() < CLOSE
