"""Losslessness on the scripted target: whatever is drafted, the target decides."""

from collections import deque
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from aded_edge.decode.budget import CostBudget, FixedBudget
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.loop import Loop
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans
from aded_edge.draft.tree import DraftTree
from aded_edge.errors import EvaluationError
from tests.decode.drafts import (
    DRAFTS,
    PROMPT,
    VOCABULARY,
    NoDrafter,
    TreeDrafter,
    adversarial_tree,
    decode,
    greedy,
    likeliest,
    ngram,
    perfect_chain,
    perfect_tree,
    random_tree,
    sampler,
)
from tests.scripted import ScriptedTarget


@pytest.mark.parametrize("draft", DRAFTS)
def test_greedy_text_is_that_of_plain_decoding(draft):
    plain, _ = decode(ngram(), NoDrafter(), 300)
    target = ngram()
    drafted, loop = decode(target, TreeDrafter(draft(target)), 300)
    assert drafted == plain
    assert loop.meter.steps < 299 or draft is adversarial_tree


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_same_draws_give_the_same_sampled_text(draft):
    plain, _ = decode(ngram(), NoDrafter(), 300, sampler(7))
    target = ngram()
    assert decode(target, TreeDrafter(draft(target)), 300, sampler(7))[0] == plain


@pytest.mark.parametrize("draft", [perfect_tree, adversarial_tree, random_tree])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampled_text_follows_the_distribution_of_the_target(draft, temperature):
    """Tokens behind one context, against the known odds: chi-square with a fixed seed."""
    target = ngram(sharpness=1.0)
    choose = sampler(11, temperature)
    tokens, _ = decode(target, TreeDrafter(draft(target)), 8_000, choose)
    text = np.asarray([*PROMPT, *tokens])
    contexts = text[:-2] * VOCABULARY + text[1:-1]
    context = np.bincount(contexts).argmax()
    seen = np.bincount(text[2:][contexts == context], minlength=VOCABULARY)
    logits = target.behind([context // VOCABULARY, context % VOCABULARY]) / temperature
    odds = np.exp(logits - logits.max(), dtype=np.float64)
    assert seen.sum() > 200
    assert chisquare(seen, seen.sum() * odds / odds.sum()).pvalue > 0.001


def test_sampled_text_has_the_same_statistics_with_and_without_drafts():
    """Different draws, same law: tri-gram counts of both texts in one contingency table."""
    target = ngram(sharpness=1.0)
    plain, _ = decode(ngram(sharpness=1.0), NoDrafter(), 8_000, sampler(1))
    drafted, _ = decode(target, TreeDrafter(random_tree(target)), 8_000, sampler(2))
    counts = [
        np.bincount(
            np.dot(np.lib.stride_tricks.sliding_window_view(text, 3), [36, 6, 1]), minlength=216
        )
        for text in (plain, drafted)
    ]
    table = np.asarray(counts)[:, np.sum(counts, axis=0) > 20]
    assert chi2_contingency(table).pvalue > 0.001


class FixedCosts(CostBudget):
    """Uses given costs, whatever evaluations take on this machine."""

    def observe(self, width, seconds):
        pass


@pytest.mark.parametrize("costs", [{1: 1.0, 4: 1.3, 16: 2.0}, {1: 1.0, 2: 1.9, 4: 3.9}])
def test_a_drafter_that_learns_stays_lossless_and_gets_faster(costs):
    plain, _ = decode(ngram(), NoDrafter(), 400)
    drafter = AdaptiveDrafter(matrix=TrigramMatrix(), spans=Spans(1 << 12))
    paid = []
    for _ in range(2):
        target = ngram()
        said, _ = decode(target, drafter, 400, budget=FixedCosts(CostCurve(costs)))
        assert said == plain
        paid.append(sum(costs[min(w for w in costs if w >= width)] for width in target.widths))
    assert paid[1] <= paid[0] * 1.02, "a plain step now and then is paid for, too"
    if costs[4] < 2:
        assert paid[1] < 200


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 4))
def test_closing_anywhere_leaves_the_history_of_plain_decoding(seed, length, which):
    target = ngram(seed % 5)
    target.read(PROMPT)
    stream = Loop(target, TreeDrafter(DRAFTS[which](target)), FixedBudget(16)).run(greedy)
    said = list(islice(stream, length))
    stream.close()
    assert target.history.tolist() == [*PROMPT, *said[:-1]]
    assert target.ticket == 0
    assert int(target.logits().argmax()) == said[-1]


def test_a_stopping_criterion_ends_before_the_token_and_sees_the_history():
    target, seen = ngram(), []

    def stop(history, logits):
        seen.append((history.tolist(), int(logits.argmax())))
        return len(seen) == 8

    plain, _ = decode(ngram(), NoDrafter(), 8)
    target.read(PROMPT)
    loop = Loop(target, TreeDrafter(perfect_chain(target)), FixedBudget(16))
    assert list(loop.run(greedy, stop)) == plain[:7]
    assert seen == [([*PROMPT, *plain[:n]], plain[n]) for n in range(8)]
    assert target.history.tolist() == [*PROMPT, *plain[:7]]
    assert loop.meter.tokens == 7


def test_tokens_sent_in_are_forced_behind_the_last_one():
    target = ngram()
    target.read(PROMPT)
    stream = Loop(target, TreeDrafter(perfect_chain(target)), FixedBudget(16)).run(greedy)
    said = [next(stream), next(stream), next(stream)]
    after = stream.send([4, 0])
    history = [*PROMPT, *said, 4, 0]
    assert target.history.tolist() == history
    assert after == likeliest(target, history)


def test_a_consumer_that_settles_the_target_ends_the_step_and_no_more():
    plain, _ = decode(ngram(), NoDrafter(), 40)
    target = ngram()
    target.read(PROMPT)
    said = []
    for token in Loop(target, TreeDrafter(perfect_chain(target)), FixedBudget(16)).run(greedy):
        said.append(token)
        target.settle()
        if len(said) == 40:
            break
    assert said == plain


def test_the_budget_says_what_is_searched_for():
    class Asked(NoDrafter):
        def draft(self, history, root, max_nodes, worth):
            asked.append((max_nodes, worth))
            return DraftTree.empty()

    asked = []
    budget = FixedCosts(CostCurve({1: 1.0, 2: 1.1, 4: 1.2}))
    target = ScriptedTarget(ngram()._logits_of, VOCABULARY, n_ctx=12)
    with pytest.raises(EvaluationError):
        decode(target, Asked(), 100, budget=budget)
    assert asked[0] == (budget.most_nodes, budget.worth)
    assert [most for most, _ in asked][-5:] == [3, 2, 1, 0, 0], "nor more than the context holds"


def test_the_context_is_filled_to_its_end_and_then_refused():
    target = ScriptedTarget(ngram()._logits_of, VOCABULARY, n_ctx=20)
    target.read(PROMPT)
    stream = Loop(target, TreeDrafter(perfect_chain(target)), FixedBudget(16)).run(greedy)
    said = []
    with pytest.raises(EvaluationError, match="do not fit"):
        deque(map(said.append, stream))
    assert target.history.tolist() == [*PROMPT, *said[:-1]]
    assert len(target.history) == 20


class Filling(FixedBudget):
    """Fills every draft up to 16 nodes, as a cost curve that falls may ask for."""

    def cut(self, tree):
        return tree.filled(16) if len(tree) else tree


@pytest.mark.parametrize("draft", DRAFTS)
def test_a_draft_that_is_filled_up_changes_no_token(draft):
    plain, _ = decode(ngram(), NoDrafter(), 200)
    target = ngram()
    said, _ = decode(target, TreeDrafter(draft(target)), 200, budget=Filling(16))
    assert said == plain
    assert 17 in target.widths


def test_a_draft_is_filled_up_no_further_than_the_context():
    target = ScriptedTarget(ngram()._logits_of, VOCABULARY, n_ctx=20)
    target.read(PROMPT)
    stream = Loop(target, TreeDrafter(perfect_chain(target)), Filling(16)).run(greedy)
    with pytest.raises(EvaluationError, match="do not fit"):
        deque(stream)
    assert len(target.history) == 20


def test_the_budget_sees_what_settling_takes(monkeypatch):
    """Rejected branches are removed there: that is a part of what a tree costs."""
    seconds = {"submit": 3.0, "settle": 5.0}
    now = [0.0]

    class Slow(ScriptedTarget):
        def submit(self, *arguments):
            super().submit(*arguments)
            now[0] += seconds["submit"]

        def settle(self):
            now[0] += seconds["settle"] if self.ticket else 0.0
            super().settle()

    class Watching(FixedBudget):
        def observe(self, width, spent):
            seen.append(spent)

    seen = []
    monkeypatch.setattr("aded_edge.decode.stats.time.perf_counter", lambda: now[0])
    target = Slow(ngram()._logits_of, VOCABULARY)
    _, loop = decode(target, TreeDrafter(adversarial_tree(target)), 20, budget=Watching(16))
    assert seen == [8.0] * (loop.meter.steps)
    assert loop.meter.seconds["accepting"] >= 5.0 * loop.meter.steps
