"""Answers that are decoded in parallel, and what a drafter learns of them."""

import numpy as np
import pytest

from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.llamacpp.parallel import ParallelTarget
from aded_edge.teach.answers import ParallelAnswers, sample
from tests.draft.reading import lookup


@pytest.fixture
def parallel(load_tiny):
    """Makes parallel answers of the tiny model, whose tokens are bytes."""

    def parallel(prompts=("ab", "cd", "ef"), sequences=3, **changes):
        own = ParallelAnswers(
            ParallelTarget(load_tiny(drafting="off"), sequences),
            [np.frombuffer(text.encode(), np.uint8).astype(np.int32) + 3 for text in prompts],
            **{"most_tokens": 20, "temperature": 0.8, "seed": 0, **changes},
        )
        own.sequences = sequences
        return own

    return parallel


def taught(answers, steps):
    """What a drafter learns of so many steps."""
    drafter = AdaptiveDrafter(keep_news=True)
    for _ in range(steps):
        answers.step(drafter)
    answers.end(drafter)
    return drafter.take_news().learned()


def said(learned, opening):
    """What the log holds behind an opening."""
    log = learned.tokens.tolist()
    opening = [byte + 3 for byte in opening.encode()]
    (at,) = [i for i in range(len(log)) if log[i : i + len(opening)] == opening]
    answer = log[at + len(opening) :]
    return answer[: answer.index(-1)] if -1 in answer else answer


# --- what is said ---------------------------------------------------------------------------


def test_greedy_answers_are_those_of_the_model_alone(parallel, tiny_truth):
    learned = taught(parallel(temperature=0, most_tokens=12), 12)
    for opening in ("ab", "cd", "ef"):
        tokens = [byte + 3 for byte in opening.encode()]
        assert said(learned, opening) == tiny_truth(tokens, 12)


def test_prompts_with_a_common_beginning_get_the_answers_they_get_alone(parallel, tiny_truth):
    own = parallel(["system ab", "system abc", "system x"], 2, temperature=0, most_tokens=4)
    evaluated = []
    real = own._target.evaluate
    own._target.evaluate = lambda sequences, texts: (
        evaluated.extend(map(len, texts)) or real(sequences, texts)
    )
    log = taught(own, 16).tokens.tolist()
    for opening in ("system ab", "system abc", "system x"):
        tokens = [byte + 3 for byte in opening.encode()]
        answer = tiny_truth(tokens, 4)
        behind = tokens[-8:] + answer  # the last of a prompt stand before its answer
        assert any(log[i : i + len(behind)] == behind for i in range(len(log)))
    assert sum(n > 4 for n in evaluated) == 2  # later prompts share the beginning


def test_the_seed_decides(parallel):
    runs = [taught(parallel(seed=seed), 30).tokens.tolist() for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_answers_end_at_their_limit_and_make_room_for_others(parallel):
    own = parallel(["ab"], sequences=2, most_tokens=5)
    taught(own, 11)
    assert own.tokens == 22
    assert own.answers >= 4  # one may have ended by itself


def test_no_answer_outgrows_its_room(parallel):
    own = parallel(["abcdefgh"], sequences=2, most_tokens=100)
    own._target.room = 12
    learned = taught(own, 20)
    log = "".join("|" if t < 0 else "x" for t in learned.tokens).split("|")
    assert max(map(len, log)) == 12


def test_samples_follow_the_distribution():
    rng = np.random.default_rng(0)
    tokens = np.tile(np.asarray([[7, 8, 9]], np.int32), (20_000, 1))
    probs = np.tile(np.asarray([[0.6, 0.3, 0.1]], np.float32), (20_000, 1))
    for temperature in (1.0, 0.5):
        counts = np.bincount(sample(tokens, probs, temperature, rng), minlength=10)[7:]
        expected = np.asarray([0.6, 0.3, 0.1]) ** (1 / temperature)
        assert counts / 20_000 == pytest.approx(expected / expected.sum(), abs=0.015)
    assert set(sample(tokens, probs, 0, rng)) == {7}
    assert set(sample(tokens, probs, 1e-6, rng)) == {7}


# --- what is learned ------------------------------------------------------------------------


def test_the_distribution_is_learned_and_not_only_what_was_chosen(parallel, tiny_plain):
    learned = taught(parallel(["ab"], sequences=1, most_tokens=8), 8)
    answer = said(learned, "ab")
    drafter = AdaptiveDrafter()
    drafter.absorb(learned)
    tokens, shares = lookup(drafter.matrix, ord("a") + 3, ord("b") + 3)
    tiny_plain.reset()
    tiny_plain.eval([ord("a") + 3, ord("b") + 3])
    logits = tiny_plain._ctx.get_logits()
    logits = np.ctypeslib.as_array(logits, shape=(tiny_plain.n_vocab(),)).astype(float)
    probs = np.exp(logits - logits.max())
    probs /= probs.sum()
    for token, share in zip(tokens.tolist(), shares.tolist(), strict=True):
        # Half of the weight is the token chosen, half is the target's distribution.
        assert share == pytest.approx((probs[token] + (token == answer[0])) / 2, abs=0.02)
    assert len(tokens) > 1 or probs.max() > 0.9


def test_the_prompt_is_context_and_is_not_learned(parallel):
    learned = taught(parallel(["abcdefgh"], sequences=1), 4)
    drafter = AdaptiveDrafter()
    drafter.absorb(learned)
    assert lookup(drafter.matrix, ord("a") + 3, ord("b") + 3)[0].size == 0
    assert lookup(drafter.matrix, ord("g") + 3, ord("h") + 3)[0].size > 0
