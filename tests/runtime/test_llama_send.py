"""Tokens that are sent into a stream: evaluated after the last one said, drafted or not."""

import itertools

import llama_cpp
import pytest

from aded_edge import EvaluationError, Llama
from tests.runtime.helpers import ASKED, history


@pytest.fixture(params=["auto", "off", "a draft_model"])
def llama(request, load_tiny):
    if request.param == "a draft_model":
        drafter = llama_cpp.llama_speculative.LlamaPromptLookupDecoding(num_pred_tokens=4)
        return load_tiny(draft_model=drafter, logits_all=True)
    return load_tiny(drafting=request.param, eager=request.param == "auto")


@pytest.mark.parametrize("before", [1, 7])
@pytest.mark.parametrize("forced", [[99], [99, 120, 55]])
def test_the_stream_goes_on_after_them(llama, tiny_truth, before, forced):
    stream = llama.generate(ASKED, temp=0.0)
    said = list(itertools.islice(stream, before))
    assert said == tiny_truth(ASKED, before)
    rest = [stream.send(forced), *itertools.islice(stream, 6)]
    assert rest == tiny_truth([*ASKED, *said, *forced], 7)
    again = [stream.send(forced)]
    assert again == tiny_truth([*ASKED, *said, *forced, *rest, *forced], 1)
    stream.close()
    text = [*ASKED, *said, *forced]
    assert history(llama)[: len(text)] == text


def test_nothing_sent_is_nothing(llama, tiny_truth):
    stream = llama.generate(ASKED, temp=0.0)
    said = [next(stream), stream.send(None), stream.send([]), next(stream)]
    assert said == tiny_truth(ASKED, 4)


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_the_sampler_goes_on_where_it_was(load_tiny, drafting):
    """The same draws, as if the tokens had been chosen: not those of the beginning again."""
    llama = load_tiny(drafting=drafting)
    llama.set_seed(5)
    stream = llama.generate(ASKED, temp=5.0, top_k=0, top_p=1.0, min_p=0.0)
    first = [next(stream), next(stream)]
    sampler = llama._sampler
    stream.send([99])
    assert llama._sampler is sampler
    assert first


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_what_does_not_fit_is_an_error(load_tiny, drafting):
    llama = load_tiny(drafting=drafting, n_ctx=40)
    stream = llama.generate(ASKED, temp=0.0)
    next(stream)
    with pytest.raises(EvaluationError):
        stream.send([70] * 60)


def test_a_token_that_the_model_lacks_is_an_error(llama):
    stream = llama.generate(ASKED, temp=0.0)
    next(stream)
    with pytest.raises(EvaluationError):
        stream.send([10**6])


def test_figures_count_every_token(load_tiny):
    llama: Llama = load_tiny(drafting="off")
    stream = llama.generate(ASKED, temp=0.0)
    next(stream)
    stream.send([99, 100])
    next(stream)
    stream.close()
    assert llama.stats.tokens == 3
