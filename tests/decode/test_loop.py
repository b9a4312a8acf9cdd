"""Losslessness on the scripted target: whatever is drafted, the target decides."""

import contextlib
from collections import deque
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from aded_edge.decode.budget import CostBudget, FixedBudget
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.loop import LESSONS, Loop
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans
from aded_edge.draft.tree import DraftTree
from aded_edge.errors import EvaluationError
from tests.scripted import ScriptedTarget

VOCABULARY = 6
PROMPT = [1, 2, 3]
EMPTY = np.empty(0, np.int32)


def greedy(row, logits):
    return int(logits.argmax())


def sampler(seed, temperature=1.0):
    rng = np.random.default_rng(seed)

    def choose(row, logits):
        odds = np.exp((logits - logits.max()) / temperature, dtype=np.float64)
        return int(rng.choice(len(odds), p=odds / odds.sum()))

    return choose


class NoDrafter:
    def draft(self, history, root, max_nodes, worth):
        return DraftTree.empty()

    def learn(self, step):
        pass


class TreeDrafter(NoDrafter):
    """Drafts what it is told; keeps the steps it is shown."""

    def __init__(self, make):
        self.make = make
        self.steps = []

    def draft(self, history, root, max_nodes, worth):
        return self.make([*history[-2:].tolist(), root], max_nodes)

    def learn(self, step):
        self.steps.append(step)


def likeliest(target, path):
    return int(target.behind(path).argmax())


def continuation(target, path, n):
    """What the target itself says behind `path`, greedily."""
    path = list(path)
    for _ in range(n):
        path.append(likeliest(target, path))
    return path[-n:]


def perfect_chain(target):
    return lambda path, most: DraftTree.chain(continuation(target, path, min(most, 5)))


def adversarial_chain(target):
    """Right at first, then always the target's least likely token."""

    def make(path, most):
        right = continuation(target, path, 1)
        worst = int(target.behind([*path, *right]).argmin())
        return DraftTree.chain([*right, worst, worst][:most])

    return make


def perfect_tree(target):
    """Every token of the vocabulary behind the root, and the right ones behind each."""

    def make(path, most):
        tokens, parents = list(range(VOCABULARY)), [-1] * VOCABULARY
        for node in range(VOCABULARY):
            tokens += continuation(target, [*path, node], 1)
            parents.append(node)
        return DraftTree.build(tokens, parents).prefix(most)

    return make


def adversarial_tree(target):
    """Everything but what the target will say."""

    def make(path, most):
        right = continuation(target, path, 1)[0]
        wrong = [token for token in range(VOCABULARY) if token != right]
        tokens = wrong + [right] * len(wrong)
        parents = [-1] * len(wrong) + list(range(len(wrong)))
        return DraftTree.build(tokens, parents).prefix(most)

    return make


def random_tree(target):
    rng = np.random.default_rng(5)

    def make(path, most):
        tokens, parents = [], []
        for _ in range(min(int(rng.integers(0, 12)), most)):
            parent = int(rng.integers(-1, len(tokens)))
            token = int(rng.integers(VOCABULARY))
            if (parent, token) not in zip(parents, tokens, strict=True):
                tokens.append(token)
                parents.append(parent)
        return DraftTree.build(tokens, parents)

    return make


DRAFTS = [perfect_chain, adversarial_chain, perfect_tree, adversarial_tree, random_tree]


def ngram(seed=0, sharpness=3.0):
    return ScriptedTarget.ngram(VOCABULARY, order=2, seed=seed, sharpness=sharpness)


def decode(target, drafter, n, choose=greedy, budget=None):
    target.read(PROMPT)
    loop = Loop(target, drafter, budget or FixedBudget(16))
    tokens = list(islice(loop.run(choose), n))
    return tokens, loop


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


class Priced(CostBudget):
    """Goes by a price list, whatever evaluations take here and now."""

    def observe(self, width, seconds):
        pass


@pytest.mark.parametrize("costs", [{1: 1.0, 4: 1.3, 16: 2.0}, {1: 1.0, 2: 1.9, 4: 3.9}])
def test_a_drafter_that_learns_stays_lossless_and_gets_faster(costs):
    plain, _ = decode(ngram(), NoDrafter(), 400)
    drafter = AdaptiveDrafter(matrix=TrigramMatrix(), spans=Spans(1 << 12))
    paid = []
    for _ in range(2):
        target = ngram()
        said, _ = decode(target, drafter, 400, budget=Priced(CostCurve(costs)))
        assert said == plain
        paid.append(sum(costs[min(w for w in costs if w >= width)] for width in target.widths))
    assert paid[1] <= paid[0] * 1.02, "a plain step now and then is paid for, too"
    if costs[4] < 2:
        assert paid[1] < 200


@settings(max_examples=60, deadline=None)
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


def test_every_step_is_taught_as_it_went():
    target = ngram()
    drafter = TreeDrafter(perfect_chain(target))
    tokens, loop = decode(target, drafter, 41)
    steps = drafter.steps[1:]  # the first is the prompt's
    assert sum(len(step.emitted) for step in drafter.steps) == len(tokens)
    for step in steps[:-1]:
        assert step.parents.tolist() == [-1, *range(len(step.emitted) - 1)]
        assert len(step.lasts) == len(step.draft) + 1
        np.testing.assert_array_equal(step.lasts[1:], step.draft.tokens)
        assert step.top_tokens[0, 0] == step.emitted[0]
        assert step.befores[1] == step.lasts[0]
    assert loop.meter.accepted == sum(len(step.emitted) - 1 for step in steps)
    assert loop.meter.drafted == sum(len(step.draft) for step in steps)


class Diary(ScriptedTarget):
    """Notes in `events` what it is asked, from the first step on."""

    @classmethod
    def of(cls, target, refuse=None):
        own = cls(target._logits_of, VOCABULARY)
        own.events, own.refuse = [], refuse
        return own

    def submit(self, *arguments):
        self.note("submit")
        super().submit(*arguments)

    def collect(self):
        self.note("collect")
        return super().collect()

    def note(self, event):
        self.events.append(event)
        if self.refuse == (event, self.events.count(event)):
            raise EvaluationError("no more")


class DiaryDrafter(TreeDrafter):
    """Notes beside its target what it is asked."""

    def __init__(self, target):
        super().__init__(perfect_chain(target))
        self.events = target.events

    def draft(self, *arguments):
        self.events.append("draft")
        return super().draft(*arguments)

    def learn(self, step):
        self.events.append("learn")
        super().learn(step)


def diary(n, refuse=None, stop=None):
    """What is said until it ends, at most n tokens; the drafter and all events."""
    target = Diary.of(ngram(), refuse)
    target.read(PROMPT)
    drafter, said = DiaryDrafter(target), []
    stream = Loop(target, drafter, FixedBudget(16)).run(greedy, stop)
    with contextlib.suppress(EvaluationError), contextlib.closing(stream):
        for token in islice(stream, n):
            said.append(token)
    return said, drafter, target.events


def test_steps_are_learned_while_a_later_one_is_evaluated():
    """Four at a time, and what is left at the end."""
    _, drafter, events = diary(150)
    steps = len(drafter.steps) - 1
    assert steps > 3 * LESSONS
    one_step, lessons = ["draft", "submit", "collect"], ["learn"] * LESSONS
    several = [*one_step * (LESSONS - 1), "draft", "submit", *lessons, "collect"]
    whole, rest = divmod(steps, LESSONS)
    left = 1 + steps - whole * LESSONS
    assert events == [*several * whole, *one_step * rest, *["learn"] * left]


def assert_all_was_learned_once(said, drafter):
    """Whatever was said is what was taught, step by step, in order."""
    assert [token for step in drafter.steps for token in step.emitted.tolist()] == said
    lasts = [int(step.lasts[0]) for step in drafter.steps]
    assert lasts[:2] == [PROMPT[-1], said[0]][: len(lasts)]
    for before, after in pairwise(drafter.steps):
        assert after.lasts[0] == before.emitted[-1]


@pytest.mark.parametrize("length", range(2, 30))
def test_every_step_is_learned_once_wherever_the_generation_ends(length):
    said, drafter, events = diary(length)
    assert len(said) == length
    assert_all_was_learned_once(said, drafter)
    assert events[-1] == "learn"


@pytest.mark.parametrize("event", ["submit", "collect"])
@pytest.mark.parametrize("time", [1, 2, 5])
def test_every_step_is_learned_once_when_an_evaluation_fails(event, time):
    said, drafter, events = diary(100, refuse=(event, time))
    assert len(said) < 100
    assert_all_was_learned_once(said, drafter)
    assert events.count("learn") == events.count("submit")


@pytest.mark.parametrize("length", [1, 2, 9, 14])
def test_every_step_is_learned_once_when_a_criterion_stops_it(length):
    said, drafter, events = diary(100, stop=lambda history, _: len(history) == 2 + length)
    assert len(said) == length - 1
    assert [token for step in drafter.steps for token in step.emitted.tolist()] == said
    assert events.count("learn") == 1 + events.count("submit")


def test_what_the_prompt_s_own_row_says_is_learned():
    _, drafter, _ = diary(2)
    first = drafter.steps[0]
    assert (first.befores.tolist(), first.lasts.tolist()) == ([PROMPT[-2]], [PROMPT[-1]])
    assert first.top_tokens[0, 0] == first.emitted[0]
    assert len(first.draft) == 0


def test_what_a_step_taught_does_not_change_with_the_history():
    """A drafter keeps steps until they are saved, and meanwhile the history becomes another."""
    target = ngram()
    drafter = TreeDrafter(perfect_chain(target))
    decode(target, drafter, 20)
    kept = [[array.tolist() for array in step[1:]] for step in drafter.steps]
    target.read([5, 4, 5, 4])
    assert [[array.tolist() for array in step[1:]] for step in drafter.steps] == kept


def test_a_consumer_that_evaluates_something_of_its_own_spoils_no_lesson():
    """The candidates are those of the step, whatever the context was used for meanwhile."""
    plain, _ = decode(ngram(), NoDrafter(), 30)
    target = ngram()
    target.read(PROMPT)
    drafter = TreeDrafter(perfect_chain(target))
    said = []
    for token in Loop(target, drafter, FixedBudget(16)).run(greedy):
        said.append(token)
        if len(said) == 30:
            break
        target.settle()
        target.evaluate(5, EMPTY, EMPTY)
        target.advance(0)
        target.settle()
    assert said == plain
    for step in drafter.steps:
        for row, token in zip(step.parents + 1, step.emitted, strict=True):
            assert step.top_tokens[row, 0] == token


def test_the_budget_says_what_is_searched_for():
    class Asked(NoDrafter):
        def draft(self, history, root, max_nodes, worth):
            asked.append((max_nodes, worth))
            return DraftTree.empty()

    asked = []
    budget = Priced(CostCurve({1: 1.0, 2: 1.1, 4: 1.2}))
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
