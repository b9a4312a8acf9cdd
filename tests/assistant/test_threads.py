"""Several threads on one assistant: their turns come one after the other."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.assistant.messages import on_disk


def test_turns_of_several_threads_are_not_mixed(open_assistant, say, tmp_path):
    assistant = open_assistant(memory_tokens=0)
    barrier, questions = threading.Barrier(4), [f"question {n}" for n in range(8)]

    def ask(numbers):
        barrier.wait(30)
        return [(questions[n], say(assistant, questions[n])) for n in numbers]

    with ThreadPoolExecutor(4) as pool:
        pairs = pool.map(ask, [(n, n + 4) for n in range(4)])
        turns = [turn for two in pairs for turn in two]
    messages = [message.content for message in assistant.messages]
    assert sorted(zip(messages[::2], messages[1::2], strict=True)) == sorted(turns)
    assert on_disk(tmp_path) == messages


def test_another_thread_waits_for_the_open_answer(open_assistant, say):
    assistant = open_assistant(memory_tokens=0)
    answer = assistant.ask("one")
    next(answer)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(say, assistant, "two")
        undone = pool.submit(assistant.undo)
        assert not undone.done()
        for _ in answer:
            pass
        assert other.result(60)
        assert undone.result(60).content == "two"
    assert [message.content for message in assistant.messages[::2]] == ["one"]
