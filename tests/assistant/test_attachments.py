"""Files attached to a conversation."""

import logging
import os

import pytest

from aded_edge.assistant.attachments import Attached, attached_to, in_front_of
from aded_edge.assistant.recall import HEADER
from aded_edge.errors import AdedError, ConfigError
from aded_edge.runtime import Llama
from aded_edge.store import Message

CODE = "The code is 4711."


@pytest.fixture
def code(tmp_path):
    """A small file."""
    path = tmp_path / "code.txt"
    path.write_text(CODE)
    return path


def given(assistant):
    """What the model was given with the last question."""
    return assistant.messages[-2].given or ""


def test_a_small_file_is_given_whole_and_a_large_one_in_part(open_assistant, say, tmp_path):
    assistant = open_assistant(
        n_ctx=2048, memory_tokens=900
    )  # the tiny model has a token for each byte
    small, large = tmp_path / "small.txt", tmp_path / "large.txt"
    small.write_text("The code is 4711.")
    large.write_text("\n\n".join(f"Paragraph {n}: " + "filler words " * 8 for n in range(90)))
    large.write_text(large.read_text() + "\n\nThe harbour closes at nine every evening.\n")
    assert "given whole" in assistant.attach(small)
    say(assistant, "What is it?")
    assert "The code is 4711." in assistant.messages[-2].given
    say(assistant, "Thanks.")
    assert assistant.messages[-2].given is None
    assert "passages" in assistant.attach(large)
    say(assistant, "When is the harbour closing in the evening?")
    assert [item.where.rpartition("/")[2] for item in assistant.used] == ["large.txt:181"]


def test_a_question_that_is_changed_keeps_its_file(assistant, say, code):
    say(assistant, "Hello.")
    assistant.attach(code)
    say(assistant, "What is it?")
    "".join(assistant.edit("What is the code?"))
    "".join(assistant.edit("Which code?"))
    assert given(assistant).count(CODE) == 1
    "".join(assistant.regenerate())
    assert given(assistant).count(CODE) == 1
    say(assistant, "Thanks.")
    assert CODE not in given(assistant)
    assert assistant.attached == []


def test_a_question_that_is_taken_back_gives_its_file_to_the_next_one(assistant, say, code):
    for question in ("What is it?", "And now?"):
        assistant.attach(code)
        say(assistant, question)
    assistant.undo()
    assistant.undo()
    assert assistant.attached == ["code.txt"]
    say(assistant, "What is the code?")
    assert given(assistant).count(CODE) == 1
    assert assistant.attached == []


@pytest.mark.parametrize("way", ["edit", "undo", "regenerate"])
def test_also_after_it_was_resumed(open_assistant, say, code, way):
    first = open_assistant()
    first.attach(code)
    say(first, "What is it?")
    first.close()
    second = open_assistant()
    second.resume()
    if way == "undo":
        second.undo()
        say(second, "What is the code?")
    else:
        "".join(second.edit("What is the code?") if way == "edit" else second.regenerate())
    assert given(second).count(CODE) == 1


def test_files_that_were_attached_meanwhile_come_with_the_changed_question(
    assistant, say, code, tmp_path
):
    assistant.attach(code)
    say(assistant, "What is it?")
    (tmp_path / "more.txt").write_text("More text.")
    assistant.attach(tmp_path / "more.txt")
    "".join(assistant.regenerate())
    assert assistant.attached == ["more.txt"]
    "".join(assistant.edit("What are they?"))
    assert CODE in given(assistant)
    assert "More text." in given(assistant)
    assert assistant.attached == []


def test_a_file_attached_during_an_answer_is_for_the_next_question(assistant, say, code):
    stream = assistant.ask("Hello.")
    next(stream)
    assistant.attach(code)
    list(stream)
    assert assistant.attached == ["code.txt"]
    say(assistant, "What is it?")
    assert CODE in given(assistant)


def test_a_question_without_an_answer_leaves_its_file_pending(assistant, say, code, monkeypatch):
    assistant.attach(code)
    with monkeypatch.context() as patch:

        def fail(*_, **__):
            raise RuntimeError("broken")

        patch.setattr(Llama, "create_chat_completion", fail)
        with pytest.raises(AdedError):
            say(assistant, "What is it?")
    assistant.ask("What is it?").close()
    assert assistant.attached == ["code.txt"]
    say(assistant, "What is it?")
    assert CODE in given(assistant)


@pytest.mark.parametrize("way", ["new", "resume"])
def test_another_conversation_says_what_is_no_longer_attached(assistant, say, code, caplog, way):
    say(assistant, "Hello.")
    assistant.attach(code)
    with caplog.at_level(logging.INFO, "aded_edge"):
        getattr(assistant, way)()
    assert caplog.messages == ["no longer attached: code.txt"]
    assert assistant.attached == []


def test_a_file_that_is_attached_again_is_read_again(open_assistant, say, code, tmp_path):
    assistant = open_assistant(n_ctx=1024, memory_tokens=300)
    assistant.attach(code)
    code.write_text("The code is 4712.")
    assistant.attach(code)
    (tmp_path / "other").mkdir()
    namesake = tmp_path / "other" / "code.txt"
    namesake.write_text("Another one.")
    assistant.attach(namesake)
    code.unlink()
    say(assistant, "What is it?")
    assert CODE not in given(assistant)
    assert "The code is 4712." in given(assistant)
    assert "Another one." in given(assistant)
    namesake.write_text("A large file has many words.\n\n" * 60)
    assert "passages" in assistant.attach(namesake)
    namesake.write_text("Small.")
    assistant.attach(namesake)
    say(assistant, "How many words has a large file?")
    assert "many words." not in given(assistant)


def test_all_are_detached(assistant, say, code):
    assistant.attach(code)
    assert assistant.detach() == ["code.txt"]
    say(assistant, "What is it?")
    assert given(assistant) == ""


def test_an_answer_that_drew_on_a_whole_file_names_it(assistant, monkeypatch, code):
    words = iter(["Look into code.txt: ", "4711."])

    def answer(*_, **__):
        for word in words:
            yield {"choices": [{"delta": {"content": word}, "finish_reason": None}]}

    monkeypatch.setattr(Llama, "create_chat_completion", answer)
    assistant.attach(code)
    "".join(assistant.ask("What is it?"))
    assert assistant.messages[-1].sources == ("code.txt:1",)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no file"),
        (lambda path: path.mkdir(), "is a folder"),
        (os.mkfifo, "no file"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"a" * (4 << 20) + b"a"), "larger than 4 MB"),
        (lambda path: path.write_bytes(bytes(range(256))), "no text"),
    ],
)
def test_what_cannot_be_attached_is_refused(assistant, tmp_path, make, words):
    make(tmp_path / "x")
    with pytest.raises(ConfigError, match=words):
        assistant.attach(tmp_path / "x")
    assert assistant.attached == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfwith a mark", "\nwith a mark\n"),
        ("naïve".encode("utf-16"), "\nnaïve\n"),
        (b"a long line with one broken \xff byte", "one broken \ufffd byte"),
    ],
)
def test_encodings(assistant, say, tmp_path, data, text):
    (tmp_path / "x.txt").write_bytes(data)
    assistant.attach(tmp_path / "x.txt")
    say(assistant, "What is it?")
    assert text in given(assistant)


def test_files_are_found_again_in_what_was_given():
    files = [
        Attached("a.txt", f"File b.txt (3 characters):\nabc\n{HEADER}\n"),
        Attached("b (1).txt", "x\n"),
    ]
    question = Message("user", "File?", given=in_front_of(f"{HEADER}\n[..]\n\nFile?", files))
    assert attached_to(question) == files
    assert attached_to(Message("user", "File a (1 characters):\nx")) == []


def test_a_file_that_an_earlier_version_gave_is_found_too():
    old = f"File a.txt:\nThe code.\n\n{HEADER}\n[remembered, x] y\n\nWhat?"
    assert attached_to(Message("user", "What?", given=old)) == [Attached("a.txt", "The code.")]
    plain = "File a.txt:\nThe code.\n\nWhat?"
    assert attached_to(Message("user", "What?", given=plain)) == [Attached("a.txt", "The code.")]
