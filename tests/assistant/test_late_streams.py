"""A stream that is left open: what comes later stays."""

import gc

import pytest

from aded_edge.errors import AdedError
from tests.assistant.messages import contents, on_disk


@pytest.fixture
def begun(assistant):
    """A stream that is left open, and what it has said so far."""
    stream = assistant.ask("one")
    return stream, [next(stream), next(stream)]


def test_another_question_ends_it(assistant, begun, say, tmp_path):
    stream, said = begun
    answer = say(assistant, "two")
    stream.close()
    assert list(stream) == []
    expected = ["one", "".join(said), "two", answer]
    assert contents(assistant) == expected == on_disk(tmp_path)
    assert assistant.messages[1].cut == "stopped"


def test_two_streams_in_turn(assistant, begun, tmp_path):
    stream, said = begun
    second = assistant.ask("two")
    piece = next(second)
    assert next(stream, None) is None
    answer = piece + "".join(second)
    assert contents(assistant) == ["one", "".join(said), "two", answer] == on_disk(tmp_path)


def test_one_that_is_collected(assistant, say, tmp_path):
    stream = assistant.ask("one")
    said = next(stream)
    del stream
    gc.collect()
    answer = say(assistant, "two")
    assert contents(assistant) == ["one", said, "two", answer] == on_disk(tmp_path)


def test_one_that_was_never_begun(assistant, say):
    late = assistant.ask("late")
    say(assistant, "two")
    assistant.new()
    late.close()
    assert contents(assistant) == []


def test_a_new_conversation_stays(assistant, begun, say, tmp_path):
    stream, said = begun
    assistant.new()
    uid = assistant.conversation.uid
    answer = say(assistant, "two")
    stream.close()
    assert assistant.conversation.uid == uid
    assert contents(assistant) == ["two", answer]
    assert on_disk(tmp_path, 1) == ["one", "".join(said)]
    assert on_disk(tmp_path, 2) == ["two", answer]


def test_a_resumed_conversation_stays(assistant, say, tmp_path):
    first = say(assistant, "first")
    assistant.new()
    stream = assistant.ask("one")
    said = next(stream)
    assistant.resume(1)
    stream.close()
    assert contents(assistant) == ["first", first] == on_disk(tmp_path, 1)
    assert on_disk(tmp_path, 2) == ["one", said]


def test_the_same_conversation_resumed_has_what_was_said(assistant, begun):
    stream, said = begun
    del stream
    assistant.resume()
    assert contents(assistant) == ["one", "".join(said)]


def test_undo_takes_it_back(assistant, say, tmp_path):
    first = say(assistant, "first")
    stream = assistant.ask("one")
    next(stream)
    assert assistant.undo().content == "one"
    stream.close()
    assert contents(assistant) == ["first", first] == on_disk(tmp_path)


@pytest.mark.parametrize("way", ["edit", "regenerate"])
def test_edit_and_regenerate_replace_it(assistant, begun, tmp_path, way):
    stream, _ = begun
    question = "two" if way == "edit" else "one"
    again = "".join(assistant.edit("two") if way == "edit" else assistant.regenerate())
    stream.close()
    assert contents(assistant) == [question, again] == on_disk(tmp_path)


def test_a_system_message_set_meanwhile_stays(assistant, begun):
    stream, said = begun
    assistant.set_system("Be brief.")
    stream.close()
    assert assistant.conversation.system == "Be brief."
    assert contents(assistant) == ["one", "".join(said)]


def test_a_memory_forgotten_meanwhile_stays_forgotten(assistant, say):
    say(assistant, "Hello.")
    assistant.remember("the user likes green tea")
    stream = assistant.ask("Is green tea good?")
    next(stream)
    assistant.forget(1)
    stream.close()
    assert "likes green tea" not in "".join(m.given or "" for m in assistant.messages)


def test_a_closed_assistant_has_kept_it(assistant, begun, tmp_path):
    stream, said = begun
    assistant.close()
    stream.close()
    assert on_disk(tmp_path) == ["one", "".join(said)]
    for late in ("two", "<|im_end|></s>"):
        with pytest.raises(AdedError):
            list(assistant.ask(late))


def test_one_that_is_running_is_an_error(assistant, monkeypatch):
    """As from a signal handler; other threads wait (test_threads.py)."""
    errors = []

    def meanwhile(*_, **__):
        try:
            assistant.new()
        except AdedError as error:
            errors.append(error)
        yield {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}

    monkeypatch.setattr(type(assistant.llama), "create_chat_completion", meanwhile)
    assert "".join(assistant.ask("one")) == "x"
    assert "being generated" in str(errors[0])
