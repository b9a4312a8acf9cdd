"""Conversations in the store: written whole, found by their words, deleted completely."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aded_edge.store import Conversation, Deleted, Message, Store
from tests.store.samples import ledger, numbers


def turn(question: str, answer: str, **changes: object) -> list[Message]:
    """A question and its answer."""
    return [Message("user", question), Message("assistant", answer, **changes)]  # type: ignore[arg-type]


def begin(store: Store, uid: str, question: str, answer: str) -> Conversation:
    """A conversation of one turn."""
    fresh = Conversation(0, uid, question, "a model")
    return store.conversations.add(fresh, turn(question, answer))


def test_what_was_said_is_read_again(store: Store) -> None:
    said = [
        Message("user", "How high is the tide?", given="[note]\nHow high is the tide?"),
        Message(
            "assistant", "Four metres.", None, "stopped", "a model", 3, {"steps": 2}, ("a.md:1",)
        ),
    ]
    kept = store.conversations.add(Conversation(0, "u1", "tides", "a model", "p", "s"), said)
    assert (kept.title, kept.persona, kept.system, kept.messages) == ("tides", "p", "s", 2)
    read = store.conversations.messages(kept)
    assert [message.created[-1] for message in read] == ["Z", "Z"]
    assert [vars(message) | {"created": ""} for message in read] == [vars(one) for one in said]


def test_a_second_turn_belongs_to_the_same_conversation(store: Store) -> None:
    kept = begin(store, "u1", "one", "1")
    again = store.conversations.add(kept, turn("two", "2"))
    assert begin(store, "u2", "x", "y").id == kept.id + 1
    assert (again.id, again.messages) == (kept.id, 4)
    assert store.conversations.count() == 2


def test_the_last_one_talked_in_comes_first(store: Store) -> None:
    first = begin(store, "u1", "one", "1")
    second = begin(store, "u2", "two", "2")
    assert [c.id for c in store.conversations.recent()] == [second.id, first.id]
    assert [c.id for c in store.conversations.recent(1, 1)] == [first.id]
    latest = store.conversations.latest()
    assert latest is not None
    assert latest.id == second.id
    assert store.conversations.get(first.id) == first
    assert store.conversations.get(99) is None


@pytest.mark.parametrize("words", ["tides moon", "TIDE", "moon", "tid", "mo"])
def test_words_are_found_in_other_forms_and_begun(store: Store, words: str) -> None:
    kept = begin(
        store, "u1", "Why are there tides?", "The moon pulls the sea.\nTides follow the moon."
    )
    begin(store, "u2", "What is bread?", "Flour and water.")
    assert {hit.conversation for hit in store.conversations.search(words)} == {kept.id}


@pytest.mark.parametrize("words", ["", " ", '"', "AND", "NEAR(", "*", "a-b:c ^d", "('"])
def test_what_fts_would_take_for_syntax_is_no_fault(store: Store, words: str) -> None:
    begin(store, "u1", "one", "1")
    assert store.conversations.search(words) == []


def test_the_running_conversation_can_be_left_out(store: Store) -> None:
    one, two = begin(store, "u1", "apples", "x"), begin(store, "u2", "apples", "y")
    found = store.conversations.match(["apples"], 9, one.id)
    assert [hit.conversation for hit in found] == [two.id]


def test_what_sqlite_cannot_keep_is_replaced(store: Store) -> None:
    kept = begin(store, "u1", "half \ud83d", "a \udcff character")
    assert [m.content for m in store.conversations.messages(kept)] == ["half ?", "a ? character"]


def test_deleting_takes_everything_back_that_can_be(store: Store, path: Path) -> None:
    kept, other = begin(store, "u1", "a secret word", "xyzzy"), begin(store, "u2", "two", "2")
    model = store.model("fingerprint", "a model")
    model.add(ledger(1), source="u1")
    model.add(ledger(2), source="u2")
    model.add(ledger(3))
    assert store.conversations.delete(kept) == Deleted()
    assert numbers(model.load()[0]) == [2, 3]
    assert [c.id for c in store.conversations.recent()] == [other.id]
    assert store.conversations.search("xyzzy") == []
    assert store.conversations.messages(kept) == []


def test_what_is_part_of_a_sum_cannot_be_taken_back_and_that_is_said(store: Store) -> None:
    kept = begin(store, "u1", "one", "1")
    model = store.model("fingerprint", "a model")
    parts = [model.add(ledger(1), source="u1"), model.add(ledger(2), source="u2")]
    assert None not in parts
    model.replace([part for part in parts if part is not None], ledger(7))
    model.add(ledger(3), source="u1")
    assert store.conversations.delete(kept).merged
    assert numbers(model.load()[0]) == [7]


def test_ten_thousand_conversations_are_searched_at_once(store: Store) -> None:
    """Checks that the search uses the index; bench_history.py measures the time."""
    begin(store, "u1", "Why are there tides?", "The moon.")
    with store.conversations._file.reading() as conn:
        from aded_edge.store.conversations import _BEST

        plan = [
            row[3]
            for row in conn.execute(
                f"EXPLAIN QUERY PLAN {_BEST}", {"query": "moon", "exclude": 0, "limit": 9}
            )
        ]
    assert any("VIRTUAL TABLE INDEX" in step for step in plan)
    assert not any("SCAN m" in step and "VIRTUAL" not in step for step in plan)


def test_of_very_many_the_newest_are_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aded_edge.store.conversations._MANY", "SELECT ? IS NOT NULL")
    begin(store, "u1", "moon moon moon", "1")
    newest = begin(store, "u2", "the moon is far away from here", "2")
    assert store.conversations.search("moon", 1)[0].conversation == newest.id


def test_a_store_in_memory_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.in_memory() as one, Store.in_memory() as two:
        begin(one, "u1", "one", "1")
        assert one.conversations.count() == 1
        assert two.conversations.count() == 0
    assert list(tmp_path.iterdir()) == []


def test_times_are_utc(store: Store) -> None:
    kept = begin(store, "u1", "one", "1")
    assert kept.created[:4] == time.strftime("%Y", time.gmtime())
    assert kept.created.endswith("Z")
