"""llama-cpp-python's own tests of `Llama`, with our class and our model.

Where those expect literal texts of their models, these expect the answer of `llama_cpp.Llama`.
"""

import itertools

import llama_cpp
import numpy as np
import pytest
from llama_cpp import _internals as internals

from aded_edge import Llama

FOX = "The quick brown fox jumps over the lazy dog. The quick brown fox"
SMALL = {"n_ctx": 64, "n_batch": 64, "n_ubatch": 64}


@pytest.fixture(scope="module")
def vocabulary(model_path, settings):
    with Llama(model_path, **settings, vocab_only=True, store=None) as llama:
        yield llama


@pytest.fixture
def pair(load, model_path, settings):
    """Loads (our model, llama_cpp's model) with the same arguments."""
    models = []

    def pair(**changes):
        models.append(llama_cpp.Llama(str(model_path), **{**settings, **changes}))
        return load(**changes), models[-1]

    yield pair
    for model in models:
        model.close()


def greedy(llama, tokens, n=3):
    return list(itertools.islice(llama.generate(tokens, temp=0.0), n))


def prompt_tokens(llama, text="The quick brown fox"):
    return llama.tokenize(text.encode(), add_bos=True, special=True)


def said(completion):
    return completion["choices"][0]["text"]


# --- the vocabulary alone -------------------------------------------------------------------


def test_vocab_only_has_a_context_and_says_why_it_drafts_nothing(vocabulary):
    assert vocabulary.ctx is not None
    assert vocabulary._loop is None


@pytest.mark.parametrize("text", ["Hello World", "", "naïve café 😀", "  two\n\nlines\t", "用中文"])
def test_tokens_make_up_the_text_again(vocabulary, text):
    tokens = vocabulary.tokenize(text.encode(), add_bos=False)
    assert vocabulary.detokenize(tokens) == text.encode()


@pytest.mark.parametrize("add_bos", [True, False])
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("text", [b"Hello World", b"Hello World<|im_end|>", b""])
def test_tokens_are_those_of_llama_cpp(vocabulary, plain, text, add_bos, special):
    arguments = {"add_bos": add_bos, "special": special}
    assert vocabulary.tokenize(text, **arguments) == plain.tokenize(text, **arguments)


def test_special_tokens_are_only_found_when_asked_for(vocabulary):
    assert vocabulary.tokenize(b"Hello<|im_end|>", special=True)[-1] == vocabulary.token_eos()
    assert vocabulary.tokenize(b"Hello<|im_end|>")[-1] != vocabulary.token_eos()


def test_special_tokens_are_hidden_unless_asked_for(vocabulary):
    tokens = vocabulary.tokenize(b"Hello<|im_end|>", add_bos=False, special=True)
    assert vocabulary.detokenize(tokens, special=True) == b"Hello<|im_end|>"
    assert vocabulary.detokenize(tokens) == b"Hello"


# --- sampling and completions ---------------------------------------------------------------


def test_the_low_level_sampler_works_on_our_context(load, plain):
    """A batch and a sampler chain built by hand, as in their test of the internals."""

    def four(context, tokens):
        batch = internals.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
        sampler = internals.LlamaSampler()
        sampler.add_top_k(50)
        sampler.add_top_p(0.9, 1)
        sampler.add_temp(0.8)
        sampler.add_dist(1337)
        chosen, past = [], 0
        for _ in range(4):
            batch.set_batch(tokens, n_past=past, logits_all=False)
            context.decode(batch)
            past += len(tokens)
            tokens = [sampler.sample(context, -1)]
            chosen += tokens
        return chosen

    llama = load(**SMALL)
    tokens = prompt_tokens(llama, FOX)
    chosen = []
    for model in (llama, plain):
        model.reset()
        model._ctx.kv_cache_clear()
        chosen.append(four(model._ctx, tokens))
        model._ctx.kv_cache_clear()
    assert chosen[0] == chosen[1]


def test_completion_greedy(pair):
    ours, theirs = pair(n_ctx=32, n_batch=32, n_ubatch=32, flash_attn=True)
    arguments = {"max_tokens": 6, "top_k": 50, "top_p": 0.9, "temperature": 0.0, "seed": 1337}
    expected = said(theirs.create_completion(FOX, **arguments))
    assert said(ours.create_completion(FOX, **arguments)) == expected != ""


def test_completion_with_a_grammar(llama, plain):
    grammar = llama_cpp.LlamaGrammar.from_string('root ::= "true" | "false"', verbose=False)
    arguments = {
        "prompt": "The capital of france is paris, 'true' or 'false'?:\n",
        "max_tokens": 4,
        "top_k": 50,
        "top_p": 0.9,
        "temperature": 0.8,
        "seed": 1337,
        "grammar": grammar,
    }
    text = said(llama.create_completion(**arguments))
    assert text == said(plain.create_completion(**arguments))
    assert text in ("true", "false")


def test_completion_with_a_logits_processor(llama):
    wanted = llama.tokenize(b"rot", add_bos=True, special=True)

    def favour(input_ids, logits):
        logits[wanted] = np.abs(logits[wanted]) * 1000
        return logits

    output = llama.create_completion(
        "The capital of france is par",
        max_tokens=4,
        top_k=50,
        top_p=0.9,
        temperature=0.8,
        seed=1337,
        logits_processor=llama_cpp.LogitsProcessorList([favour]),
    )
    assert said(output).lower().startswith("rot")


def test_a_state_brings_its_seed_back(pair):
    grammar = llama_cpp.LlamaGrammar.from_string(
        "root ::= " + " | ".join(f'"{n}"' for n in range(1, 1000)), verbose=False
    )

    def three(llama):
        llama.create_completion("Count.", max_tokens=2, temperature=0.0, seed=1)
        llama.set_seed(1337)
        state = llama.save_state()
        numbers = []
        for restore in (False, False, True):
            if restore:
                llama.load_state(state)
            output = llama.create_completion(
                "Pick a number from 1 to 999?:\n", max_tokens=4, temperature=1.5, grammar=grammar
            )
            numbers.append(said(output))
        return numbers

    ours, theirs = pair(**SMALL)
    first, second, third = three(ours)
    assert first != second
    assert first == third
    assert [first, second, third] == three(theirs)


# --- the KV cache is reused -----------------------------------------------------------------


def test_the_same_prompt_twice_gives_the_same_answer(load):
    llama = load(n_ctx=32, n_batch=32, n_ubatch=32, flash_attn=True)
    outputs = [
        said(llama.create_completion(FOX, max_tokens=6, temperature=0.0, seed=1337))
        for _ in range(2)
    ]
    assert outputs[0] == outputs[1] != ""


def test_a_prompt_that_was_edited_is_read_again(pair):
    ours, theirs = pair(n_ctx=32, n_batch=32, n_ubatch=32)
    for prompt in ("The quick brown fox", "The slow brown fox", "The quick brown fox"):
        expected = said(theirs.create_completion(prompt, max_tokens=3, temperature=0.0))
        assert said(ours.create_completion(prompt, max_tokens=3, temperature=0.0)) == expected


def test_a_prompt_that_is_the_history_is_not_evaluated_again(load, monkeypatch):
    fresh, llama = load(**SMALL), load(**SMALL)
    tokens = prompt_tokens(llama)
    expected = greedy(fresh, tokens)
    llama.eval(tokens)
    assert llama.n_tokens == len(tokens)
    assert llama.input_ids[: llama.n_tokens].tolist() == tokens
    assert llama.sample(temp=0.0, idx=len(tokens) - 1) == expected[0]

    resets, evaluations = [], []
    real_eval = llama.eval
    monkeypatch.setattr(llama, "reset", lambda: resets.append(1))
    monkeypatch.setattr(llama, "eval", lambda t: (evaluations.append(t), real_eval(t)))
    assert greedy(llama, tokens) == expected
    assert (resets, evaluations) == ([], [])
    assert llama.n_tokens == len(tokens) + len(expected) - 1


def test_a_loaded_state_is_evaluated_before_it_is_sampled(load):
    source, loaded = load(**SMALL), load(**SMALL)
    tokens = prompt_tokens(source)
    source.eval(tokens)
    state = source.save_state()
    expected = greedy(source, tokens)

    loaded.eval([*tokens[:-1], loaded.token_nl()])
    assert loaded.sample(temp=0.0, idx=len(tokens) - 1) != expected[0]
    loaded.load_state(state)
    assert loaded.n_tokens == len(tokens)
    assert loaded.input_ids[: loaded.n_tokens].tolist() == tokens
    assert greedy(loaded, tokens) == expected
    assert loaded.n_tokens == len(tokens) + len(expected) - 1


@pytest.mark.parametrize("writer", ["ours", "llama_cpp's"])
@pytest.mark.parametrize("kind", ["RAM", "disk"])
def test_a_cache_is_hit(pair, monkeypatch, tmp_path, writer, kind):
    """Our model also finds what llama_cpp.Llama put into a cache."""
    ours, theirs = pair(**SMALL)
    on_disk = kind == "disk"
    cache = llama_cpp.LlamaDiskCache(str(tmp_path)) if on_disk else llama_cpp.LlamaRAMCache()
    arguments = {"max_tokens": 1, "temperature": 0.0, "seed": 1337}
    tokens = prompt_tokens(ours)
    expected = theirs.create_completion(tokens, **arguments)
    filler = theirs if writer == "llama_cpp's" else ours
    filler.set_cache(cache)
    filler.reset()
    filler.create_completion(tokens, **arguments)
    ours.reset()
    ours.set_cache(cache)

    loads, real = [], ours.load_state
    monkeypatch.setattr(ours, "load_state", lambda state: (loads.append(1), real(state)))
    actual = ours.create_completion(tokens, **arguments)
    assert len(loads) == 1
    assert said(actual) == said(expected)
    assert actual["usage"] == expected["usage"]


def test_a_shorter_prompt_takes_the_prefix_of_a_longer_history(load):
    llama = load(**SMALL)
    tokens = prompt_tokens(llama)
    expected = greedy(llama, tokens)
    llama.reset()
    llama.eval(tokens + llama.tokenize(b" jumps over the lazy dog", add_bos=False))
    assert llama.n_tokens > len(tokens)
    assert greedy(llama, tokens) == expected


# --- embeddings -----------------------------------------------------------------------------

MEAN = {"n_ctx": 64, "embedding": True, "pooling_type": llama_cpp.LLAMA_POOLING_TYPE_MEAN}


@pytest.fixture(scope="module")
def embedder(model_path, settings):
    with Llama(model_path, **{**settings, **MEAN}, store=None) as llama:
        yield llama


def test_embeddings_one_by_one_and_in_a_batch(embedder):
    prompts = ["Hello World", "A different prompt"]
    one_by_one = [embedder.embed(prompt) for prompt in prompts]
    assert len(one_by_one[0]) == embedder.n_embd()
    np.testing.assert_allclose(embedder.embed(prompts), one_by_one, rtol=1e-3, atol=1e-3)
    again = embedder.embed(prompts[::-1])[::-1]
    np.testing.assert_allclose(again, one_by_one, rtol=1e-3, atol=1e-3)


def test_embeddings_are_those_of_llama_cpp(embedder, model_path, settings):
    theirs = llama_cpp.Llama(str(model_path), **{**settings, **MEAN})
    expected = theirs.create_embedding(["Hello World", "tides"])
    theirs.close()
    actual = embedder.create_embedding(["Hello World", "tides"])
    assert actual["usage"] == expected["usage"]
    for ours, known in zip(actual["data"], expected["data"], strict=True):
        np.testing.assert_allclose(ours["embedding"], known["embedding"], rtol=1e-5)
