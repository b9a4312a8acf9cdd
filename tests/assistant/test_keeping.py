"""Keeping: turns reach the disk when they end, and nothing else does."""

import logging
import threading

import pytest

from aded_edge.errors import ConfigError, StoreError
from aded_edge.store import Store, WorkingCopy
from tests.assistant.messages import contents, on_disk


def test_a_turn_is_on_disk_when_the_answer_ends(assistant, say, tmp_path):
    answer = say(assistant, "Hello there.")
    assert answer
    assert on_disk(tmp_path) == ["Hello there.", answer]
    message = assistant.messages[-1]
    assert message.tokens == assistant.stats.tokens
    assert message.stats["steps"] == assistant.stats.steps
    assert message.model == assistant.conversation.model
    assert message.cut in (None, "limit")
    assert assistant.conversation.title == "Hello there."


def test_an_answer_that_is_stopped_is_kept_as_far_as_it_came(assistant, tmp_path):
    stream = assistant.ask("Tell me something.")
    said = [next(stream), next(stream)]
    stream.close()
    assert assistant.messages[-1].cut == "stopped"
    assert on_disk(tmp_path) == ["Tell me something.", "".join(said)]


def test_one_that_was_stopped_before_it_began_leaves_nothing(assistant, tmp_path):
    assistant.ask("Tell me something.").close()
    assert assistant.messages == []
    assert on_disk(tmp_path) == []


def test_a_private_conversation_leaves_no_trace(open_assistant, say, tmp_path):
    kept = open_assistant()
    kept.remember("the user likes tea")
    say(kept, "one")
    kept.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    private = open_assistant(keep=False)
    say(private, "Is there any tea here? SECRET")
    assert [item.text for item in private.used] == ["the user likes tea"]
    assert not private.kept
    assert private.search("one") != []
    private.close()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert b"SECRET" not in b"".join(after.values())
    assert {p: b for p, b in after.items() if p.suffix == ".db"} == {
        p: b for p, b in before.items() if p.suffix == ".db"
    }
    with pytest.raises(ConfigError, match="no-log"):
        open_assistant(keep=False).remember("x")


def test_two_assistants_on_one_store_lose_nothing(open_assistant, say, tmp_path):
    both = [open_assistant(), open_assistant()]
    threads = [
        threading.Thread(target=lambda a=a, i=i: [say(a, f"{i} {n}") for n in range(4)])
        for i, a in enumerate(both)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, assistant in enumerate(both):
        assert on_disk(tmp_path, assistant.conversation.id)[::2] == [f"{i} {n}" for n in range(4)]


def test_a_store_that_cannot_be_used_stops_nothing(open_assistant, say, tmp_path, caplog):
    (tmp_path / "store.db").write_bytes(b"no database at all" * 100)
    with caplog.at_level(logging.WARNING, "aded_edge"):
        assistant = open_assistant()
        assert say(assistant, "one")
    assert sum("not a SQLite database" in line for line in caplog.messages) == 1
    assert (tmp_path / "store.db").read_bytes().startswith(b"no database")


def test_what_could_not_be_written_is_written_later(open_assistant, say, tmp_path, monkeypatch):
    assistant = open_assistant()
    say(assistant, "one")
    write = WorkingCopy.write

    def full(self, *_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(WorkingCopy, "write", full)
    say(assistant, "two")
    assert not assistant.kept
    monkeypatch.setattr(WorkingCopy, "write", write)
    say(assistant, "three")
    assert on_disk(tmp_path) == contents(assistant)
    assert on_disk(tmp_path)[::2] == ["one", "two", "three"]


def test_what_the_matrix_learned_belongs_to_its_conversation(open_assistant, say, tmp_path):
    assistant = open_assistant()
    say(assistant, "one")
    assistant.llama.wait_for_store()
    with Store.open(tmp_path / "store.db") as store:
        kept = store.conversations.get(1)
        (size,) = store.sizes()
        assert size.parts == 1
        assert not store.conversations.delete(kept).merged
        (size,) = store.sizes()
        assert size.parts == 0


def test_what_is_forgotten_is_gone_from_the_context_and_the_disk(assistant, say, tmp_path):
    say(assistant, "Hello.")
    assistant.remember("the user likes green tea")
    say(assistant, "Is green tea good?")
    assistant.forget(1)
    assert "likes green tea" not in "".join(m.given or "" for m in assistant.messages)
    assistant.close()
    assert b"likes green tea" not in (tmp_path / "store.db").read_bytes()


def test_a_question_of_spaces_can_be_taken_back(assistant, say, tmp_path):
    say(assistant, "  ")
    assert assistant.conversation.title == ""
    assert assistant.undo().content == "  "
    assert on_disk(tmp_path) == []
