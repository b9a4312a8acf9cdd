"""Sampled tokens are those that llama_cpp.Llama draws with the same arguments and seed."""

import llama_cpp
import numpy as np
import pytest

from tests.conftest import ROUNDING
from tests.runtime.helpers import ASKED, STORY, said, take

SAMPLINGS = {
    "greedy": {},
    "temperature": {"temp": 0.8},
    "everything open": {"temp": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    "narrow": {"temp": 0.7, "top_k": 5, "top_p": 0.5, "min_p": 0.2},
    "typical": {"temp": 0.9, "typical_p": 0.5},
    "no temperature": {"temp": -1.0},
    "penalties, greedy": {"repeat_penalty": 1.3, "frequency_penalty": 0.3},
    "penalties": {"temp": 0.8, "repeat_penalty": 1.2, "presence_penalty": 0.5},
    "mirostat 1": {"temp": 0.8, "mirostat_mode": 1},
    "mirostat 2": {"temp": 0.8, "mirostat_mode": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_seed_draws_what_it_draws_in_llama_cpp(tiny, tiny_plain, sampling):
    accepted = 0
    for seed in range(1, 11):
        tiny_plain.set_seed(seed)
        tiny_plain.reset()
        expected = take(tiny_plain, ASKED, 64, **sampling)
        for _ in range(2):  # the second time the answer is known, and drafts are accepted
            tiny.set_seed(seed)
            assert take(tiny, ASKED, 64, **sampling) == expected
        accepted += tiny.stats.accepted
    assert accepted > 100


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_completion_with_a_seed_is_that_of_llama_cpp(warm, plain, seed):
    arguments = {"max_tokens": 24, "temperature": 0.8, "seed": seed}
    expected = said(plain.create_completion(STORY, **arguments))
    for _ in range(2):
        assert said(warm.create_completion(STORY, **arguments)) == expected
    assert warm.stats.accepted >= 12


@pytest.mark.parametrize("temp", [0.0, 0.8])
def test_a_logits_processor_sees_and_changes_the_same(tiny, tiny_plain, temp):
    outcomes = []
    for model in (tiny_plain, tiny, tiny):
        seen, figures = [], []

        def processor(input_ids, logits, seen=seen, figures=figures):
            seen.append(input_ids.tolist())
            figures.append(logits.copy())
            logits[100:200] = -100.0
            return logits

        model.reset()
        model.set_seed(11)
        processors = llama_cpp.LogitsProcessorList([processor])
        answer = take(model, ASKED, 40, temp=temp, logits_processor=processors)
        assert not any(100 <= token < 200 for token in answer)
        outcomes.append((answer, seen, figures))
    assert tiny.stats.accepted > 10
    for answer, seen, figures in outcomes[1:]:
        assert (answer, seen) == outcomes[0][:2]
        np.testing.assert_allclose(figures, outcomes[0][2], atol=ROUNDING)
