"""The chat on a terminal, in plain text: typed at and read from."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

FRANCE = "What is the capital of France?"
STORY = "Write a long story about a fox."
PATIENCE = 240
"""Seconds after which a chat that says nothing has hung."""


LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
os.execv(sys.executable, sys.argv[1:])
"""


class TerminalChat:
    """A chat on a pseudo-terminal, typed at and read from."""

    def __init__(self, arguments, term="dumb"):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 9999, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": term, "PYTHONIOENCODING": "utf-8"},
        )
        os.close(slave)
        self._read = b""

    def type(self, text):
        os.write(self._master, text.encode())

    def until(self, pattern):
        """Reads until the pattern shows up; returns what came before it, and forgets both."""
        deadline = time.monotonic() + PATIENCE
        while True:
            text = self._text()
            found = re.search(pattern, text)
            if found:
                self._read = text[found.end() :].encode()
                return text[: found.start()]
            ready, _, _ = select.select([self._master], [], [], deadline - time.monotonic())
            assert ready, f"no {pattern!r} in {text!r}"
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:  # how Linux says that the other side has gone
                piece = b""
            assert piece, f"the chat ended without {pattern!r}: {text!r}"
            self._read += piece

    def say(self, text):
        """Types a line, and waits until it was taken."""
        self.type(text + "\n")
        self.until("\n")

    def ask(self, text):
        """Says something; returns the answer."""
        self.say(text)
        answer, _, self.notes = self.until(PROMPT).partition(DIM)
        return answer.strip("\n")

    def end(self):
        """Reads the rest; returns it and the exit status."""
        rest = []
        while True:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            rest.append(piece)
        self.process.wait(PATIENCE)
        return (self._read + b"".join(rest)).decode(), self.process.returncode

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _text(self):
        return self._read.decode("utf-8", "ignore").replace("\r\n", "\n")


PROMPT = r"(?m)^> "
DIM = "\x1b[2m"
"""In front of all that is said about an answer."""


@pytest.fixture
def terminal(command):
    chats = []

    def terminal(*options):
        chats.append(TerminalChat(command(*options)))
        chats[-1].until(PROMPT)
        return chats[-1]

    yield terminal
    for chat in chats:
        chat.close()


def test_a_conversation_on_a_terminal(terminal, expected):
    chat = terminal("--max-tokens", "24")
    first = chat.ask(FRANCE)
    assert first == expected(FRANCE)
    assert re.search(r"\d+ tokens, [\d.]+ tokens/s, MAT \d", chat.notes)
    assert chat.ask("   ") == chat.notes == ""
    assert "no command /nonsense" in chat.ask("/nonsense words")
    assert chat.ask("And of Italy?") == expected(FRANCE, first, "And of Italy?")
    assert chat.ask("/new") == ""
    assert "a new conversation" in chat.notes
    assert chat.ask("And of Italy?") == expected("And of Italy?")
    chat.say("/exit")
    rest, status = chat.end()
    assert status == 0
    assert "Traceback" not in rest


def test_ctrl_c_stops_an_answer_and_keeps_the_chat(terminal, expected):
    chat = terminal()
    chat.say(STORY)
    begun = chat.until(r"(?s)(?<=.{40})")
    chat.type("\x03")
    rest, _, notes = chat.until(PROMPT).partition(DIM)
    assert "stopped" in notes
    said = (begun + rest).removesuffix("\n").replace("^C", "")
    assert expected(STORY, max_tokens=400).startswith(said)
    second = chat.ask(FRANCE)
    assert second == expected(STORY, said, FRANCE, max_tokens=400)
    chat.type("\x03")  # with nothing to stop, it leaves
    rest, status = chat.end()
    assert status == 0
    assert "Traceback" not in rest


def test_ctrl_c_while_the_prompt_is_read_keeps_the_chat(terminal, expected):
    chat = terminal("--max-tokens", "24")
    chat.say("word " * 300)
    time.sleep(0.2)
    chat.type("\x03")
    assert "stopped" in chat.until(PROMPT)
    assert chat.ask(FRANCE) == expected(FRANCE)
    chat.type("\x04")
    assert chat.end()[1] == 0


def test_ctrl_d_leaves(terminal):
    chat = terminal()
    chat.type("\x04")
    rest, status = chat.end()
    assert status == 0
    assert "Traceback" not in rest


def test_a_conversation_that_outgrows_the_context_goes_on(terminal):
    chat, notes = terminal("--max-tokens", "30"), ""
    for number in range(5):
        chat.ask(f"{number} " + "tell me more " * 40)
        notes += chat.notes
    assert "the conversation outgrew the context" in notes
    assert "does not fit into the context" in chat.ask("too long " * 600)
    chat.ask("Hello!")  # behind a line that says what is summed up
    assert "tokens/s" in chat.notes
