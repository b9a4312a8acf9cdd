"""`Assistant` as a program uses it, on a tiny model and a real store."""

import re

import pytest

from aded_edge.assistant import Assistant, memory_in
from aded_edge.assistant.settings import Persona
from aded_edge.errors import ConfigError
from tests.assistant.messages import contents, on_disk


def test_an_answer_depends_on_what_was_said_before(assistant, say):
    first = say(assistant, "Hello there.")
    second = say(assistant, "Hello there.")
    assistant.new()
    assert say(assistant, "Hello there.") == first != second


def test_an_answer_is_made_anew_in_its_place(open_assistant, say, tmp_path):
    assistant = open_assistant(sampling={"temperature": 1.5, "max_tokens": 24})
    say(assistant, "one")
    before = say(assistant, "two")
    after = "".join(assistant.regenerate())
    assert after != before
    assert on_disk(tmp_path)[2:] == ["two", after] == contents(assistant)[2:]


def test_a_question_is_changed_in_its_place(assistant, say, tmp_path):
    say(assistant, "one")
    answer = "".join(assistant.edit("two"))
    assert on_disk(tmp_path) == ["two", answer] == contents(assistant)


def test_the_title_follows_the_first_question(assistant, say):
    say(assistant, "one")
    "".join(assistant.edit("two"))
    assert [c.title for c in assistant.conversations()] == ["two"]
    assistant.undo()
    say(assistant, "three")
    say(assistant, "four")
    "".join(assistant.edit("five"))
    assert assistant.conversation.title == "three"


@pytest.mark.parametrize("changes", [{}, {"store": None}])
def test_times_are_known_of_a_running_conversation(open_assistant, say, changes):
    assistant = open_assistant(**changes)
    say(assistant, "one")
    about = assistant.conversation
    times = [about.created, about.updated, *(m.created for m in assistant.messages)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)


def test_a_turn_is_taken_back(assistant, say, tmp_path):
    say(assistant, "one")
    say(assistant, "two")
    assert assistant.undo().content == "two"
    assert len(on_disk(tmp_path)) == 2 == len(assistant.messages)
    assistant.undo()
    for nothing in (assistant.undo, lambda: list(assistant.regenerate())):
        with pytest.raises(ConfigError, match="nothing was asked"):
            nothing()


def test_the_last_conversation_goes_on(open_assistant, say):
    first = open_assistant()
    one = say(first, "one")
    first.close()
    second = open_assistant()
    assert second.messages == []
    assert second.resume().title == "one"
    assert contents(second) == ["one", one]
    going_on = say(second, "two")
    second.close()
    third = open_assistant(store=None, kv_folder=None)
    say(third, "one")
    assert say(third, "two") == going_on


def test_any_conversation_goes_on(assistant, say):
    say(assistant, "one")
    assistant.new()
    say(assistant, "two")
    assert [c.title for c in assistant.conversations()] == ["two", "one"]
    assert assistant.resume(1).title == "one"
    assert contents(assistant)[0] == "one"
    with pytest.raises(ConfigError, match="no conversation 99"):
        assistant.resume(99)
    assert contents(assistant)[0] == "one"


def test_what_was_said_is_found(assistant, say):
    say(assistant, "Where is the lighthouse?")
    assert [hit.conversation for hit in assistant.search("lighthouse")] == [1]
    assert assistant.search("nowhere") == []


def test_a_persona_speaks_unless_told_otherwise(open_assistant, say):
    persona = Persona("editor", {"system": "You improve texts.", "max_tokens": 3})
    assistant = open_assistant(persona=persona, sampling={"temperature": 0.0})
    say(assistant, "one")
    assert assistant.stats.tokens <= 4
    assert assistant.conversation.system == "You improve texts."
    assert assistant.conversation.persona == "editor"
    other = open_assistant(persona=persona, system="Be brief.")
    assert other.conversation.system == "Be brief."


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("Remember that my dog is Rex.", "my dog is Rex."),
        ("please remember: buy  milk", "buy milk"),
        ("I remember that day.", None),
        ("remember", None),
    ],
)
def test_what_asks_to_be_remembered(text, memory):
    assert memory_in(text) == memory


def test_a_model_that_is_open_stays_the_callers(load_tiny, tmp_path):
    llama = load_tiny()
    with Assistant(llama, store=tmp_path / "store.db", kv_folder=tmp_path / "kv") as assistant:
        answer = "".join(assistant.ask("one"))
        assert answer
        assert contents(assistant) == ["one", answer]
    assert next(llama.generate(llama.tokenize(b"one"))) >= 0


@pytest.mark.parametrize(
    ("changes", "words"), [({"overflow": "forget"}, "summary"), ({"model": None}, "no model")]
)
def test_nonsense_is_refused(open_assistant, changes, words):
    with pytest.raises(ConfigError, match=words):
        open_assistant(**changes)
