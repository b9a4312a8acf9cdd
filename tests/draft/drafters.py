"""What the tests of the drafter share: small drafters, and generations that teach them."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import strategies as st

from aded_edge.decode.budget import FixedBudget
from aded_edge.decode.loop import Loop
from aded_edge.draft.calibration import ACCEPTED, EXPECTED, TRUST
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans
from tests.decode.drafts import greedy
from tests.naive import contents
from tests.scripted import ScriptedTarget

VOCABULARY = 14  # fewer than a row's slots, and few enough that contexts repeat
ROOM = 1 << 12


def fresh(kind=AdaptiveDrafter, **options):
    return kind(matrix=TrigramMatrix(), spans=Spans(ROOM), **{"keep_news": True, **options})


class Cut(FixedBudget):
    """Evaluates no more than the first nodes of a draft."""

    def __init__(self, most):
        super().__init__(16)
        self.most = most

    def cut(self, tree):
        return tree.prefix(self.most)


class Recorder:
    """Passes calls on to a drafter, and keeps the steps that it learned from."""

    def __init__(self, drafter):
        self.drafter = drafter
        self.steps = []

    def draft(self, *arguments):
        return self.drafter.draft(*arguments)

    def learn(self, *steps):
        self.steps += steps
        self.drafter.learn(*steps)


def generate(drafter, prompts, tokens, cut=4, seed=0):
    """Generate after each prompt, as `Llama` does; returns the steps."""
    target = ScriptedTarget.ngram(VOCABULARY, order=3, seed=seed, sharpness=2.0)
    recorder = Recorder(drafter)
    for prompt in prompts:
        target.read(prompt)
        drafter.read(target.history, 0)
        stream = Loop(target, recorder, Cut(cut)).run(greedy)
        text = list(islice(stream, tokens))
        stream.close()
        assert len(text) == tokens
    return recorder.steps


prompts = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9), min_size=1, max_size=3
)


def flat(rows):
    """(context, token) -> weight; a row's total is the weight of the token None."""
    weights = {(c, None): total for c, (total, _, _) in rows.items()}
    return weights | {(c, t): w for c, (_, _, held) in rows.items() for t, w in held.items()}


def outcomes(drafter):
    expected, accepted = drafter.calibration.counts[[EXPECTED, ACCEPTED]]
    return {int(c): (expected[c], accepted[c]) for c in np.flatnonzero(expected)}


def assert_learned_alike(drafter):
    """What the drafter hands on is what it learned: rows, tokens and outcomes."""
    student = fresh()
    student.absorb(drafter.take_news().learned())
    assert flat(contents(student.matrix)) == flat(contents(drafter.matrix))
    tail = drafter.spans.tail(ROOM)
    assert student.spans.tail(len(tail)).tolist() == tail.tolist()
    assert outcomes(student) == outcomes(drafter)
    assert student.calibration.counts[TRUST] == pytest.approx(drafter.calibration.counts[TRUST])
