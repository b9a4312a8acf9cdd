"""Signals in the middle of an answer: the turn is kept, the terminal is as before, no traceback."""

import contextlib
import os
import signal
import subprocess
import time

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from aded_edge.cli.chat.line import PromptLine
from aded_edge.store import Store
from tests.cli.chat.test_terminal import PROMPT, STORY, TerminalChat

PATIENCE = 240

PLAIN = ("--drafting", "off")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.db"


def assert_kept(store):
    """The question and what was said are on the disk, marked as stopped."""
    with Store.open(store) as kept:
        question, answer = kept.conversations.messages(kept.conversations.get(1))
    assert question.content == STORY
    assert answer.content
    assert answer.cut == "stopped"


def again_and_again(process, number):
    """Sends a signal as a hand that rests on the key does."""
    for _ in range(20):
        process.send_signal(number)
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("times", ["once", "often"])
def test_a_signal_in_an_answer_keeps_the_turn(command, store, number, status, times):
    process = subprocess.Popen(
        command(*PLAIN, "--prompt", STORY, "--store", str(store)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout.read(40)
        if times == "once":
            process.send_signal(number)
        else:
            again_and_again(process, number)
        process.stdout.read()
        errors = process.stderr.read().decode()
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert_kept(store)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_cursor_is_shown_after_a_signal(command, store, number, status):
    options = (*PLAIN, "--prompt", STORY, "--store", str(store))
    chat = TerminalChat(command(*options), term="xterm-256color")
    try:
        hidden = chat.until(r"\x1b\[\?25l")
        chat.until(r"(?s)(?<=.{60})")
        chat.process.send_signal(number)
        rest, ended = chat.end()
    finally:
        chat.close()
    assert ended == status, hidden + rest
    assert rest.rfind("\x1b[?25h") > rest.rfind("\x1b[?25l")
    assert "Traceback" not in rest
    assert_kept(store)


def test_many_ctrl_c_on_a_terminal_stop_the_answer(command, store):
    chat = TerminalChat(command(*PLAIN, "--store", str(store)))
    try:
        chat.until(PROMPT)
        chat.say(STORY)
        chat.until(r"(?s)(?<=.{40})")
        again_and_again(chat.process, signal.SIGINT)
        rest, status = leave(chat)
    finally:
        chat.close()
    assert status in (0, 130)
    assert "stopped" in rest
    assert "Traceback" not in rest
    assert_kept(store)


def leave(chat):
    """Ends a chat by Ctrl-D, if the last Ctrl-C has not done it at the prompt."""
    with contextlib.suppress(OSError):
        chat.type("\x04")
    return chat.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt_leaves(command, store, number):
    chat = TerminalChat(command(*PLAIN, "--store", str(store)))
    try:
        chat.until(PROMPT)
        os.kill(chat.process.pid, number)
        rest, status = chat.end()
    finally:
        chat.close()
    assert status == 128 + number
    assert "Traceback" not in rest


def test_ctrl_c_clears_a_line_that_is_begun():
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        line = PromptLine([], None, lambda: "")
        keys.send_text("half a line\x03a whole one\r")
        assert line.read() == "a whole one"
        keys.send_text("\x03")
        with pytest.raises(KeyboardInterrupt):
            line.read()
