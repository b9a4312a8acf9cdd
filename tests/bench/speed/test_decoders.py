"""Decoders of this process: they answer as the baseline does, from the same history."""

import pytest

from aded_edge.bench.speed.baseline import history, prompt_tokens
from aded_edge.bench.speed.decoders import LOCAL, LOOKUPS, LocalDecoder, Turn

FIRST = [{"role": "user", "content": "Name the colours of the rainbow."}]
SECOND = [
    *FIRST,
    {"role": "assistant", "content": "Red and blue."},
    {"role": "user", "content": "Again, please, and all of them."},
]


@pytest.fixture
def opened(small, tmp_path, few):
    """Opens decoders, and closes them after the test."""
    decoders = []

    def open_one(name):
        (tmp_path / str(len(decoders))).mkdir()
        decoders.append(LocalDecoder(name, small, tmp_path / str(len(decoders))))
        return decoders[-1]

    yield open_one
    for decoder in decoders:
        decoder.close()


@pytest.mark.parametrize("name", LOCAL)
def test_it_answers_a_chat_completion_and_counts_it(name, small, plain, opened):
    decoder = opened(name)
    prompt = prompt_tokens(plain, FIRST)
    answers = [decoder.answer(Turn(FIRST, prompt, [])) for _ in range(2)]
    said = plain.create_chat_completion(FIRST, max_tokens=small.max_tokens, temperature=0.0)
    for answer in answers:
        if name in ("off", "exact"):  # wider evaluations may give other bits, and so another answer
            assert answer.text == said["choices"][0]["message"]["content"]
        assert answer.tokens == small.max_tokens
        assert 0 < answer.seconds_first < answer.seconds_last
        assert answer.steps + answer.accepted >= answer.tokens - 1
        assert (answer.oracle is not None) == (name in ("auto", "exact"))
        assert bool(answer.parts) == (name not in LOOKUPS)


@pytest.mark.parametrize("name", LOCAL)
def test_its_history_becomes_the_known_one(name, small, plain, opened, monkeypatch):
    """Whatever it said itself, it evaluates only what the baseline would evaluate."""
    decoder = opened(name)
    decoder.answer(Turn(FIRST, prompt_tokens(plain, FIRST), []))
    full = prompt_tokens(plain, SECOND)
    known = full[: len(full) - 20]
    held = []
    answer = type(decoder.llama).create_chat_completion
    monkeypatch.setattr(
        type(decoder.llama),
        "create_chat_completion",
        lambda self, *args, **more: (held.append(history(self)), answer(self, *args, **more))[1],
    )
    first = decoder.answer(Turn(SECOND, full, known))
    assert held == [known]
    fresh = opened(name).answer(Turn(SECOND, full, []))
    assert held[1:] == [[]]
    assert first.tokens == fresh.tokens


def test_the_drafter_reads_what_is_evaluated_outside_the_clock(small, plain, opened):
    """What it knows afterwards is what it knows where it evaluates the prompt itself."""
    full = prompt_tokens(plain, SECOND)
    first = prompt_tokens(plain, FIRST)
    logs = []
    for known in (full[:-7], []):
        decoder = opened("auto")
        said = decoder.answer(Turn(FIRST, first, []))
        # Without `known`, it holds its own history: the prompt and what it said.
        turn = Turn(SECOND, full, known or history(decoder.llama))
        decoder.answer(turn)
        spans = decoder.llama._loop.drafter.spans
        logs.append(spans.tail(len(spans)).tolist())
        assert said.tokens
    assert logs[0] == logs[1]
    assert len(logs[0]) > len(full)
