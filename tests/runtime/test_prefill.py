"""Reading a prompt: how long it may be, and appending without a reset.

test_llama_cpp_cases.py and test_llama_interruptions.py test which prefix of a prompt is reused.
"""

import pytest

from aded_edge import EvaluationError, PromptError
from tests.runtime.helpers import ASKED, STORY, assert_in_agreement, take


@pytest.mark.parametrize("reset", [True, False])
def test_a_prompt_that_is_too_long_is_refused(tiny, tiny_truth, reset):
    take(tiny, ASKED, 4)
    with pytest.raises(PromptError, match=r"context holds 1024; shorten it") as caught:
        next(tiny.generate([7] * 1025, reset=reset))
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ValueError, match="exceed context window"):
        tiny.create_completion([7] * 1025)
    assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)
    assert_in_agreement(tiny)


def test_a_prompt_as_long_as_the_context_gets_one_token(tiny, tiny_truth):
    prompt = [(7 * number) % 250 for number in range(1024)]
    assert take(tiny, prompt, 1) == tiny_truth(prompt, 1)
    with pytest.raises(EvaluationError, match="full"):
        take(tiny, prompt, 2)
    assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)


def test_an_empty_prompt_is_refused(warm, truth):
    take(warm, STORY, 2)
    with pytest.raises(PromptError, match="empty"):
        next(warm.generate([]))
    with pytest.raises(PromptError, match="empty"):
        warm.create_completion("", max_tokens=1)
    assert take(warm, STORY, 8) == truth(STORY, 8)


def test_generation_goes_on_behind_the_history_without_reset(tiny, tiny_plain):
    answers = []
    for model in (tiny_plain, tiny):
        model.reset()
        model.eval(ASKED)
        answers.append([])
        for more in ([], [60, 61], [], [62]):
            answers[-1].append(take(model, more, 9, reset=False))
    assert answers[0] == answers[1]
    assert_in_agreement(tiny)
