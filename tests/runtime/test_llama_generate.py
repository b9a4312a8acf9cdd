"""`generate` yields the tokens that llama_cpp.Llama yields, from the same logits.

The fixture `truth` gives the tokens of llama_cpp's own Llama.
"""

import itertools

import llama_cpp
import numpy as np
import pytest

from tests.conftest import ROUNDING
from tests.runtime.helpers import (
    ASKED,
    CAPITAL,
    STORY,
    assert_in_agreement,
    history,
    logits,
    question,
    take,
    tokenized,
)

QUESTIONS = [
    STORY,
    CAPITAL,
    question("Explain photosynthesis to a child."),
    question("Why is the sky blue?"),
    question("Write a Python function that reverses a list."),
    question("Give me a JSON object describing a person with name, age and city."),
    question("Repeat the word hello ten times."),
    question("用中文写一首关于月亮的短诗。"),
    question("Write an email declining a meeting."),
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,",
]


def test_greedy_answers_are_those_of_llama_cpp_at_first_and_once_known(load, truth):
    llama = load()
    for _ in range(2):
        for prompt in QUESTIONS:
            assert take(llama, prompt, 64) == truth(prompt, 64)


def test_greedy_answers_stay_the_same_when_every_draft_is_evaluated(load, truth):
    llama = load(eager=True)
    for prompt in QUESTIONS[2:5]:
        for _ in range(2):
            assert take(llama, prompt, 48) == truth(prompt, 48)
        assert llama.stats.mat > 6


def one_by_one(plain, prompt, tokens):
    """Logits of plain decoding behind the prompt and behind each of the tokens."""
    plain.reset()
    plain.eval(tokenized(plain, prompt))
    rows = [logits(plain)]
    for token in tokens:
        plain.eval([token])
        rows.append(logits(plain))
    return rows


def out_of_order(llama, prompt, tokens):
    """The same logits by small trees, whose commits leave the KV cells out of order."""
    llama.reset()
    llama.eval(tokenized(llama, prompt))
    target = llama._target
    rows = [target.logits().copy()]
    for root, child in itertools.zip_longest(tokens[::2], tokens[1::2]):
        nodes = np.asarray([7, 11, child or 0, 13], np.int32)
        found = target.evaluate(root, nodes, np.full(4, -1, np.int32))
        rows += [found[0].copy(), found[3].copy()]
        target.advance(0)
        if child is not None:
            target.advance(3)
        target.settle()
    return rows[: len(tokens) + 1]


def gap(row, first, second):
    return float(row[first] - row[second])


def test_paper_differs_only_where_the_order_of_cells_decides(load, plain, truth):
    """Cells out of order are summed in another order, which changes the last bits of the logits."""
    prompts, n = QUESTIONS[2:5], 32
    paper = load(drafting="paper")
    answers = {(visit, prompt): take(paper, prompt, n) for visit in (1, 2) for prompt in prompts}
    assert paper.stats.mat > 2
    noise, differences = 0.0, []
    for prompt in prompts:
        tokens = truth(prompt, n)
        rows = one_by_one(plain, prompt, tokens)
        for row, other in zip(rows, out_of_order(paper, prompt, tokens), strict=True):
            best, second = np.argsort(row)[-1:-3:-1]
            noise = max(noise, abs(gap(row, best, second) - gap(other, best, second)))
        for answer in (answers[visit, prompt] for visit in (1, 2)):
            pairs = zip(rows, tokens, answer, strict=False)
            gaps = [gap(row, token, ours) for row, token, ours in pairs if token != ours]
            differences += gaps[:1]
    assert noise < 2, "too much for another order of summation"
    assert all(difference <= noise for difference in differences)


def test_every_logit_is_kept_where_all_are_asked_for(
    load_tiny, tiny_settings, tiny_truth, monkeypatch
):
    small = {"n_ctx": 128, "logits_all": True}
    plain = llama_cpp.Llama(**{**tiny_settings, **small})
    llama = load_tiny(eager=True, **small)
    for n in (2, 17, 40, 40):
        for model in (plain, llama):
            assert take(model, ASKED, n) == tiny_truth(ASKED, n)
        np.testing.assert_allclose(llama._scores, plain._scores, rtol=0, atol=ROUNDING)
    assert llama.stats.mat > 6
    plain.close()


@pytest.mark.parametrize("extra", range(22))
def test_stopping_criteria_see_and_stop_the_same(tiny, tiny_plain, extra):
    """llama_cpp calls the criterion once more, behind the last token."""
    outcomes = []
    for model in (tiny_plain, tiny):
        seen = []

        def criterion(input_ids, logits, seen=seen):
            seen.append(input_ids.tolist())
            assert logits.shape == (tiny_plain.n_vocab(),)
            return len(input_ids) >= len(ASKED) + extra

        model.reset()
        output = model.create_completion(
            ASKED,
            max_tokens=20,
            temperature=0.0,
            stopping_criteria=llama_cpp.StoppingCriteriaList([criterion]),
        )
        outcomes.append((seen, history(model), output["choices"], output["usage"]))
    assert outcomes[0] == outcomes[1]
    assert_in_agreement(tiny)


def test_a_stopping_criterion_sees_the_logits_behind_the_history(tiny, tiny_plain, tiny_truth):
    expected, seen = [], []
    tiny_plain.reset()
    for tokens in (ASKED, *([token] for token in tiny_truth(ASKED, 39))):
        tiny_plain.eval(tokens)
        expected.append(logits(tiny_plain))
    take(tiny, ASKED, 40, stopping_criteria=lambda ids, row: seen.append(np.array(row)))
    np.testing.assert_allclose(seen, expected, atol=ROUNDING)
