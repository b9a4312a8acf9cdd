"""What the loop gives the drafter to learn, and when."""

import contextlib
from itertools import islice, pairwise

import numpy as np
import pytest

from aded_edge.decode.budget import FixedBudget
from aded_edge.decode.loop import LEARN_TOGETHER, Loop
from aded_edge.errors import EvaluationError
from tests.decode.drafts import (
    EMPTY,
    PROMPT,
    VOCABULARY,
    NoDrafter,
    TreeDrafter,
    decode,
    greedy,
    ngram,
    perfect_chain,
)
from tests.scripted import ScriptedTarget


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


class LoggingTarget(ScriptedTarget):
    """Lists in `events` the calls of `submit` and `collect`, and fails at one of them."""

    @classmethod
    def of(cls, target, refuse=None):
        own = cls(target._logits_of, VOCABULARY)
        own.events, own.refuse = [], refuse
        return own

    def submit(self, *arguments):
        self.log("submit")
        super().submit(*arguments)

    def collect(self):
        self.log("collect")
        return super().collect()

    def log(self, event):
        self.events.append(event)
        if self.refuse == (event, self.events.count(event)):
            raise EvaluationError("no more")


class LoggingDrafter(TreeDrafter):
    """Adds its calls to the target's `events`."""

    def __init__(self, target):
        super().__init__(perfect_chain(target))
        self.events = target.events

    def draft(self, *arguments):
        self.events.append("draft")
        return super().draft(*arguments)

    def learn(self, *steps):
        self.events += ["learn"] * len(steps)
        super().learn(*steps)


def logged(n, refuse=None, stop=None):
    """Generate at most n tokens; returns them, the drafter and all events."""
    target = LoggingTarget.of(ngram(), refuse)
    target.read(PROMPT)
    drafter, said = LoggingDrafter(target), []
    stream = Loop(target, drafter, FixedBudget(16)).run(greedy, stop)
    with contextlib.suppress(EvaluationError), contextlib.closing(stream):
        for token in islice(stream, n):
            said.append(token)
    return said, drafter, target.events


def test_steps_are_learned_while_a_later_one_is_evaluated():
    """LEARN_TOGETHER at a time, and the rest at the end."""
    _, drafter, events = logged(150)
    steps = len(drafter.steps) - 1
    assert steps > 3 * LEARN_TOGETHER
    one_step, learning = ["draft", "submit", "collect"], ["learn"] * LEARN_TOGETHER
    several = [*one_step * (LEARN_TOGETHER - 1), "draft", "submit", *learning, "collect"]
    whole, rest = divmod(steps, LEARN_TOGETHER)
    left = 1 + steps - whole * LEARN_TOGETHER
    assert events == [*several * whole, *one_step * rest, *["learn"] * left]


def assert_all_was_learned_once(said, drafter):
    """The drafter learned every emitted token once, step by step, in order."""
    assert [token for step in drafter.steps for token in step.emitted.tolist()] == said
    lasts = [int(step.lasts[0]) for step in drafter.steps]
    assert lasts[:2] == [PROMPT[-1], said[0]][: len(lasts)]
    for before, after in pairwise(drafter.steps):
        assert after.lasts[0] == before.emitted[-1]


@pytest.mark.parametrize("length", range(2, 30))
def test_every_step_is_learned_once_wherever_the_generation_ends(length):
    said, drafter, events = logged(length)
    assert len(said) == length
    assert_all_was_learned_once(said, drafter)
    assert events[-1] == "learn"


@pytest.mark.parametrize("event", ["submit", "collect"])
@pytest.mark.parametrize("time", [1, 2, 5])
def test_every_step_is_learned_once_when_an_evaluation_fails(event, time):
    said, drafter, events = logged(100, refuse=(event, time))
    assert len(said) < 100
    assert_all_was_learned_once(said, drafter)
    assert events.count("learn") == events.count("submit")


@pytest.mark.parametrize("length", [1, 2, 9, 14])
def test_every_step_is_learned_once_when_a_criterion_stops_it(length):
    said, drafter, events = logged(100, stop=lambda history, _: len(history) == 2 + length)
    assert len(said) == length - 1
    assert [token for step in drafter.steps for token in step.emitted.tolist()] == said
    assert events.count("learn") == 1 + events.count("submit")


def test_what_the_prompt_s_own_row_says_is_learned():
    _, drafter, _ = logged(2)
    first = drafter.steps[0]
    assert (first.befores.tolist(), first.lasts.tolist()) == ([PROMPT[-2]], [PROMPT[-1]])
    assert first.top_tokens[0, 0] == first.emitted[0]
    assert len(first.draft) == 0


def test_what_a_step_taught_does_not_change_with_the_history():
    """A drafter keeps steps until they are saved; meanwhile the history changes."""
    target = ngram()
    drafter = TreeDrafter(perfect_chain(target))
    decode(target, drafter, 20)
    kept = [[array.tolist() for array in step[1:]] for step in drafter.steps]
    target.read([5, 4, 5, 4])
    assert [[array.tolist() for array in step[1:]] for step in drafter.steps] == kept


def test_a_consumer_that_evaluates_something_of_its_own_spoils_no_step():
    """The candidates learned are those of the step, whatever was evaluated meanwhile."""
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
