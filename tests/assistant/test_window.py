"""Conversations that outgrow the context."""

import logging

import pytest

from aded_edge import Assistant
from aded_edge.errors import PromptError
from tests.assistant.messages import contents, on_disk


@pytest.mark.parametrize("overflow", ["summary", "drop"])
def test_the_context_never_overflows_silently(open_assistant, say, overflow, caplog, tmp_path):
    assistant = open_assistant(n_ctx=512, overflow=overflow, memory_tokens=0, system="Be brief.")
    asked = [f"{n} " + "tell me more " * 6 for n in range(8)]
    with caplog.at_level(logging.INFO, "aded_edge"):
        for text in asked:
            assert say(assistant, text)
            assert assistant.llama.n_tokens <= 512
    told = [line for line in caplog.messages if "outgrew the context" in line]
    assert told
    assert all(("summary of" in line) == (overflow == "summary") for line in told)
    assert on_disk(tmp_path)[::2] == asked  # nothing is lost on the disk
    assert bool(assistant.conversation.summary) == (overflow == "summary")
    assert assistant.conversation.system == "Be brief."


def test_a_summary_is_kept_and_the_conversation_goes_on_from_it(open_assistant, say):
    assistant = open_assistant(n_ctx=512, memory_tokens=0)
    for n in range(6):
        say(assistant, f"{n} " + "tell me more " * 6)
    summary = assistant.conversation.summary
    answer_key = assistant.conversation.summarized
    assert summary
    assistant.close()
    again = open_assistant(n_ctx=512, memory_tokens=0)
    again.resume()
    assert again.conversation.summary == summary
    assert again.conversation.summarized == answer_key
    assert say(again, "and now?")


def test_a_long_conversation_is_taken_up_in_a_smaller_context(open_assistant, say):
    assistant = open_assistant(n_ctx=1024, memory_tokens=0)
    for n in range(6):
        say(assistant, f"{n} " + "tell me more " * 8)
    assistant.close()
    small = open_assistant(n_ctx=256, memory_tokens=0)
    small.resume()
    assert say(small, "and now?")
    assert small.llama.n_tokens <= 256


def test_a_message_that_cannot_fit_is_refused_and_changes_nothing(open_assistant, say, tmp_path):
    assistant = open_assistant(n_ctx=256)
    say(assistant, "one")
    with pytest.raises(PromptError, match="context of 256 tokens"):
        say(assistant, "word " * 200)
    assert contents(assistant) == on_disk(tmp_path)
    assert say(assistant, "two")


@pytest.mark.parametrize("n_ctx", [64, 100, 255, 256, 259, 300, 513])
@pytest.mark.parametrize("overflow", ["summary", "drop"])
def test_a_context_of_any_size_never_ends_a_conversation(open_assistant, say, n_ctx, overflow):
    """The tiny model answers until the context is full."""
    assistant = open_assistant(n_ctx=n_ctx, overflow=overflow, sampling={"temperature": 0.0})
    assert assistant.context[1] == n_ctx
    for n in range(6):
        say(assistant, f"{n}?")
        assert len(assistant.messages) == 2 * (n + 1) or not assistant.messages[-1].content
        assert assistant.context[0] <= n_ctx


def test_a_context_that_is_too_small_for_any_question_is_told_in_one_line(open_assistant, say):
    assistant = open_assistant(n_ctx=8)
    with pytest.raises(PromptError, match="context of 8 tokens.* larger --ctx"):
        say(assistant, "Hello")


def test_a_system_message_of_the_template_is_counted(model_path):
    """SmolLM2's template begins with one of its own."""
    with Assistant(
        model_path, store=None, n_ctx=100, n_threads=1, drafting="off", sampling={"max_tokens": 8}
    ) as assistant:
        for _ in range(3):
            assert "".join(assistant.ask("word " * 24))
            assert assistant.context[0] <= 100
        with pytest.raises(PromptError, match="context of 100 tokens"):
            "".join(assistant.ask("word " * 60))
