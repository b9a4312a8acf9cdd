"""What one drafter learned, handed on to another."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.decode.loop import Loop
from aded_edge.draft.calibration import NEW_EXPECTED
from aded_edge.draft.matrix import MOST_WEIGHT
from tests.decode.drafts import greedy
from tests.draft.drafters import ROOM, VOCABULARY, Cut, fresh, generate, prompts
from tests.draft.reading import copies
from tests.naive import contents, ids
from tests.scripted import ScriptedTarget


def assert_drafts_alike(one, other):
    """After every context that one of them logged, both draft the same."""
    text = one.spans.tail(ROOM)
    text = text[text >= 0]
    drafted = 0
    for end in range(len(text)):
        trees = [drafter.draft(text[:end], int(text[end]), 12) for drafter in (one, other)]
        assert trees[0].tokens.tolist() == trees[1].tokens.tolist()
        assert trees[0].parents.tolist() == trees[1].parents.tolist()
        assert trees[0].probs == pytest.approx(trees[1].probs, rel=1e-4)
        drafted += len(trees[0])
    assert drafted, "two drafters that know nothing agree, too"


@given(prompts, st.integers(0, 8), st.integers(0, 9))
def test_a_fresh_drafter_that_absorbs_what_was_learned_drafts_alike(prompts, cut, seed):
    teacher, student = fresh(), fresh()
    generate(teacher, prompts, 30, cut, seed)
    student.absorb(teacher.take_news().learned())
    assert_drafts_alike(teacher, student)


def test_what_was_learned_turn_by_turn_adds_up():
    teacher, student = fresh(), fresh()
    target = ScriptedTarget.ngram(VOCABULARY, order=3, sharpness=2.0)
    for asked in ([1, 2, 3], [4, 5], [6], []):  # each turn goes on from the history before it
        known = len(target.history)
        target.read([*target.history.tolist(), *asked])
        teacher.read(target.history, known)
        stream = Loop(target, teacher, Cut(4)).run(greedy)
        list(islice(stream, 10))
        stream.close()
        student.absorb(teacher.take_news().learned())
    weights = [total for total, _, _ in contents(teacher.matrix).values()]
    assert max(weights) <= MOST_WEIGHT / 2, "rows are halved at other times when added up"
    # Not the drafts: sums in another order round otherwise, over the edges of calibration bands.
    known, learned = contents(teacher.matrix), contents(student.matrix)
    assert known.keys() == learned.keys()
    for context, (total, _, successors) in known.items():
        assert learned[context][0] == pytest.approx(total)
        assert learned[context][2] == pytest.approx(successors)
    counts = [drafter.calibration.counts[:NEW_EXPECTED] for drafter in (teacher, student)]
    np.testing.assert_allclose(*counts, atol=1e-5)


@pytest.mark.parametrize("hand_on", [lambda d: d.take_news().learned(), lambda d: d.everything()])
def test_context_is_counted_once_by_who_absorbs_it(hand_on):
    """The context before a prompt was learned before, so it must not be counted twice."""
    teacher, student = fresh(), fresh()
    teacher.read(ids(1, 2, 3, 4))
    teacher.read(ids(1, 2, 3, 4, 5), 4)
    student.absorb(hand_on(teacher))
    assert copies(teacher.spans, ids(1, 2, 3)) == {3: [4]}
    assert copies(student.spans, ids(1, 2, 3)) == {3: [4]}
    assert copies(student.spans, ids(2, 3, 4)) == {3: [5]}


def test_what_was_learned_later_is_younger_for_who_absorbs_it():
    """The size bound drops the oldest, so the parts must share one order in time."""
    teacher, student = fresh(), fresh()
    for n in range(10):
        teacher.read(ids(20 + n, 21 + n))
    student.absorb(teacher.take_news().learned())
    teacher.read(ids(1, 2))
    student.absorb(teacher.take_news().learned())
    stamps = {context: stamp for context, (_, stamp, _) in contents(student.matrix).items()}
    assert stamps[1,] > stamps[29,] > stamps[20,]


def test_all_that_is_known_can_be_handed_on_at_once():
    teacher, second, third = fresh(), fresh(), fresh()
    generate(teacher, [[1, 2, 3]], 30)
    second.absorb(teacher.take_news().learned())
    generate(second, [[4, 5, 6]], 30)
    third.absorb(second.everything())
    assert_drafts_alike(second, third)


def test_what_was_learned_is_taken_once():
    drafter = fresh()
    generate(drafter, [[1, 2, 3]], 10)
    assert drafter.take_news().events
    again = drafter.take_news()
    assert not again.events
    assert not np.any(again.expected)
    assert not np.any(again.accepted)


def test_what_was_absorbed_is_not_learned_anew():
    teacher, student = fresh(), fresh()
    generate(teacher, [[1, 2, 3]], 10)
    student.absorb(teacher.take_news().learned())
    assert not student.take_news().events
    assert not np.any(student.calibration.counts[NEW_EXPECTED:])


def test_a_drafter_that_is_not_asked_to_keeps_no_news():
    drafter = fresh(keep_news=False)
    generate(drafter, [[1, 2, 3]], 10)
    assert not drafter.take_news().events


def test_what_was_taken_does_not_change_when_the_callers_arrays_do():
    drafter, text = fresh(), ids(1, 2, 3, 4)
    drafter.read(text)
    text[:] = 9
    assert drafter.take_news().learned().tokens.tolist() == [-1, -1, 1, 2, 3, 4]
