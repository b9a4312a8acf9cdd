"""`Llama.stats`, of drafted and of plain generations."""

import itertools

import numpy as np
import pytest

from tests.runtime.helpers import ASKED, OTHER, take


def test_stats_add_up(tiny):
    take(tiny, OTHER, 9)
    before = tiny.stats.cumulative
    take(tiny, ASKED, 40)
    stats = tiny.stats
    assert (stats.prompt_tokens, stats.tokens) == (len(ASKED), 40)
    assert 0 < stats.steps < 20
    assert 0 < stats.accepted <= stats.drafted
    assert stats.mat == 1 + stats.accepted / stats.steps
    parts = ("drafting", "evaluating", "accepting", "learning")
    assert stats.seconds == pytest.approx(sum(getattr(stats, f"seconds_{p}") for p in parts))
    assert stats.seconds > 0
    assert stats.plain_because is None
    assert stats.cumulative.cumulative is None
    for name in ("prompt_tokens", "tokens", "steps", "drafted", "accepted"):
        assert getattr(stats.cumulative, name) == getattr(before, name) + getattr(stats, name)
    assert stats.cumulative.seconds == pytest.approx(before.seconds + stats.seconds)


def test_stats_count_what_was_taken(tiny):
    take(tiny, OTHER, 1)
    for k in range(1, 36):
        before = tiny.stats.cumulative.tokens
        take(tiny, ASKED, k)
        assert tiny.stats.tokens == k
        assert tiny.stats.cumulative.tokens == before + k


def test_stats_of_streams_that_overlap_are_their_own(tiny):
    take(tiny, OTHER, 1)
    before = tiny.stats.cumulative.tokens
    older = tiny.generate(ASKED, temp=0.0)
    list(itertools.islice(older, 5))
    take(tiny, OTHER, 3)
    assert tiny.stats.tokens == 3
    older.close()
    assert tiny.stats.tokens == 5
    assert tiny.stats.cumulative.tokens == before + 8


def test_stats_before_the_first_answer_are_zero(load_tiny):
    stats = load_tiny(drafting="off").stats
    assert (stats.tokens, stats.mat, stats.tokens_per_second) == (0, 1.0, 0.0)
    assert stats.predicted_speedup is None


PLAIN = {
    "off": ({"drafting": "off"}, 'drafting="off"'),
    "draft model": ({"draft_model": lambda ids, /, **_: np.empty(0, np.intc)}, "draft_model"),
    "embedding": ({"embedding": True}, "embedding"),
}


@pytest.mark.parametrize(("options", "why"), PLAIN.values(), ids=PLAIN)
def test_plain_decoding_says_why_and_is_counted(load_tiny, tiny_truth, options, why):
    llama = load_tiny(n_ctx=256, **options)
    for _ in range(2):
        assert take(llama, ASKED, 8) == tiny_truth(ASKED, 8)
    stats = llama.stats
    assert why in stats.plain_because
    assert (stats.tokens, stats.steps, stats.drafted, stats.accepted) == (8, 7, 0, 0)
    assert stats.mat == 1.0
    assert stats.predicted_speedup is None
    assert stats.cumulative.tokens == 16
    assert why in stats.cumulative.plain_because


def test_a_draft_model_of_llama_cpp_still_works(load_tiny, tiny_truth):
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    llama = load_tiny(draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4), n_ctx=256)
    prompt = [*ASKED, *tiny_truth(ASKED, 30), *ASKED]
    assert take(llama, prompt, 16) == tiny_truth(prompt, 16)
