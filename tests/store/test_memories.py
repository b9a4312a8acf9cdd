"""Memories: kept once, found by their words, deleted completely."""

from __future__ import annotations

from aded_edge.store import Deleted, Store, terms


def test_a_memory_is_kept_once_and_forgotten(store: Store) -> None:
    first = store.memories.add("my dog is called Rex")
    assert store.memories.add("my dog is called Rex") == first
    second = store.memories.add("I live in Bonn")
    assert [memory.text for memory in store.memories.all()] == [
        "my dog is called Rex",
        "I live in Bonn",
    ]
    assert store.memories.remove(first.id) == Deleted()
    assert store.memories.remove(first.id) is None
    assert store.memories.all() == [second]
    assert store.memories.match(["rex"], 9) == []


def test_a_question_finds_what_shares_its_words(store: Store) -> None:
    dog = store.memories.add("my dog is called Rex")
    store.memories.add("I live in Bonn")
    assert store.memories.match(terms("What is the name of my dog?"), 9) == [dog]
    assert store.memories.match(terms("What is this?"), 9) == []
