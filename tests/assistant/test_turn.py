"""The texts that the model is given with a question."""

import pytest

from aded_edge.errors import ConfigError


def test_memories_stand_in_the_next_conversation(assistant, say):
    without = say(assistant, "What do I like?")
    assistant.remember("the user  likes\ntea")
    assistant.new()
    assert say(assistant, "What do I like?") != without
    assert [(item.kind, item.text) for item in assistant.used] == [("memory", "the user likes tea")]
    (memory,) = assistant.memories()
    assistant.forget(memory.id)
    assistant.new()
    assert say(assistant, "What do I like?") == without
    assert assistant.used == []
    with pytest.raises(ConfigError, match="no memory 1"):
        assistant.forget(memory.id)
    with pytest.raises(ConfigError, match="nothing to remember"):
        assistant.remember(" ")


def test_a_memory_made_meanwhile_is_given_when_it_matches(assistant, say):
    say(assistant, "Hello.")
    assistant.remember("the user likes green tea")
    say(assistant, "Is green tea good?")
    assert [item.kind for item in assistant.used] == ["memory"]
    assert assistant.messages[-2].content == "Is green tea good?"
    assert "the user likes green tea" in assistant.messages[-2].given
    say(assistant, "Is green tea better than black tea?")
    assert assistant.used == []  # it is in the context already


def test_earlier_conversations_are_given_with_their_date(assistant, say):
    say(assistant, "The lighthouse of Eckmuehl has 307 steps.")
    assistant.new()
    say(assistant, "How many steps has the lighthouse?")
    used = [item for item in assistant.used if "307" in item.text]
    assert [item.kind for item in used] == ["conversation"]
    assert used[0].date[:2] == "20"


def test_without_a_budget_nothing_is_given(open_assistant, say):
    assistant = open_assistant(memory_tokens=0)
    assistant.remember("the user likes tea")
    say(assistant, "The lighthouse of Eckmuehl has 307 steps.")
    assistant.new()
    say(assistant, "How many steps has the lighthouse?")
    assert assistant.used == []
