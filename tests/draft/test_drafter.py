"""The drafter: what it learns from texts and steps, and what it drafts then."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.draft.calibration import ACCEPTED, EXPECTED, PRIOR_TRUST
from aded_edge.draft.drafter import AdaptiveDrafter, PaperDrafter, Step
from aded_edge.draft.matrix import LEAST_PROB, TrigramMatrix
from aded_edge.draft.puct import PUCT_NODES
from aded_edge.draft.spans import LENGTHS, Spans
from aded_edge.draft.tree import DraftTree
from tests import naive
from tests.draft.drafters import (
    ROOM,
    VOCABULARY,
    assert_learned_alike,
    flat,
    fresh,
    generate,
    outcomes,
    prompts,
)
from tests.draft.reading import copies
from tests.naive import contents, ids


def teach(matrix, spans, calibration, step):
    """Teach the references what one step teaches a drafter."""
    draft, emitted = step.draft, step.emitted.tolist()
    for parent, token in zip(step.parents.tolist(), emitted, strict=True):
        for node in np.flatnonzero(draft.parents == parent):
            estimate = float(draft.estimates[node])
            calibration.record(int(draft.cells[node]), estimate, draft.tokens[node] == token)
    before = spans.tokens[-2:]
    spans.extend(emitted)
    matrix.observe([*before, *emitted], len(before))
    matrix.observe_top(*(array.tolist() for array in step[-4:]))


@given(prompts, st.integers(0, 8), st.integers(0, 9))
def test_a_step_teaches_matrix_spans_and_calibration(prompts, cut, seed):
    drafter = fresh()
    steps = iter(generate(drafter, prompts, 20, cut, seed))
    matrix, spans, calibration = naive.Matrix(), naive.Spans(ROOM), naive.Calibration()
    for prompt in prompts:
        matrix.observe(prompt)
        spans.append(prompt)
        generated = 0
        while generated < 20:
            step = next(steps)
            generated += len(step.emitted)
            teach(matrix, spans, calibration, step)
    assert next(steps, None) is None
    assert flat(contents(drafter.matrix)) == pytest.approx(flat(matrix.contents()), rel=1e-4)
    assert drafter.spans.tail(ROOM).tolist() == spans.tokens
    counts, cells = drafter.calibration.counts, calibration.cells
    assert set(np.flatnonzero(counts[EXPECTED]).tolist()) == set(cells)
    for cell, sums in cells.items():
        assert counts[[EXPECTED, ACCEPTED], cell].tolist() == pytest.approx(sums, rel=1e-4)


#   7 (cell 3) ┬ 8 (cell 5)        1 is a sibling of 7, and 9 a child of 8
#              └ 4 (cell 6)
DRAFT = DraftTree(
    ids(7, 1, 8, 4, 9),
    ids(-1, -1, 0, 0, 2),
    np.asarray([0.5, 0.4, 0.3, 0.2, 0.1], np.float32),
    np.asarray([0.5, 0.25, 0.5, 0.25, 0.75], np.float32),
    np.asarray([3, 4, 5, 6, 7], np.int16),
)


def step(parents, emitted, befores=(), lasts=(), tokens=(), probs=()):
    top = ids(*tokens).reshape(len(lasts), -1 if tokens else 1)
    return Step(
        DRAFT,
        ids(*parents),
        ids(*emitted),
        ids(*befores),
        ids(*lasts),
        top,
        np.asarray(probs, np.float32).reshape(top.shape),
    )


def test_nodes_that_were_cut_off_have_an_outcome_too():
    """Only node 0 was evaluated, and confirmed; then the target chose 4, which was cut off."""
    drafter = fresh()
    drafter.learn(step([-1, 0], [7, 4], [5, 6], [6, 7], [[7], [4]], [[0.5], [0.5]]))
    assert outcomes(drafter) == {3: (0.5, 1), 4: (0.25, 0), 5: (0.5, 0), 6: (0.25, 1)}


def test_a_step_that_stopped_at_once_teaches_what_was_evaluated():
    drafter = fresh()
    drafter.read(ids(5, 6))
    drafter.learn(step([], [], [5], [6], [[7, 8]], [[0.5, 0.25]]))
    assert outcomes(drafter) == {}
    assert drafter.spans.tail(ROOM).tolist() == [-1, 5, 6]
    assert contents(drafter.matrix)[5, 6][2] == {7: 0.5, 8: 0.25}
    assert_learned_alike(drafter)


def test_a_step_whose_rows_were_lost_teaches_what_was_emitted():
    drafter = fresh()
    drafter.read(ids(5, 6))
    drafter.learn(step([-1], [7]))
    assert outcomes(drafter) == {3: (0.5, 1), 4: (0.25, 0)}
    assert contents(drafter.matrix)[5, 6][2] == {7: 1.0}
    assert_learned_alike(drafter)


def test_candidates_that_are_hardly_likely_teach_nothing():
    drafter = fresh()
    drafter.learn(step([], [], [5], [6], [[7, 8]], [[0.5, LEAST_PROB / 2]]))
    assert contents(drafter.matrix)[5, 6][2] == {7: 0.5}
    assert_learned_alike(drafter)


def test_what_is_read_or_emitted_and_what_is_likely_weigh_as_told():
    drafter = fresh(hard=2.0, soft=0.5)
    drafter.read(ids(5, 6))
    drafter.learn(step([-1], [7], [5], [6], [[7, 8]], [[0.5, 0.25]]))
    rows = contents(drafter.matrix)
    assert rows[5,][2] == {6: 2.0}
    assert rows[5, 6][2] == {7: 2.25, 8: 0.125}


@pytest.mark.parametrize("soft", [0.0, 1.0])
def test_what_was_only_likely_is_drafted_unless_it_weighs_nothing(soft):
    drafter = fresh(soft=soft, trusting=True)
    drafter.learn(step([], [], [5], [6], [[7, 8]], [[0.5, 0.25]]))
    assert drafter.draft(ids(5), 6, 1).tokens.tolist() == ([7] if soft else [])


def test_contexts_are_as_long_as_they_may_be():
    drafter = fresh(longest=4)
    text = [*range(20, 26), 9, *range(30, 36), *[21, 22, 23, 24, 25, 8] * 3]
    drafter.read(ids(*text))
    far = drafter.draft(ids(20, 21, 22, 23, 24), 25, 1)
    drafter.longest = 6
    near = drafter.draft(ids(20, 21, 22, 23, 24), 25, 1)
    assert (far.tokens.tolist(), near.tokens.tolist()) == ([8], [9])


def test_a_drafter_that_trusts_takes_estimates_as_they_are():
    careful, trusting = fresh(), fresh(trusting=True)
    for drafter in (careful, trusting):
        drafter.read(ids(1, 2, 3, 4))
    trees = [drafter.draft(ids(1, 2), 3, 1) for drafter in (careful, trusting)]
    assert trees[0].estimates == trees[1].estimates == trees[1].probs
    assert trees[0].probs == pytest.approx(PRIOR_TRUST * trees[0].estimates)


@pytest.mark.parametrize("later", [2, 3, 5])
def test_a_long_copy_is_not_led_astray_by_later_texts_that_share_a_phrase(later):
    """Within the text its own continuation is drafted, elsewhere the latest one."""
    text = np.arange(100, 200, dtype=np.int32)
    phrase = text[60:68]
    drafter = fresh(max_leaves=1, trusting=True)
    drafter.read(text)
    for n in range(later):
        drafter.read(np.concatenate((ids(10 + n), phrase, ids(7, 6, 5, 4))))
    tree = drafter.draft(text[:59], int(text[59]), 20)
    assert tree.tokens.tolist() == text[60 : 60 + len(tree)].tolist()
    assert len(tree) > 8, "the draft goes beyond the phrase"
    inside = drafter.draft(text[:67], int(text[67]), 4)
    assert inside.tokens[0] == text[68]
    elsewhere = drafter.draft(np.concatenate((ids(3), phrase[:-1])), int(phrase[-1]), 4)
    assert elsewhere.tokens[0] == 7


def test_what_follows_on_an_unlikely_path_need_not_be_found():
    drafter = fresh(max_leaves=1, least=0.001)
    drafter.read(ids(*range(100, 130)))
    whole = drafter.draft(ids(100, 101), 102, 20)
    least = float(whole.probs[4])
    tree = drafter.draft(ids(100, 101), 102, 20, least)
    assert (
        tree.tokens.tolist() == whole.tokens[: np.count_nonzero(whole.probs >= least) + 1].tolist()
    )
    assert len(tree) < len(whole)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 40))
def test_a_prompt_read_in_two_parts_is_read_as_a_whole(text, start):
    start = min(start, len(text))
    whole, parts = fresh(), fresh()
    whole.read(ids(*text))
    parts.read(ids(*text[:start]))
    parts.read(ids(*text), start)
    assert flat(contents(parts.matrix)) == flat(contents(whole.matrix))
    for end in range(1, len(text)):
        context = ids(*text[:end])
        assert copies(parts.spans, context) == copies(whole.spans, context)
    assert_learned_alike(parts)


def test_a_part_of_a_prompt_is_found_by_the_context_before_it():
    drafter = fresh()
    drafter.read(ids(*range(50)), 40)
    assert copies(drafter.spans, ids(*range(40))) == {length: [40] for length in LENGTHS}
    assert copies(drafter.spans, ids(*range(39))) == {}
    assert (38, 39) in contents(drafter.matrix)
    assert (37, 38) not in contents(drafter.matrix)


def test_a_matrix_and_spans_that_are_given_are_used_though_empty():
    matrix, spans = TrigramMatrix(), Spans(64)
    drafter = AdaptiveDrafter(matrix=matrix, spans=spans)
    assert drafter.matrix is matrix
    assert drafter.spans is spans


def test_more_is_drafted_the_second_time():
    """What the target said once is drafted when it says it again."""
    drafter = fresh()
    accepted = []
    for _ in range(3):
        steps = generate(drafter, [[1, 2, 3]], 40, cut=8)
        accepted.append(sum(len(step.emitted) - 1 for step in steps))
    assert accepted[0] < accepted[1] <= accepted[2]
    assert accepted[2] > 25


def test_the_bounds_given_hold_for_every_draft():
    drafter = fresh(max_leaves=2, max_depth=3, least=0.1)
    generate(drafter, [[1, 2, 3]], 40, cut=8)
    for token in range(VOCABULARY):
        tree = drafter.draft(ids(1), token, 16)
        ends = set(range(len(tree))) - set(tree.parents.tolist())
        depths = [len(naive.path_to(i, tree.tokens, tree.parents)) for i in range(len(tree))]
        assert len(ends) <= 2
        assert max(depths, default=0) <= 3
        assert all(tree.probs >= np.float32(0.1))


def test_the_papers_drafter_needs_two_tokens_and_keeps_its_bound():
    drafter = fresh(PaperDrafter)
    drafter.read(np.random.default_rng(0).integers(0, 30, 8000).astype(np.int32))
    assert len(drafter.draft(ids(), 4, 100)) == 0
    assert len(drafter.draft(ids(3), 4, 1000)) == PUCT_NODES
    assert len(drafter.draft(ids(9, 3), 4, 7)) == 7


@given(data=st.data())
@settings(max_examples=30)
def test_steps_that_are_learned_together_teach_what_they_teach_one_by_one(data):
    steps = generate(fresh(), [[1, 2, 3], [4, 5]], 40)
    together, one_by_one = fresh(keep_news=True), fresh(keep_news=True)
    at = 0
    while at < len(steps):
        size = data.draw(st.integers(1, 7))
        together.learn(*steps[at : at + size])
        for step in steps[at : at + size]:
            one_by_one.learn(step)
        at += size
    for ours, theirs in zip(together.everything(), one_by_one.everything(), strict=True):
        if isinstance(ours, tuple):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_array_equal(ours, theirs)
    assert len(together.take_news().events) == len(steps)


def test_the_papers_drafter_learns_as_the_other_does():
    paper, ours = fresh(PaperDrafter), fresh()
    steps = generate(paper, [[1, 2, 3]], 30)
    ours.read(ids(1, 2, 3))
    for each in steps:
        ours.learn(each)
    assert flat(contents(paper.matrix)) == flat(contents(ours.matrix))
    assert outcomes(paper) == {}, "its nodes have no cells"
