"""Taking back: what is replaced leaves no copy in the matrix, the title or the saved KV."""

import pytest

from aded_edge.assistant.turn import Answer
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
