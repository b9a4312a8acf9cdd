"""`history delete`: it names each copy that is left, and how to clear it."""

import pytest
from click.testing import CliRunner

from aded_edge.assistant.kv_states import KVStates
from aded_edge.cli.history import history
from aded_edge.store import HEADER, Conversation, Message, Store, default_store_path
from tests.store.samples import ledger


@pytest.fixture
def path(tmp_path):
    """A store with a conversation, and another one that was given a text of it."""
    path = tmp_path / "store.db"
    with Store.open(path) as store:
        first, second = (Conversation(0, f"{n}" * 32, f"title {n}", "m") for n in (1, 2))
        store.conversations.add(first, [Message("user", "A secret."), Message("assistant", "")])
        given = f"{HEADER}\n[earlier conversation, 2026-11-25] A secret.\n\nWhat is it?"
        question = Message("user", "What is it?", given=given)
        store.conversations.add(second, [question, Message("assistant", "")])
        store.model("fingerprint", "a model").add(ledger(1), source=first.uid)
    return path


def delete(path, *numbers):
    done = CliRunner().invoke(history, ["delete", *numbers, "--yes", "--store", str(path)])
    assert done.exit_code == 0, done.output
    return done.output


def test_conversations_that_were_given_texts_are_named(path):
    told = delete(path, "1")
    assert "history show or delete 2" in told
    assert "merged" not in told
    assert "another program" not in told


def test_what_is_merged_is_named(path):
    with Store.open(path) as store:
        model = store.model("fingerprint", "a model")
        model.replace(model.load()[1], ledger(7))
    assert "aded-edge forget deletes all that was learned" in delete(path, "1")
    assert "aded-edge forget" not in delete(path, "2")


def test_files_beside_the_store_are_deleted(path):
    typed = default_store_path().with_name("typed.txt")
    states = [KVStates().folder / f"{n * 32}.kv{end}" for n in "12" for end in ("", ".7.part")]
    for file in (typed, *states):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("A secret.")
    delete(path, "1")
    assert not any(file.exists() for file in (typed, *states))


def test_remnants_that_a_reader_keeps_are_named_and_overwritten_later(path):
    with Store.open(path) as other, other._file.reading() as conn:
        conn.execute("SELECT count(*) FROM messages").fetchone()
        told = delete(path, "1")
    assert "history delete, without a number" in told
    assert "overwritten" in delete(path)
    assert not any(b"A secret" in file.read_bytes() for file in path.parent.iterdir())
