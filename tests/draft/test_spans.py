"""Copied spans against a list of tokens that is searched from its end.

The tables hold WAYS places per hash, so a place may give way to another context's. What must hold:
everything found is true and newest first, and nothing is lost where no other context shares a hash.
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aded_edge.draft.spans import LENGTHS, SEPARATOR, WAYS, Spans, _bucket
from tests import naive
from tests.draft.reading import copies
from tests.naive import ids

ROOMY = 1 << 14

tokens = st.integers(-1, 2)  # few, so that contexts come back
texts = st.lists(tokens, max_size=40) | st.just([1, 0, 2, 2] * 12)
appends = st.tuples(st.just("append"), texts, st.integers(0, 6))
extends = st.tuples(st.just("extend"), st.lists(st.integers(0, 2), max_size=9), st.just(0))
contexts = st.lists(st.integers(0, 2), min_size=1, max_size=12) | st.just([1, 0, 2, 2] * 9)


def filled(calls, capacity):
    """The same calls made to the real spans and to the reference."""
    spans, reference = Spans(capacity), naive.Spans(capacity)
    for call, text, start in calls:
        if call == "append":
            start = min(start, len(text))
            spans.append(ids(*text), start)
            reference.append(text, start)
        else:
            spans.extend(ids(*text))
            reference.extend(text)
    return spans, reference


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(item in rest for item in part)


def shares_its_hash(log, context, length, capacity):
    """Another context of this length in the log has the hash of this one."""
    runs = [log[i : i + length] for i in range(len(log) - length + 1)]
    others = {tuple(run) for run in runs if min(run) >= 0} - {tuple(context[-length:])}
    mask = capacity // 2 - 1
    own = _bucket(ids(*context), len(context), length, mask)
    return any(_bucket(ids(*other), length, length, mask) == own for other in others)


@given(st.lists(appends | extends, max_size=8), contexts)
def test_all_places_are_found_newest_first(calls, context):
    spans, reference = filled(calls, ROOMY)
    found, expected = copies(spans, ids(*context)), reference.lookup(context, LENGTHS)
    for length in LENGTHS:
        if length <= len(context) and shares_its_hash(reference.tokens, context, length, ROOMY):
            assert is_subsequence(found.get(length, []), reference.successors(context, length))
        else:
            assert found.get(length) == expected.get(length)


@given(st.lists(appends | extends, min_size=4, max_size=30), contexts)
def test_in_a_ring_that_wraps_everything_found_is_true(calls, context):
    spans, reference = filled(calls, 64)
    for length, found in copies(spans, ids(*context)).items():
        assert len(found) <= WAYS
        assert is_subsequence(found, reference.successors(context, length))


@pytest.mark.parametrize(
    ("length", "place"), [(length, place) for length in LENGTHS for place in range(length)]
)
def test_the_hash_alone_decides_nothing(length, place):
    """Of two contexts with one hash, alike but for one token, only the right one is found."""
    asked = list(range(1, length + 1))
    other = next(
        other
        for token in range(100, 10_000)
        if bucket(other := [*asked[:place], token, *asked[place + 1 :]]) == bucket(asked)
    )
    spans = Spans(64)
    spans.append(ids(*other, 99))
    assert copies(spans, ids(*other))[length] == [99]
    assert length not in copies(spans, ids(*asked))


def bucket(context):
    return _bucket(ids(*context), len(context), len(context), 31)


def test_a_place_that_was_overwritten_is_never_returned():
    """Not even where the tokens that took its place are the same."""
    spans = Spans(64)
    spans.append(ids(1, 2, 3, 4))
    spans.extend(np.arange(100, 160, dtype=np.int32))  # 65 with the separator, which is gone
    assert copies(spans, ids(1, 2, 3)) == {3: [4]}
    for token in (1, 2, 3):
        spans.extend(ids(token))
        assert copies(spans, ids(1, 2, 3)) == {}


def test_a_text_longer_than_the_ring_leaves_its_end():
    spans = Spans(64)
    spans.append(np.arange(1000, dtype=np.int32))
    assert len(spans) == 64
    assert spans.tail(3).tolist() == [997, 998, 999]
    assert spans.tail(1000).tolist() == list(range(936, 1000))
    assert copies(spans, ids(996, 997, 998)) == {3: [999]}
    assert copies(spans, ids(935, 936, 937)) == {}


@given(st.lists(st.integers(0, 2), max_size=80), st.lists(st.integers(1, 12), max_size=20))
@example(list(range(30)), [1] * 30)
def test_extending_is_appending_the_whole(text, cuts):
    whole, pieces = Spans(64), Spans(64)
    whole.append(ids(*text))
    pieces.append(ids())
    at = 0
    for length in [*cuts, len(text)]:
        pieces.extend(ids(*text[at : at + length]))
        at += length
    assert all(np.array_equal(*pair) for pair in zip(pieces.log, whole.log, strict=True))


def test_a_context_may_begin_in_what_was_logged_before():
    spans = Spans(64)
    spans.append(ids(1, 2, 3))
    spans.extend(ids(4))
    assert copies(spans, ids(1, 2, 3)) == {3: [4]}


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(0, 40), contexts)
def test_context_leads_to_what_follows_but_is_not_noted_itself(text, start, context):
    start = min(start, len(text))
    spans, reference = filled([("append", text, start)], ROOMY)
    for length, found in copies(spans, ids(*context)).items():
        assert is_subsequence(found, reference.successors(context, length))
    only_context = Spans(64)
    only_context.append(ids(*text), len(text))
    for end in range(1, len(text) + 1):
        assert copies(only_context, ids(*text[:end])) == {}


def test_no_span_reaches_across_a_separator():
    spans = Spans(64)
    spans.append(ids(1, 2, 3, SEPARATOR, 4, 5))
    spans.append(ids(6))
    spans.extend(ids(7))
    for context in ((1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 6)):
        assert copies(spans, ids(*context)) == {}
    assert not spans.log.places.any(), "a context with a separator in it would only take up room"


def test_a_repeated_successor_is_told_twice():
    """Two places that agree are more evidence than one."""
    spans = Spans(64)
    spans.append(ids(1, 2, 3, 4, 9, 1, 2, 3, 4))
    assert copies(spans, ids(1, 2, 3)) == {3: [4, 4]}


def test_token_ids_may_be_as_high_as_they_get():
    spans = Spans(64)
    high = 2**31 - 1
    spans.append(ids(high, high - 1, high, high - 2))
    assert copies(spans, ids(high, high - 1, high)) == {3: [high - 2]}


@given(st.integers(0, 5000))
def test_the_capacity_is_a_power_of_two_that_holds_what_was_asked_for(capacity):
    held = Spans(capacity).log.tokens.size
    assert max(capacity, 64) <= held < 2 * max(capacity, 64)
    assert held & (held - 1) == 0
