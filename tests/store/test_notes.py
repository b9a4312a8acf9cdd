"""Documents and their passages: saved, replaced, deleted."""

from __future__ import annotations

from aded_edge.store import Document, Passage, Store


def test_a_document_is_replaced_by_its_new_state(store: Store) -> None:
    old, new = Document("/n/a.md", "1", 10, 1), Document("/n/a.md", "2", 12, 2)
    store.notes.put(old, [(1, "the tide rises"), (5, "bread")])
    assert store.notes.match(["tide"], 9) == [Passage("/n/a.md", 1, "the tide rises")]
    store.notes.put(new, [(1, "the moon rises")])
    assert store.notes.documents() == {"/n/a.md": new}
    assert store.notes.match(["tide", "bread"], 9) == []
    assert len(store.notes.match(["moon"], 9)) == 1


def test_a_document_that_was_only_touched_keeps_its_passages(store: Store) -> None:
    store.notes.put(Document("/n/a.md", "1", 10, 1), [(1, "the tide")])
    store.notes.put(Document("/n/a.md", "1", 10, 9), None)
    assert len(store.notes.match(["tide"], 9)) == 1


def test_forgotten_documents_are_not_found(store: Store) -> None:
    store.notes.put(Document("/n/a.md", "1", 10, 1), [(1, "the tide")])
    store.notes.remove(["/n/a.md"])
    assert store.notes.documents() == {}
    assert store.notes.match(["tide"], 9) == []


def test_places_are_kept_once(store: Store) -> None:
    store.notes.add_root("/n")
    store.notes.add_root("/n")
    assert store.notes.roots() == ["/n"]
    assert store.notes.remove_root("/n") is True
    assert store.notes.remove_root("/n") is False
