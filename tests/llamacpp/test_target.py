"""Trees in llama.cpp: a node sees only its own path, and settling leaves only the history."""

import llama_cpp
import numpy as np
import pytest

from aded_edge import EvaluationError, Llama
from aded_edge.llamacpp import target as target_module
from aded_edge.llamacpp.target import MAX_LEAVES

NONE = np.empty(0, np.int32)
TEXT = b"The tides are caused by the pull of the moon and the sun on the water of the oceans."


def ints(*values):
    return np.asarray(values, np.int32)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("model_path", marks=pytest.mark.model),
        pytest.param("tiny_settings", marks=pytest.mark.gpu),
    ],
)
def llama(request):
    given = request.getfixturevalue(request.param)
    settings = given if isinstance(given, dict) else {"model_path": str(given), "verbose": False}
    changes = {"n_ctx": 256, "n_threads": 2, "n_threads_batch": 2}
    with Llama(**{**settings, **changes}, store=None, drafting="paper") as llama:
        yield llama


@pytest.fixture
def target(llama):
    llama.reset()
    llama.eval(llama.tokenize(TEXT))
    return llama._target


def last_position(target, sequence=0):
    return llama_cpp.llama_memory_seq_pos_max(target._memory, sequence)


def assert_leaves_hold_a_history(target):
    """What a leaf's sequence has is the beginning of the history, and no node."""
    for leaf in range(1, MAX_LEAVES):
        assert last_position(target, leaf) < len(target.history)


def plainly(target, path):
    """Logits behind each token of a path, evaluated one by one; the history is restored."""
    length, rows = len(target.history), []
    for token in path:
        rows.append(target.evaluate(token, NONE, NONE)[0].copy())
        target.advance(0)
    target.settle()
    target._llama.n_tokens = length
    target.truncate(length)
    return rows


# root 10 -> 20 -> 30, 31;  root -> 21 -> 32;  root -> 22
TOKENS, PARENTS = ints(20, 21, 22, 30, 31, 32), ints(-1, -1, -1, 0, 0, 1)
PATHS = [[10], [10, 20], [10, 21], [10, 22], [10, 20, 30], [10, 20, 31], [10, 21, 32]]


def test_every_node_of_a_tree_sees_its_own_path(target):
    expected = [plainly(target, path)[-1] for path in PATHS]
    rows = target.evaluate(10, TOKENS, PARENTS).copy()
    target.settle()
    for row, known in zip(rows, expected, strict=True):
        # Batches of other shapes round differently; another path changes logits by whole units.
        assert np.abs(row - known).max() < 1.5
        assert np.corrcoef(row, known)[0, 1] > 0.999
    spread = np.abs(expected[1] - expected[2]).max()
    assert spread > 3, "the paths are too alike for this test to tell them apart"


def test_a_chain_gives_the_logits_of_plain_decoding(target):
    chain = [10, 20, 30, 40, 50, 60]
    expected = plainly(target, chain)
    rows = target.evaluate(10, ints(*chain[1:]), np.arange(-1, 4, dtype=np.int32))
    differences = [float(np.abs(r - e).max()) for r, e in zip(rows, expected, strict=True)]
    target.settle()
    # Which widths give the same bits is for the proof to say (tests/runtime/test_exactness.py).
    assert max(differences) < 1.5


def test_what_was_submitted_is_collected(target):
    expected = target.evaluate(10, TOKENS, PARENTS).copy()
    target.settle()
    target.submit(10, TOKENS, PARENTS)
    assert target.ticket
    rows = target.collect()
    assert rows.shape == (len(TOKENS) + 1, target.n_vocab)
    np.testing.assert_array_equal(rows, expected)


def test_what_was_submitted_and_never_collected_leaves_nothing_behind(target):
    before, expected = target.history.tolist(), plainly(target, [10])[0]
    target.submit(10, TOKENS, PARENTS)
    target.settle()
    assert target.history.tolist() == before
    assert last_position(target) == len(before) - 1
    with pytest.raises(AssertionError, match="must follow submit"):
        target.collect()
    np.testing.assert_array_equal(target.evaluate(10, NONE, NONE)[0], expected)


@pytest.mark.parametrize("path", [[], [0], [0, 1], [0, 1, 4], [0, 1, 5], [0, 2, 6], [0, 3]])
def test_after_settling_only_the_history_is_left(target, path):
    before = target.history.tolist()
    target.evaluate(10, TOKENS, PARENTS)
    for row in path:
        target.advance(row)
    target.settle()
    walked = [([10, *TOKENS.tolist()])[row] for row in path]
    assert target.history.tolist() == [*before, *walked]
    assert last_position(target) == len(before) + len(walked) - 1
    assert_leaves_hold_a_history(target)
    after = target.evaluate(77, NONE, NONE)[0].copy()
    target.settle()
    target._llama.n_tokens = 0
    target._llama.eval([*before, *walked])
    fresh = target.evaluate(77, NONE, NONE)[0]
    assert np.abs(after - fresh).max() < 1.5
    assert np.corrcoef(after, fresh)[0, 1] > 0.999


@pytest.mark.parametrize("calls", range(1, 5))
def test_settling_can_be_interrupted_anywhere_and_run_again(target, monkeypatch, calls):
    """Ctrl-C between any two calls of llama.cpp while a tree is settled."""
    before = target.history.tolist()
    target.evaluate(10, TOKENS, PARENTS)
    for row in (0, 2, 6):
        target.advance(row)
    left = [calls]

    def interrupting(real):
        def call(*arguments):
            result = real(*arguments)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return result

        return call

    with monkeypatch.context() as patch:
        for name in ("seq_rm", "seq_cp", "seq_keep"):
            full = f"llama_memory_{name}"
            patch.setattr(target_module.llama_cpp, full, interrupting(getattr(llama_cpp, full)))
        with pytest.raises(KeyboardInterrupt):
            target.settle()
    target.settle()
    assert target.history.tolist() == [*before, 10, 21, 32]
    assert last_position(target) == len(before) + 2
    assert_leaves_hold_a_history(target)


def test_a_refused_evaluation_leaves_everything_as_it_was(target, monkeypatch):
    before = target.history.tolist()
    expected = plainly(target, [10])[0]
    with monkeypatch.context() as patch:
        patch.setattr(target_module.llama_cpp, "llama_decode", lambda *_: 1)
        with pytest.raises(EvaluationError, match="returned 1 for 7 tokens: the context is full"):
            target.evaluate(10, TOKENS, PARENTS)
    assert target.history.tolist() == before
    assert last_position(target) == len(before) - 1
    np.testing.assert_array_equal(target.evaluate(10, NONE, NONE)[0], expected)


def test_a_full_context_is_refused_before_llama_cpp_sees_it(target):
    while target.max_nodes:
        rows = min(target.max_nodes, 60)
        target.evaluate(10, np.full(rows, 20, np.int32), np.arange(-1, rows - 1, dtype=np.int32))
        for row in range(rows + 1):
            target.advance(row)
        target.settle()
    if len(target.history) < target._llama.n_ctx():
        target.evaluate(10, NONE, NONE)
        target.advance(0)
    with pytest.raises(EvaluationError, match="context of 256 tokens is full"):
        target.evaluate(10, NONE, NONE)
    assert len(target.history) == 256


def test_the_widest_tree_fits_and_is_settled(target):
    """64 nodes, all of them leaves: the paper's widest tree."""
    before = len(target.history)
    tokens = np.arange(100, 164, dtype=np.int32)
    rows = target.evaluate(10, tokens, np.full(64, -1, np.int32))
    assert rows.shape == (65, target.n_vocab)
    target.advance(0)
    target.advance(64)
    target.settle()
    assert target.history[before:].tolist() == [10, 163]
    assert last_position(target) == before + 1
