"""Taking back: what is replaced leaves no copy in the matrix, the title or the saved KV."""

import contextlib
import logging

import pytest

from aded_edge.assistant.turn import Answer
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.store import Store


@pytest.fixture
def parts(tmp_path):
    """() -> how many parts of the matrix are in the store."""

    def parts():
        with Store.open(tmp_path / "store.db") as store:
            return sum(size.parts for size in store.sizes())

    return parts


def test_what_was_learned_from_what_is_undone_is_deleted(assistant, say, parts):
    say(assistant, "one")
    assistant.llama.wait_for_store()
    assert parts() == 1
    assistant.undo()
    assert parts() == 0


def test_what_was_learned_from_a_question_without_an_answer_is_deleted(
    assistant, say, parts, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(Answer, "worth_keeping", False)
        say(assistant, "one")
        assert parts() == 0
    say(assistant, "two")
    assistant.llama.wait_for_store()
    assert parts() == 1


def test_the_title_follows_the_first_question(assistant, say, tmp_path):
    say(assistant, "one")
    "".join(assistant.edit("two"))
    assert assistant.conversation.title == "two"
    say(assistant, "three")
    "".join(assistant.edit("four"))
    assert assistant.conversation.title == "two"
    assistant.undo()
    assistant.undo()
    assert assistant.conversation.title == ""
    say(assistant, "five")
    with Store.open(tmp_path / "store.db") as store:
        assert store.conversations.get(1).title == "five"


def test_no_saved_state_holds_what_is_undone(open_assistant, say, tmp_path):
    with open_assistant() as assistant:
        say(assistant, "one")
    assert list((tmp_path / "kv").iterdir()), "so that there is a state"
    with open_assistant() as assistant:
        assistant.resume()
        assistant.undo()
        assert not list((tmp_path / "kv").iterdir())
    assert not list((tmp_path / "kv").iterdir())


def test_a_conversation_that_is_not_kept_takes_nothing_back(open_assistant, say, tmp_path):
    with open_assistant() as assistant:
        say(assistant, "one")
    before = {path: path.read_bytes() for path in (tmp_path / "kv").iterdir()}
    with open_assistant(keep=False) as assistant:
        assistant.resume()
        assistant.undo()
    assert before == {path: path.read_bytes() for path in (tmp_path / "kv").iterdir()}


@contextlib.contextmanager
def reader(tmp_path):
    """Another program that is reading the store, so that its file cannot be written anew."""
    with Store.open(tmp_path / "store.db") as other, other._file.reading() as conn:
        conn.execute("SELECT count(*) FROM messages").fetchone()
        yield


@pytest.mark.parametrize("how", ["undo", "regenerate", "edit", "unanswered"])
def test_what_a_reader_keeps_of_it_is_said(assistant, say, tmp_path, caplog, monkeypatch, how):
    assistant._keeping.store._file._busy_timeout = 0.1
    say(assistant, "one")
    with reader(tmp_path), caplog.at_level(logging.WARNING):
        if how == "undo":
            assistant.undo()
        elif how == "regenerate":
            "".join(assistant.regenerate())
        elif how == "edit":
            "".join(assistant.edit("two"))
        else:
            monkeypatch.setattr(Answer, "worth_keeping", False)
            say(assistant, "two")
    assert any("history delete, without a number" in line for line in caplog.messages)


def tokens_on_disk(tmp_path, fingerprint_of):
    with Store.open(tmp_path / "store.db") as store:
        parts, _ = store.model(fingerprint_of, "x").load()
    return [part.tokens.tolist() for part in parts]


def holds(texts, tokens):
    """Whether these tokens come in one of the texts, one after the other."""
    return any(
        text[at : at + len(tokens)] == list(tokens)
        for text in texts
        for at in range(len(text) - len(tokens) + 1)
    )


@pytest.mark.parametrize("how", ["regenerate", "edit"])
def test_another_answer_keeps_what_it_taught_and_nothing_of_the_old_one(
    assistant, say, tmp_path, how
):
    llama = assistant.llama
    say(assistant, "one")
    old = llama.input_ids[: llama.n_tokens][-6:].tolist()
    llama.wait_for_store()
    fingerprint = model_fingerprint(llama)
    assert holds(tokens_on_disk(tmp_path, fingerprint), old)
    assistant.sampling["temperature"] = 3.0  # so that the answer is another one
    "".join(assistant.regenerate() if how == "regenerate" else assistant.edit("a zebra?"))
    llama.wait_for_store()
    new = llama.input_ids[: llama.n_tokens][-6:].tolist()
    texts = tokens_on_disk(tmp_path, fingerprint)
    assert new != old
    assert holds(texts, new)
    assert not any(holds(texts, old[at : at + 2]) for at in range(3, 5))


def test_the_old_answer_keeps_what_it_taught_if_there_is_no_other(
    assistant, say, parts, monkeypatch
):
    say(assistant, "one")
    assistant.llama.wait_for_store()
    monkeypatch.setattr(Answer, "worth_keeping", False)
    "".join(assistant.regenerate())
    assert parts() == 1
