"""Imports: the longer state of a conversation is taken in, and nothing is lost on either side."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from aded_edge.store import Conversation, Message, Store
from tests.store.test_conversations import turn

UID = "a" * 32


def state(*turns: str, **changes: object) -> tuple[Conversation, list[Message]]:
    """A conversation with one turn for each text."""
    about = Conversation(0, UID, turns[0], "m", updated=f"2026-01-0{len(turns)}T00:00:00Z")
    said = [message for text in turns for message in turn(text, text.upper())]
    return replace(about, **changes), said  # type: ignore[arg-type]


def kept(store: Store) -> list[list[str]]:
    """The questions of each conversation."""
    found = sorted(store.conversations.recent(-1), key=lambda one: one.id)
    return [[m.content for m in store.conversations.messages(c)][::2] for c in found]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_longest_is_kept_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    states = [state("one"), state("one", "two"), state("one", "two", "three")]
    for at in order:
        store.conversations.take_in(*states[at])
    assert kept(store) == [["one", "two", "three"]]
    latest = store.conversations.latest()
    assert latest is not None
    assert (latest.uid, latest.updated) == (UID, "2026-01-03T00:00:00Z")
    assert store.conversations.search("three")


def test_what_became_of_each_is_told(store: Store) -> None:
    steps = [(state("one"), "new"), (state("one"), "known"), (state("one", "two"), "continued")]
    for whole, how in steps:
        assert store.conversations.take_in(*whole).how == how


def test_one_that_differs_is_kept_beside_once(store: Store) -> None:
    here, there = state("one", "here"), state("one", "there")
    store.conversations.take_in(*here)
    for how in ("beside", "known"):
        assert store.conversations.take_in(*there).how == how
    longer = state("one", "there", "and on")
    assert store.conversations.take_in(*longer).how == "continued"
    assert store.conversations.take_in(*state("one", "here", "too")).how == "continued"
    assert store.conversations.take_in(*state("one", "third")).how == "beside"
    assert kept(store) == [
        ["one", "here", "too"],
        ["one", "there", "and on"],
        ["one", "third"],
    ]


def test_the_summary_of_more_messages_counts(store: Store) -> None:
    store.conversations.take_in(*state("one", "two", summary="short", summarized=2))
    longer = state("one", "two", "three", summary="long", summarized=4)
    taken = store.conversations.take_in(*longer).conversation
    assert (taken.summary, taken.summarized) == ("long", 4)
    more = state("one", "two", "three", "four")
    taken = store.conversations.take_in(*more).conversation
    assert (taken.summary, taken.summarized) == ("long", 4)
