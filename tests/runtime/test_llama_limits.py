"""Full contexts, and contexts and batches of any size."""

import json

import llama_cpp
import pytest

from aded_edge import EvaluationError
from tests.conftest import Truth
from tests.runtime.helpers import (
    ASKED,
    OTHER,
    assert_in_agreement,
    in_a_process,
    said,
    streamed,
    take,
)


def finish_reason(completion):
    return completion["choices"][0]["finish_reason"]


BATCHES = [(1, 1), (2, 1), (5, 5), (16, 7), (31, 31), (64, 4), (64, 64), (512, 8)]


@pytest.mark.parametrize(("n_batch", "n_ubatch"), BATCHES)
@pytest.mark.parametrize("drafting", ["auto", "paper"])
def test_prompts_and_drafts_may_be_longer_than_a_batch(
    load_tiny, tiny_settings, n_batch, n_ubatch, drafting
):
    batches = {"n_batch": n_batch, "n_ubatch": n_ubatch}
    # A prompt that is evaluated in other batches may be rounded otherwise, in llama_cpp as well.
    plain = llama_cpp.Llama(**{**tiny_settings, **batches})
    truth = Truth(plain)
    llama = load_tiny(eager=drafting == "auto", drafting=drafting, **batches)
    for prompt in (ASKED, 13 * OTHER, ASKED, 13 * OTHER):
        assert take(llama, prompt, 40) == truth(prompt, 40)
        assert_in_agreement(llama)
    plain.close()


@pytest.mark.parametrize("drafting", ["auto", "paper"])
@pytest.mark.parametrize("n_ctx", [8, 63, 64, 200, 256, 300])
def test_a_full_context_is_an_error_and_no_end(load_tiny, tiny_truth, n_ctx, drafting):
    """The context ends after n_ctx tokens, though llama.cpp rounds n_ctx up."""
    llama = load_tiny(eager=drafting == "auto", drafting=drafting, n_ctx=n_ctx)
    for _ in range(3):
        tokens = []
        with pytest.raises(EvaluationError, match=f"{n_ctx} tokens is full"):
            tokens.extend(llama.generate(ASKED, temp=0.0))
        assert tokens == tiny_truth(ASKED, n_ctx - len(ASKED) + 1)
        assert_in_agreement(llama)
        assert take(llama, OTHER, 2) == tiny_truth(OTHER, 2)


@pytest.mark.parametrize("n_ctx", [64, 256, 300])
def test_a_completion_without_max_tokens_fills_the_context(load_tiny, tiny_settings, n_ctx):
    plain = llama_cpp.Llama(**{**tiny_settings, "n_ctx": 512})
    arguments = {"prompt": ASKED, "max_tokens": None, "temperature": 0.0}
    arguments["logit_bias"] = {plain.token_eos(): -100.0}
    expected = said(plain.create_completion(**arguments))
    plain.close()
    llama = load_tiny(eager=True, n_ctx=n_ctx)
    for _ in range(2):
        output = llama.create_completion(**arguments)
        assert output["choices"][0]["finish_reason"] == "length"
        # llama_cpp does not count a last token that ends inside a character.
        assert output["usage"]["total_tokens"] in (n_ctx, n_ctx + 1)
        assert expected.startswith(said(output)[:-1])
        assert_in_agreement(llama)


@pytest.mark.parametrize("n_ctx", [*range(1, 21), 64, 100, *range(255, 264), 300, 513])
@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_an_answer_ends_where_the_context_does(load_tiny, n_ctx, drafting):
    """With a prompt that leaves 3, 2, 1 and 0 places, in every way to complete."""
    llama = load_tiny(eager=drafting == "auto", drafting=drafting, n_ctx=n_ctx)
    assert llama.n_ctx() == n_ctx
    for left in range(min(n_ctx - 1, 3) + 1):
        prompt = [1, *(70 + 7 * i % 50 for i in range(n_ctx - left - 1))]
        for unusual in ({}, {"logit_bias": {2: -100.0}}):
            arguments = {"max_tokens": None, "temperature": 0.0, **unusual}
            if left == 0:
                with pytest.raises(ValueError, match=f"context window of {n_ctx}$"):
                    llama.create_completion(prompt, **arguments)
                continue
            answer = llama.create_completion(prompt, **arguments)
            assert answer["choices"][0]["finish_reason"] in ("length", "stop")
            assert answer["usage"]["total_tokens"] <= n_ctx + 1


@pytest.mark.parametrize("n_ctx", [256, 259, 262])
@pytest.mark.parametrize("drafting", ["auto", "off"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("unusual", [{}, {"logit_bias": {2: -100.0}}])
def test_a_character_cut_in_two_by_the_context_ends_the_answer(
    load_tiny, n_ctx, drafting, stream, unusual
):
    """A grammar makes the tiny model, whose tokens are bytes, answer with emoji alone."""
    llama = load_tiny(eager=drafting == "auto", drafting=drafting, n_ctx=n_ctx)
    for left in (1, 2, 3, 5, 9):
        output = llama.create_completion(
            [1, *[80] * (n_ctx - left - 1)],
            max_tokens=None,
            temperature=0.0,
            stream=stream,
            grammar=llama_cpp.LlamaGrammar.from_string('root ::= "🦊"+', verbose=False),
            **unusual,
        )
        answer = streamed(output) if stream else (said(output), finish_reason(output))
        assert answer == ("🦊" * (left // 4), "length")


SIZES = [(8, 8), (32, 32), (63, 512), (64, 512), (65, 512), (512, 1), (512, 31), (0, 512)]


@pytest.fixture(scope="module")
def small_ones(tiny_path):
    """The answers in each size of context, as printed lines; after a crash its error instead."""
    script = """
        for n_ctx, n_batch in json.loads(sys.argv[2]):
            for drafting in ("auto", "paper"):
                options = {"n_ctx": n_ctx, "n_batch": n_batch, "drafting": drafting}
                with load(sys.argv[1], **options) as llama:
                    stream = llama.generate(json.loads(sys.argv[3]), temp=0.0)
                    print(list(itertools.islice(stream, 4)), flush=True)
                    stream.close()
    """
    done = in_a_process(script, tiny_path, json.dumps(SIZES), ASKED)
    return done.stdout.splitlines() + [done.stderr[-500:]] * 2 * len(SIZES)


@pytest.mark.parametrize("number", range(len(SIZES)), ids=map(str, SIZES))
def test_small_contexts_and_batches_work(small_ones, tiny_truth, number):
    assert small_ones[2 * number : 2 * number + 2] == 2 * [str(tiny_truth(ASKED, 4))]
