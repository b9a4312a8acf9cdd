"""Taking tokens back from a recurrent memory: what llama.cpp would do wrongly is never asked for.

tests/runtime/test_architectures.py generates answers with it.
"""

import llama_cpp
import numpy as np
import pytest

from aded_edge import EvaluationError
from aded_edge.llamacpp import recurrent
from aded_edge.llamacpp.recurrent import SNAPSHOTS, TAIL, RecurrentTarget
from tests.architectures import ARCHITECTURES
from tests.trials import OTHER, PROMPT, Trial, adversarial, calls, logits, perfect, take

ROLLING = [kind for kind, about in ARCHITECTURES.items() if about.rolls_back]
NONE = np.empty(0, np.int32)


def ints(*values):
    return np.asarray(values, np.int32)


def chain(n):
    return np.arange(-1, n - 1, dtype=np.int32)


@pytest.fixture(scope="module", params=ROLLING)
def trial(request, architecture_path):
    trial = Trial(architecture_path(request.param))
    yield trial
    trial.close()


@pytest.fixture
def llama(trial):
    trial.ours.reset()
    return trial.ours


@pytest.fixture
def target(llama):
    llama.eval(PROMPT)
    assert isinstance(llama._target, RecurrentTarget)
    return llama._target


def held(target):
    return llama_cpp.llama_memory_seq_pos_max(target._memory, 0) + 1


def fresh(trial, text):
    """Logits of plain decoding behind a text."""
    trial.plain.reset()
    trial.plain.eval(list(text))
    return logits(trial.plain)


def same(row, other):
    return np.abs(row - other).max() < 1e-3


def step(target, root, tokens, accepted):
    """Evaluate a chain, accept its root and some nodes, drop the rest."""
    rows = target.evaluate(root, ints(*tokens), chain(len(tokens))).copy()
    for row in range(accepted + 1):
        target.advance(row)
    target.settle()
    return rows[accepted]


DRAFT = [60, 61, 62, 63, 64, 65, 66]


@pytest.mark.parametrize("accepted", range(len(DRAFT) + 1))
def test_a_draft_is_taken_back_to_any_of_its_tokens(trial, target, accepted):
    row = step(target, 50, DRAFT, accepted)
    text = [*PROMPT, 50, *DRAFT[:accepted]]
    assert held(target) == len(text)
    assert same(row, fresh(trial, text))
    assert same(step(target, 70, [], 0), fresh(trial, [*text, 70]))


def test_llama_cpp_takes_back_more_than_its_last_batch_and_is_wrong(trial, target):
    """The trap itself. If this fails, llama.cpp has mended it, and `_reach` may be relaxed."""
    step(target, 50, DRAFT, len(DRAFT))
    step(target, 70, [71], 1)
    length = len(PROMPT) + 3
    assert llama_cpp.llama_memory_seq_rm(target._memory, 0, length, -1)
    target._llama.n_tokens = length
    row = target.evaluate(80, NONE, NONE)[0].copy()
    assert not same(row, fresh(trial, [*PROMPT, 50, *DRAFT[:2], 80]))
    target.truncate(0)


def test_a_removal_deeper_than_the_last_batch_is_not_asked_for(trial, target):
    step(target, 50, DRAFT, len(DRAFT))
    step(target, 70, [71], 1)
    length = len(PROMPT) + 3
    with calls() as seen:
        assert not target.truncate(length)
    assert seen.removals == []
    target.rewind(length)
    assert same(step(target, 80, [], 0), fresh(trial, [*PROMPT, 50, *DRAFT[:2], 80]))


def test_two_removals_of_one_batch(trial, target):
    step(target, 50, DRAFT, 5)
    length = len(PROMPT) + 3
    with calls() as seen:
        assert not target.truncate(length)
        assert target.truncate(held(target))
    assert seen.removals == []
    target.rewind(length)
    assert same(step(target, 80, DRAFT, 2), fresh(trial, [*PROMPT, 50, 60, 61, 80, 60, 61]))


def test_all_rows_of_a_batch_cannot_be_taken_back(trial, target):
    """As after Ctrl-C in an evaluation, when not even its root is in the history yet."""
    target.evaluate(50, ints(*DRAFT), chain(len(DRAFT)))
    with calls() as seen:
        target.settle()
    assert seen.removals == []
    assert len(target.history) == len(PROMPT)
    assert same(step(target, 80, [], 0), fresh(trial, [*PROMPT, 80]))


def test_a_refused_removal_is_made_good_by_evaluating_again(trial, target, monkeypatch):
    monkeypatch.setattr(llama_cpp, "llama_memory_seq_rm", lambda *_: False)
    target.evaluate(50, ints(*DRAFT), chain(len(DRAFT)))
    target.advance(0)
    target.settle()
    monkeypatch.undo()
    assert same(step(target, 80, [], 0), fresh(trial, [*PROMPT, 50, 80]))


@pytest.mark.parametrize("code", [1, 2, -3])
def test_after_a_failed_batch_the_state_is_made_anew(trial, target, monkeypatch, code):
    real = llama_cpp.llama_decode

    def fail(*arguments):
        real(*arguments)
        return code

    monkeypatch.setattr(llama_cpp, "llama_decode", fail)
    with pytest.raises(EvaluationError, match=f"returned {code}"):
        target.submit(50, ints(*DRAFT), chain(len(DRAFT)))
    with pytest.raises(EvaluationError, match=f"returned {code} while"):
        target.submit(50, NONE, NONE)
    monkeypatch.undo()
    assert same(step(target, 80, [], 0), fresh(trial, [*PROMPT, 80]))


def test_a_restored_state_has_no_copies(trial, llama, target):
    target.mark()
    step(target, 50, DRAFT, len(DRAFT))
    state = llama.save_state()
    for restore in (lambda: target._restore(len(PROMPT)), lambda: llama.load_state(state)):
        restore()
        with calls() as seen:
            assert not target.truncate(held(target) - 2)
        assert seen.removals == []
    text = [*PROMPT, 50, *DRAFT]
    target.rewind(len(text) - 2)
    assert same(step(target, 80, [], 0), fresh(trial, [*text[:-2], 80]))


def test_a_state_saved_with_a_removal_pending_is_that_of_the_history(trial, llama, target):
    step(target, 50, DRAFT, 2)
    state = llama.save_state()
    llama.reset()
    llama.load_state(state)
    text = [*PROMPT, 50, *DRAFT[:2]]
    assert same(step(target, 80, [], 0), fresh(trial, [*text, 80]))


@pytest.mark.parametrize("kind", [*ROLLING, "mamba", "granitehybrid"])
def test_nothing_is_printed_while_tokens_are_evaluated_one_by_one(architecture_path, capfd, kind):
    trial = Trial(architecture_path(kind), verbose=True)
    trial.answer(n=1)
    capfd.readouterr()
    llama = trial.force(adversarial, answer=[])
    for token in PROMPT:
        llama.eval([token])
    llama.n_tokens -= 2
    if trial.drafts:
        llama.eval(PROMPT[-2:])
    take(llama, PROMPT, 30)
    take(llama, OTHER, 3)
    printed = capfd.readouterr().err
    trial.close()
    noise = ("Llama.generate", "llama_perf", "~llama", "CPU compute", "ggml")
    lines = [line for line in printed.splitlines() if line and not line.startswith(noise)]
    assert lines == []


def test_drafts_are_taken_back_without_a_copy_on_the_host(trial):
    llama = trial.force(adversarial)
    llama.reset()
    stream = llama.generate(PROMPT, temp=0.0)
    next(stream)
    with calls() as seen:
        taken = [next(stream) for _ in range(200)]
    stream.close()
    assert taken == trial.answer()[1:201]
    stats = llama.stats
    assert 0 < stats.accepted < stats.drafted
    assert seen.copies == 0
    assert len(seen.removals) > 10
    assert all(done for _, done in seen.removals)
    assert len(seen.rows) == stats.steps, "nothing was evaluated again"


def test_an_ngram_draft_is_accepted_and_taken_back(trial):
    """The drafter's own drafts, from what it learned of another answer."""
    llama = trial.load()
    llama._loop.budget.worth = 0.0
    answer = trial.answer()
    assert take(llama, PROMPT, 200) == answer[:200]
    with calls() as seen:
        assert take(llama, PROMPT, 200) == answer[:200]
    assert llama.stats.accepted > 50
    removed = [begin for begin, _ in seen.removals if begin > len(PROMPT)]
    assert removed, "some drafts were wrong"
    assert all(done for _, done in seen.removals)
    llama.close()


def test_the_copies_fit_into_the_memory_they_may_have(trial, architecture_path, monkeypatch):
    def snapshots(**changes):
        llama = trial.load(**changes)
        found = llama_cpp.llama_n_rs_seq(llama.ctx)
        if found:
            assert llama._target.max_nodes == found
        llama.close()
        return found

    assert snapshots() == SNAPSHOTS[0]
    assert snapshots(n_ubatch=9, n_batch=64) == 7
    assert snapshots(n_ubatch=8, n_batch=64) == 3
    assert snapshots(n_ubatch=4, n_batch=64) == 0
    monkeypatch.setattr(recurrent, "SNAPSHOT_BYTES", 0)
    monkeypatch.setattr(recurrent, "SNAPSHOT_SHARE", 1 << 40)
    assert snapshots() == SNAPSHOTS[-1]


def test_the_oldest_checkpoint_and_the_latest_ones_are_kept(llama, target):
    llama.reset()
    for place in range(10, 60, 5):
        llama.eval(PROMPT[llama.n_tokens : place])
        target.mark()
    assert target._checkpoints.places == [10, 35, 40, 45, 50, 55]
    assert target.cut_back(43) == 40
    assert target._checkpoints.places == [10, 35, 40]
    assert target.cut_back(9) == 0


def test_checkpoints_of_another_history_are_not_used(trial, llama):
    state = {}
    for name, text in {"first": PROMPT, "second": OTHER * 3}.items():
        llama.reset()
        take(llama, text, 2)
        state[name] = llama.save_state()
    for renew in (llama.reset, lambda: llama.load_state(state["first"])):
        llama.load_state(state["second"])
        take(llama, [*OTHER * 3, 70, 71, 72], 2)
        assert llama._target._checkpoints.places
        renew()
        assert llama._target._checkpoints.places == []
    assert take(llama, PROMPT[:-1], 1) == [int(fresh(trial, PROMPT[:-1]).argmax())]


def test_a_prompt_longer_than_a_batch_is_read_and_read_again(trial):
    llama = trial.load(n_batch=32, n_ubatch=32)
    text = [*PROMPT, *trial.answer(n=200)]
    following = [int(fresh(trial, text).argmax())]
    with calls() as seen:
        assert take(llama, text, 1) == following
    assert sum(seen.rows) == len(text)
    llama.n_tokens -= TAIL + 5  # before the checkpoint: all of it is evaluated again
    with calls() as seen:
        llama.eval([70])
    assert seen.rows == [*[32] * 7, 22, 1]
    assert same(logits(llama), fresh(trial, [*text[: -TAIL - 5], 70]))
    llama.close()


def test_a_perfect_draft_needs_no_removal(trial):
    llama = trial.force(perfect)
    llama.reset()
    with calls() as seen:
        take(llama, PROMPT, 17)
    assert [begin for begin, _ in seen.removals if begin > len(PROMPT)] == []
