"""The consumer of a stream uses the model between two tokens."""

import itertools

import pytest

from tests.runtime.helpers import ASKED, OTHER, assert_in_agreement, history, take


def assert_in_agreement_once_settled(llama):
    """Like assert_in_agreement, but settles an evaluation that may be pending first."""
    llama._settle()
    assert_in_agreement(llama)


BETWEEN_TOKENS = {
    "tokenize": lambda llama, token: llama.tokenize(b"Hello, world"),
    "save_state": lambda llama, token: llama.save_state(),
    "save and load": lambda llama, token: llama.load_state(llama.save_state()),
    "sample": lambda llama, token: llama.sample(temp=0.0),
    "set_seed": lambda llama, token: llama.set_seed(5),
    "eval another token": lambda llama, token: llama.eval([100]),
    "eval more": lambda llama, token: llama.eval([100, 200, 50]),
    "eval the token itself": lambda llama, token: llama.eval([token]),
}


@pytest.mark.parametrize("use", BETWEEN_TOKENS.values(), ids=BETWEEN_TOKENS)
def test_a_stream_goes_on_as_in_llama_cpp(tiny, tiny_plain, tiny_truth, use):
    for k in range(1, 36):
        answers = []
        for model in (tiny_plain, tiny):
            stream = model.generate(ASKED, temp=0.0)
            tokens = list(itertools.islice(stream, k))
            use(model, tokens[-1])
            tokens += itertools.islice(stream, 12)
            stream.close()
            answers.append(tokens)
        assert answers[1] == answers[0]
        assert_in_agreement(tiny)
        assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)


def rewind(llama):
    llama.n_tokens -= 2


THE_GROUND_AWAY = {
    "reset": lambda llama: llama.reset(),
    "reset and eval": lambda llama: (llama.reset(), llama.eval([50, 35, 28])),
    "another answer": lambda llama: take(llama, OTHER, 5),
    "another completion": lambda llama: llama.create_completion("Once", max_tokens=3),
    "rewind": rewind,
}


@pytest.mark.parametrize("use", THE_GROUND_AWAY.values(), ids=THE_GROUND_AWAY)
def test_a_stream_whose_history_was_taken_away_harms_nothing(tiny, tiny_truth, use):
    """The stream itself makes no sense then, as in llama_cpp; the next answers must be right."""
    for k in range(1, 36):
        stream = tiny.generate(ASKED, temp=0.0)
        list(itertools.islice(stream, k))
        use(tiny)
        list(itertools.islice(stream, 12))
        stream.close()
        assert_in_agreement(tiny)
        assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)
        assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8, 17])
@pytest.mark.parametrize("second", [1, 2, 3, 6, 17, 20])
def test_two_streams_in_turn_harm_nothing(tiny, tiny_truth, first, second):
    one, two = (tiny.generate(prompt, temp=0.0) for prompt in (ASKED, OTHER))
    assert list(itertools.islice(one, first)) == tiny_truth(ASKED, first)
    assert list(itertools.islice(two, second)) == tiny_truth(OTHER, second)
    for stream in (one, two, one, two):
        assert len(list(itertools.islice(stream, 3))) == 3
        assert_in_agreement_once_settled(tiny)
    one.close()
    two.close()
    assert_in_agreement(tiny)
    assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)


@pytest.mark.parametrize("first", [1, 2, 3, 8, 16, 17])
def test_closing_an_older_stream_does_not_harm_the_newer_one(tiny, tiny_truth, first):
    for second in range(1, 20):
        older = tiny.generate(ASKED, temp=0.0)
        list(itertools.islice(older, first))
        stream = tiny.generate(OTHER, temp=0.0)
        tokens = list(itertools.islice(stream, second))
        older.close()
        tokens += itertools.islice(stream, 20)
        stream.close()
        assert tokens == tiny_truth(OTHER, second + 20)
        assert_in_agreement(tiny)


def test_tokens_that_are_sent_in_are_forced(tiny, tiny_plain):
    for k, n in itertools.product(range(1, 25), (1, 2, 5)):
        forced = [40, 140, 41, 141, 42][:n]
        stream = tiny.generate(ASKED, temp=0.0)
        before = list(itertools.islice(stream, k))
        after = [stream.send(forced), *itertools.islice(stream, 7)]
        so_far = [*ASKED, *before, *forced]
        assert history(tiny)[: len(so_far)] == so_far
        stream.close()
        tiny_plain.reset()
        assert after == take(tiny_plain, so_far, 8)
        assert_in_agreement(tiny)
