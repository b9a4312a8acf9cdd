"""Decoders that take up the KV of a prompt say and know what they would have without it."""

import itertools

import pytest

from aded_edge.bench.speed.decoders import LOCAL, LocalDecoder
from aded_edge.bench.speed.evaluated import EvaluatedPrompts

TEXT = "<|im_start|>user\nName the colours of the rainbow.<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("name", LOCAL)
def test_answers_are_those_of_a_decoder_that_evaluates_the_prompt_itself(
    name, small, plain, truth, tmp_path, few
):
    prompt = plain.tokenize(TEXT.encode(), add_bos=False, special=True)
    kv = EvaluatedPrompts(tmp_path).file(plain, prompt)
    decoder = LocalDecoder(name, small, tmp_path)
    try:
        first, again = decoder.answer(prompt, kv), decoder.answer(prompt, kv)
    finally:
        decoder.close()
    assert first.tokens == again.tokens == truth(TEXT, len(first.tokens))
    assert first.steps + first.accepted >= len(first.tokens) - 1
    assert (first.oracle is not None) == (name == "auto")
    assert bool(first.parts) == (name in ("auto", "paper", "off"))


def test_the_drafter_reads_a_prompt_that_it_was_given_as_kv(small, plain, tmp_path, few):
    """What it knows afterwards is what it knows where it evaluates the prompt itself."""
    turns = [plain.tokenize(TEXT.encode(), add_bos=False, special=True)]
    turns.append(turns[0] + plain.tokenize(b"Red and blue.<|im_end|>\n", False, True) + turns[0])
    evaluated = EvaluatedPrompts(tmp_path)
    logs = []
    for given in (True, False):
        folder = tmp_path / str(given)
        folder.mkdir()
        decoder = LocalDecoder("auto", small, folder)
        for prompt in turns:
            if given:
                decoder.answer(prompt, evaluated.file(plain, prompt))
            else:
                stream = decoder.llama.generate(prompt, temp=0.0)
                list(itertools.islice(stream, small.max_tokens))
                stream.close()
        spans = decoder.llama._loop.drafter.spans
        logs.append(spans.tail(len(spans)).tolist())
        decoder.close()
    assert logs[0] == logs[1]
    assert len(logs[0]) > len(turns[1])
