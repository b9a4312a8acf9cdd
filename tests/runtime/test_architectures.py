"""Every architecture says what it says without drafts, whatever is drafted.

The models are tiny and random (tests/architectures.py), the drafts are made from the plain answer.
"""

import itertools

import llama_cpp
import numpy as np
import pytest

from aded_edge.llamacpp.context import is_recurrent
from tests.architectures import ARCHITECTURES
from tests.runtime.helpers import ctrl_c_at_a_token, ctrl_c_while_evaluating
from tests.trials import (
    CHAINS,
    LONG,
    OTHER,
    PROMPT,
    Trial,
    adversarial,
    bushy,
    calls,
    logits,
    perfect,
    take,
)

ROLLING = [kind for kind, about in ARCHITECTURES.items() if about.rolls_back]
DRAFTED = [kind for kind, about in ARCHITECTURES.items() if about.rolls_back is not False]
PLAIN = [kind for kind in ARCHITECTURES if kind not in DRAFTED]


@pytest.fixture(scope="module")
def trials(architecture_path):
    """kind -> its Trial; one at a time is open."""
    opened = {}

    def trial(kind):
        if kind not in opened:
            for other in opened.values():
                other.close()
            opened.clear()
            opened[kind] = Trial(architecture_path(kind))
        opened[kind].ours.reset()
        return opened[kind]

    yield trial
    for each in opened.values():
        each.close()


@pytest.fixture
def trial(request, trials):
    return trials(request.param)


def every(kinds):
    return pytest.mark.parametrize("trial", kinds, indirect=True)


@every(ARCHITECTURES)
def test_greedy_answers_are_those_of_plain_decoding(trial):
    for name, make in CHAINS.items():
        llama = trial.force(make)
        llama.reset()
        assert take(llama, PROMPT, LONG) == trial.answer(), name
        stats = llama.stats
        if not trial.drafts:
            assert stats.drafted == 0
            continue
        assert stats.drafted > LONG / 2, name
        if make is perfect:
            assert stats.accepted >= stats.drafted - 1, name  # the answer ends within a draft
            assert stats.mat > 7
        else:
            assert stats.accepted < stats.drafted, name


@every([kind for kind in DRAFTED if kind not in ROLLING])
def test_trees_answer_as_plain_decoding_does(trial):
    llama = trial.force(bushy, llama=trial.load(drafting="paper"))
    assert take(llama, PROMPT, LONG) == trial.answer()
    assert 0 < llama.stats.accepted < llama.stats.drafted
    llama.close()


@every(ARCHITECTURES)
def test_logits_after_200_steps_are_those_of_a_fresh_evaluation(trial):
    llama = trial.force(adversarial)
    take(llama, PROMPT, 201)
    text = llama.input_ids[: llama.n_tokens].tolist()
    ours, plain = logits(llama), trial.plain
    plain.reset()
    plain.eval(text)
    wide = logits(plain)
    plain.reset()
    for token in text:
        plain.eval([token])
    difference = np.abs(wide - logits(plain)).max()  # of a wide batch and of single tokens
    assert np.abs(ours - wide).max() <= 2 * difference + 1e-4
    assert difference < 0.01


@every(ARCHITECTURES)
def test_seeded_answers_are_those_of_plain_decoding(trial):
    # Seed 2 comes so near to a border of two tokens on qwen35 that 1e-5 of a logit decides.
    for seed in (1, 3):
        answer = trial.answer(n=100, temp=0.8, seed=seed)
        for make in (perfect, adversarial):
            llama = trial.force(make, answer=answer)
            llama.reset()
            llama.set_seed(seed)
            assert take(llama, PROMPT, 100, temp=0.8) == answer
    assert trial.answer(n=100, temp=0.8, seed=1) != answer


@every(ARCHITECTURES)
def test_a_restored_state_goes_on_as_before(trial, tmp_path):
    llama, answer = trial.force(adversarial), trial.answer()
    for n in (1, 2, 30, 61):
        llama.reset()
        assert take(llama, PROMPT, n) == answer[:n]
        state = llama.save_state()
        llama.save_kv(tmp_path / "state")
        take(llama, OTHER, 5)
        for restore in (
            lambda state=state: llama.load_state(state),
            lambda: llama.load_kv(tmp_path / "state"),
        ):
            restore()
            text = [*PROMPT, *answer[:n]]
            assert llama.input_ids[: llama.n_tokens].tolist() == text[:-1]
            with calls() as seen:
                assert take(llama, text, 40) == answer[n : n + 40]
            if trial.drafts:
                assert seen.rows[0] == 1, "only the last token is not in the state"
            take(llama, OTHER, 5)


def closed(stream):
    stream.close()
    return []


def continued(text, n):
    return [*PROMPT, *text], n


def asked_again(text, n):
    return PROMPT, 0


def cut_short(text, n):
    return [*PROMPT, *text[: n // 2]], n // 2


@every(DRAFTED)
@pytest.mark.parametrize("interrupt", [closed, ctrl_c_at_a_token, ctrl_c_while_evaluating])
def test_after_an_interruption_the_model_goes_on_as_a_fresh_one(trial, interrupt):
    llama, answer = trial.force(adversarial), trial.answer()
    for k, follow_up in itertools.product((1, 2, 5, 18, 33), (continued, asked_again, cut_short)):
        stream = llama.generate(PROMPT, temp=0.0)
        taken = list(itertools.islice(stream, k))
        taken += interrupt(stream)
        assert taken == answer[: len(taken)]
        prompt, begin = follow_up(taken, len(taken))
        assert take(llama, prompt, 20) == answer[begin : begin + 20], follow_up
        assert take(llama, OTHER, 5) == trial.answer(OTHER)[:5]


@every(DRAFTED)
def test_the_prefix_of_a_prompt_is_read_once(trial):
    """Attention goes back to every place; a recurrent memory to the checkpoint before it."""
    answer, llama = trial.answer(), trial.force(adversarial)
    take(llama, PROMPT, 20)
    read = {}
    for name, prompt in {
        "continued": [*PROMPT, *answer[:20], *OTHER],
        "the same": PROMPT,
        "another end": [*PROMPT[:-3], *OTHER],
        "the same system message": [*PROMPT[:20], *OTHER],
        "the same once more": [*PROMPT[:20], *OTHER[::-1]],
    }.items():
        first = trial.answer(prompt, 1)
        with calls() as seen:
            assert take(llama, prompt, 1) == first
        read[name] = sum(seen.rows)
    end = len(OTHER)
    assert read["continued"] == end + 1
    if not is_recurrent(llama):
        assert list(read.values())[1:] == [1, end, end, end]
        return
    assert read["the same"] == 8, "a checkpoint lies 8 tokens before the end"
    assert read["another end"] == end + 8 - 3
    assert read["the same system message"] == 20 + end, "no checkpoint was taken there"
    assert read["the same once more"] == end, "where prompts parted once there is a checkpoint"


@every(PLAIN)
def test_without_rollback_it_decodes_plainly_and_says_why(trial):
    llama = trial.ours
    take(llama, PROMPT, 5)
    assert llama.stats.plain_because == (
        "llama.cpp cannot take tokens back from this architecture's recurrent memory"
    )
    assert llama_cpp.llama_n_rs_seq(llama.ctx) == 0


@every(["qwen35"])
@pytest.mark.parametrize("option", [{"drafting": "paper"}, {"exact": True}, {"drafting": "off"}])
def test_a_recurrent_model_says_why_an_option_makes_it_plain(trial, option):
    llama = trial.load(**option)
    assert take(llama, PROMPT, 20) == trial.answer()[:20]
    assert next(iter(option)) in llama.stats.plain_because
    llama.close()
