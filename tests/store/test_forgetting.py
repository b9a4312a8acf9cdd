"""Forgetting: no copy of what is deleted stays in the file; the search finds it before."""

from __future__ import annotations

import random
from pathlib import Path

from aded_edge.store import HEADER, Conversation, Document, Message, Store
from tests.store.samples import ledger, numbers

SECRET = "The safe behind the Vermeer opens with Quisquilian."


def in_files(path: Path, text: str) -> bool:
    """Whether the text is in the store's files, its write-ahead log included."""
    return any(text.encode() in file.read_bytes() for file in path.parent.iterdir())


def two(store: Store) -> tuple[Conversation, Conversation]:
    """A conversation with a secret, and one that was given it and has a summary of it."""
    first = store.conversations.add(
        Conversation(0, "u1", "about the safe", "m"),
        [
            Message("user", SECRET + " " + "Other words follow it. " * 40),
            Message("assistant", "Noted."),
        ],
    )
    (hit,) = store.conversations.match(["quisquilian"])
    given = f"File a.txt:\nattached\n\n{HEADER}\n[earlier conversation, 2026-11-25] "
    given += f"{' '.join(hit.snippet.split())}\n\nWhat opens it?"
    second = store.conversations.add(
        Conversation(0, "u2", "asking", "m", summary="Quisquilian opens it.", summarized=2),
        [Message("user", "What opens it?", given=given), Message("assistant", "A word.")],
    )
    model = store.model("fingerprint", "a model")
    model.add(ledger(1), source="u1")
    model.add(ledger(2), source="u2")
    model.add(ledger(3), source="u3")
    return first, second


def test_a_deleted_conversation_leaves_no_copy(store: Store, path: Path) -> None:
    first, second = two(store)
    assert in_files(path, "Quisquilian")
    assert in_files(path, "quisquilian"), "the index of the search holds it too"
    deleted = store.conversations.delete(first)
    assert not in_files(path, "Quisquilian")
    assert not in_files(path, "quisquilian")
    assert [one.uid for one in deleted.given] == ["u2"]
    assert not deleted.merged
    assert not deleted.remnants
    question = store.conversations.messages(second)[0]
    assert question.given == "File a.txt:\nattached\n\nWhat opens it?"
    kept = store.conversations.get(second.id)
    assert kept is not None
    assert (kept.summary, kept.summarized) == ("", 0)
    assert numbers(store.model("fingerprint", "a model").load()[0]) == [3]


def test_what_was_given_of_others_stays(store: Store) -> None:
    _, second = two(store)
    before = store.conversations.messages(second)
    other = store.conversations.add(
        Conversation(0, "u4", "other", "m"),
        [Message("user", "Other words"), Message("assistant", "")],
    )
    assert store.conversations.delete(other).given == ()
    assert store.conversations.messages(second) == before


def test_what_is_merged_is_named_and_can_be_cleared(store: Store) -> None:
    first, _ = two(store)
    model = store.model("fingerprint", "a model")
    model.replace(model.load()[1], ledger(7))
    assert store.conversations.delete(first).merged
    assert store.forget_learned("unknown")[0] == []
    assert store.forget_learned() == (["a model"], True)
    assert model.load() == ([], [])


def test_a_reader_that_keeps_the_log_is_noticed(store: Store, path: Path) -> None:
    first, _ = two(store)
    with Store.open(path) as other, other._file.reading() as conn:
        conn.execute("SELECT count(*) FROM messages").fetchone()
        assert store.conversations.delete(first).remnants


def test_rows_that_moved_between_pages_leave_no_remnants(store: Store, path: Path) -> None:
    # SQLite leaves copies behind when it moves rows between pages.
    rng = random.Random(32)
    kept = []
    for number in range(30):
        one = Conversation(0, f"u{number}", "t", "m")
        for _ in range(rng.randint(1, 5)):
            turns = [f"Rare{number}x. {_words(rng)}" for _ in range(2)]
            messages = [Message("user", text) for text in turns]
            one = store.conversations.add(one, messages)
        kept.append(one)
    for number in rng.sample(range(30), 15):
        store.conversations.delete(kept[number])
        assert f"rare{number}x".encode() not in path.read_bytes().lower()


def _words(rng: random.Random) -> str:
    return "words " * rng.randint(1, rng.choice([10, 60, 900]))


def test_what_is_replaced_leaves_no_copy(store: Store, path: Path) -> None:
    new = Conversation(0, "u1", "about the safe", "m")
    kept = store.conversations.add(new, [Message("user", SECRET), Message("assistant", "Noted.")])
    model = store.model("fingerprint", "a model")
    model.add(ledger(1), source="u1")
    model.add(ledger(2), source="u2")
    assert in_files(path, "quisquilian")
    other = [Message("user", "Something else"), Message("assistant", "Yes.")]
    copy = store.take_up(kept.id)
    assert copy is not None
    copy.write(copy.conversation, other)
    assert not in_files(path, "Quisquilian")
    assert not in_files(path, "quisquilian")
    assert numbers(model.load()[0]) == [2]


def test_removed_notes_leave_no_copy(store: Store, path: Path) -> None:
    store.notes.put(Document("/n/safe.md", "", 1, 1), [(1, SECRET)])
    given = f"{HEADER}\n[file, /n/safe.md:1] {SECRET}\n\nWhat opens it?"
    question = Message("user", "What opens it?", given=given)
    asked = store.conversations.add(
        Conversation(0, "u1", "asking", "m"), [question, Message("assistant", "A word.")]
    )
    assert in_files(path, "quisquilian")
    store.notes.remove(["/n/safe.md"])
    assert [one.uid for one in store.notes.forget(["/n/safe.md"]).given] == ["u1"]
    assert not in_files(path, "Quisquilian")
    assert not in_files(path, "quisquilian")
    assert store.conversations.messages(asked)[0].given is None
