"""Working copies: each process takes back only what it read or wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aded_edge.store import Conversation, Elsewhere, Message, Store, WorkingCopy
from tests.store.samples import ledger, numbers
from tests.store.test_conversations import begin, turn
from tests.store.test_processes import held


class Window:
    """A process that has a conversation open, as far as the store is concerned."""

    def __init__(self, store: Store, copy: WorkingCopy) -> None:
        self.store, self.copy = store, copy
        self.conversation, self.messages = copy.conversation, copy.messages
        self.elsewhere = Elsewhere.NOTHING

    def write(self, **changes: object) -> None:
        self.conversation = replace(self.conversation, **changes)  # type: ignore[arg-type]
        written = self.copy.write(self.conversation, self.messages)
        self.conversation, self.messages = written.conversation, written.messages
        self.elsewhere = written.elsewhere

    def ask(self, text: str) -> None:
        self.messages = [*self.messages, *turn(text, text.upper())]
        self.write()

    def undo(self) -> None:
        self.messages = self.messages[:-2]
        self.write()

    def regenerate(self) -> None:
        *earlier, question, _ = self.messages
        self.messages = [*earlier, question, Message("assistant", "again")]
        self.write()


@pytest.fixture
def windows(path: Path) -> Iterator[tuple[Window, Window]]:
    """Two windows on one conversation of one turn, each with a connection of its own."""
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(Store.open(path, busy_timeout=0.05)) for _ in range(2)]
        begin(stores[0], "u1", "one", "ONE")
        copies = [store.take_up(1) for store in stores]
        a, b = [Window(s, c) for s, c in zip(stores, copies, strict=True) if c is not None]
        yield a, b


def on_disk(window: Window, number: int = 1) -> list[str]:
    found = window.store.conversations.get(number)
    assert found is not None
    return [message.content for message in window.store.conversations.messages(found)]


def test_both_ask_in_turn(windows: tuple[Window, Window]) -> None:
    a, b = windows
    for text in ("two", "three"):
        a.ask(f"a {text}")
        b.ask(f"b {text}")
    assert on_disk(a)[::2] == ["one", "a two", "b two", "a three", "b three"]
    assert [m.content for m in a.messages][::2] == ["one", "a two", "a three"]
    assert {a.elsewhere, b.elsewhere} == {Elsewhere.WENT_ON}


@pytest.mark.parametrize("step", [Window.undo, Window.regenerate])
def test_the_others_turn_stays(windows: tuple[Window, Window], step: object) -> None:
    a, b = windows
    b.ask("b")
    step(a)  # type: ignore[operator]
    rest = [] if step is Window.undo else ["one", "again"]
    assert on_disk(a) == ["b", "B", *rest]
    assert a.elsewhere is Elsewhere.WENT_ON
    b.undo()
    assert on_disk(a) == rest


def test_a_turn_that_the_other_took_back_stays_away(windows: tuple[Window, Window]) -> None:
    a, b = windows
    b.undo()
    a.ask("a")
    assert on_disk(a) == ["a", "A"]
    a.undo()
    a.undo()
    assert on_disk(a) == []


def test_the_new_answer_takes_the_place_of_the_old_one(windows: tuple[Window, Window]) -> None:
    a, _ = windows
    a.regenerate()
    assert on_disk(a) == ["one", "again"]
    assert a.elsewhere is Elsewhere.NOTHING


def test_what_was_refused_is_written_later_in_order(
    windows: tuple[Window, Window], path: Path
) -> None:
    from aded_edge.errors import StoreError

    a, b = windows
    with held(path, "BEGIN IMMEDIATE"):
        for text in ("two", "three"):
            a.messages = [*a.messages, *turn(text, text.upper())]
            with pytest.raises(StoreError, match="locked"):
                a.write()
            assert a.copy.lacks(a.messages)
    b.ask("b")
    a.ask("four")
    assert not a.copy.lacks(a.messages)
    assert on_disk(a)[::2] == ["one", "b", "two", "three", "four"]


def test_what_was_deleted_elsewhere_does_not_come_back(windows: tuple[Window, Window]) -> None:
    a, b = windows
    a.ask("secret")
    b.store.conversations.delete(b.conversation)
    a.store.model("f", "m").add(ledger(1), source="u1")  # what the answer taught, written late
    a.write(summary="secret", summarized=2)
    assert (a.elsewhere, a.messages) == (Elsewhere.DELETED, [])
    assert a.store.conversations.count() == 0
    b.ask("new")
    assert b.elsewhere is Elsewhere.DELETED
    assert on_disk(b, b.conversation.id) == ["new", "NEW"]
    assert (b.conversation.title, b.conversation.uid != "u1") == ("new", True)
    assert [m.content for m in b.messages] == ["new", "NEW"]
    b.ask("more")
    assert on_disk(b, b.conversation.id)[::2] == ["new", "more"]
    assert b.elsewhere is Elsewhere.NOTHING


def test_what_a_late_answer_taught_goes_with_the_new_conversation(
    windows: tuple[Window, Window],
) -> None:
    a, b = windows
    b.store.conversations.delete(b.conversation)
    a.store.model("f", "m").add(ledger(1), source="u1")
    a.ask("new")
    a.store.model("f", "m").add(ledger(2), source="u1")
    a.copy.take_learned("u1")
    assert not a.store.conversations.delete(a.conversation).merged
    assert numbers(a.store.model("f", "m").load()[0]) == []


def test_only_changed_fields_are_written(windows: tuple[Window, Window]) -> None:
    a, b = windows
    a.write(system="from a")
    b.ask("b")
    found = a.store.conversations.get(1)
    assert found is not None
    assert found.system == "from a"


def test_a_summary_counts_only_messages_that_are_first_on_disk(
    windows: tuple[Window, Window],
) -> None:
    def summary() -> tuple[str, int]:
        found = a.store.conversations.get(1)
        assert found is not None
        return found.summary, found.summarized

    a, b = windows
    b.ask("b")
    a.ask("a")
    a.write(summary="one", summarized=2)
    assert summary() == ("one", 2)
    a.write(summary="one and a", summarized=4)  # on disk the first four are others
    assert summary() == ("one", 2)
    b.undo()
    assert summary() == ("one", 2)
    b.undo()  # the first turn, which the summary replaces
    assert summary() == ("", 0)


def test_a_new_conversation_is_made_when_it_is_written(store: Store) -> None:
    a = Window(store, store.begin(Conversation(0, "u1", "", "m")))
    assert not a.copy.lacks([])
    assert store.conversations.count() == 0
    a.ask("one")
    assert (a.conversation.id, on_disk(a)) == (1, ["one", "ONE"])
    assert a.copy.exists()
    store.conversations.delete(a.conversation)
    assert not a.copy.exists()
