"""A session on a real terminal with the real model: what a user does in a day.

pexpect types and reads; prompt_toolkit and rich draw as they do for people.
"""

import json
import os
import signal
import subprocess
import sys

import pexpect
import pytest

from aded_edge.store import Store

PATIENCE = 60

ANSWERING = r"(?:[\w,.']+ ){8}"
"""More words in a row than any message here has: the answer is on the screen."""


@pytest.fixture
def home(tmp_path):
    """Folders of a user who never ran it."""
    return {
        **os.environ,
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "TERM": "xterm-256color",
        "PYTHONIOENCODING": "utf-8",
    }


@pytest.fixture
def store(tmp_path):
    """Where that user's store lies."""
    return tmp_path / "data" / "aded-edge" / "store.db"


class Session:
    """A chat on a terminal."""

    def __init__(self, model, home, *options):
        command = ["-m", "aded_edge.chat", str(model), "--threads", "1", "--gpu-layers", "0"]
        command += ["--ctx", "1024", "--temperature", "0", "--max-tokens", "24", *options]
        self.child = pexpect.spawn(
            sys.executable, command, env=home, encoding="utf-8", timeout=PATIENCE,
            dimensions=(40, 200), echo=False,
        )  # fmt: skip
        self.prompt()

    def prompt(self):
        """Waits until it asks for a message."""
        # prompt_toolkit asks where the cursor is, and draws the line at the bottom when it knows.
        self.child.expect(r"\x1b\[6n")
        self.child.send("\x1b[5;1R")
        self.child.expect(r"context \d+ of \d+")

    def say(self, text, *words):
        """Types a line, and waits for words in what comes back."""
        self.child.send(text + "\r")
        for word in words:
            self.child.expect(word)
        self.prompt()

    def leave(self):
        self.child.send("/exit\r")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0


def history(home, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "aded_edge", *arguments],
        env=home, capture_output=True, encoding="utf-8", timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_day_with_the_assistant(model_path, home, tmp_path):
    notes = tmp_path / "harbour.md"
    notes.write_text("# Harbour\n\nThe harbour office of Eckmuehl closes at nine in winter.\n")
    chat = Session(model_path, home)
    chat.say("/help", "/search WORDS", "Esc Enter")
    chat.say("What is the capital of France?", r"\d+ tokens, [\d.]+ tokens/s, MAT")
    chat.say("Write a haiku\\\rabout it.", r"tokens/s")  # two lines, one message
    chat.say("/nonsens", "no command /nonsens")
    chat.say("/serch", "did you mean '/search'")
    chat.say("/regen", r"tokens/s")
    chat.say("/undo", "taken back: Write a haiku")
    chat.say("/remember I live in Bonn", "remembered")
    chat.child.send("Remember that my dog is called Rex\r")
    chat.child.expect("Remember for good: my dog is called Rex")
    chat.child.send("y\r")
    chat.child.expect("remembered")
    chat.child.expect("tokens/s")
    chat.prompt()
    chat.say("/memories", "I live in Bonn", "my dog is called Rex", r"\d+ of 128 tokens")
    chat.say(f"/file {notes}", "given whole")
    chat.say("When does the harbour office close in winter?", "tokens/s")
    chat.say("/stats", r"last answer: \d+ tokens", "this session:")
    chat.say(f"/save {tmp_path / 'saved.md'}", "written to")
    chat.say("/new", "a new conversation")
    chat.say("What is bread made of?", "tokens/s")
    chat.say("/list", "What is bread", "What is the capital")
    chat.say("/search capital France", "What is the capital of France")
    chat.say("/resume 1", "conversation 1: What is the capital")
    chat.say("/set temperature 0.5", "temperature = 0.5")
    chat.say("/system Be brief.", "system message: Be brief.")
    chat.leave()

    listed = json.loads(history(home, "history", "list", "--json"))
    titles = {one["id"]: one["title"][:16] for one in listed}
    assert titles == {1: "What is the capi", 2: "What is bread ma"}
    assert "capital of France" in history(home, "history", "search", "capital")
    exported = history(home, "history", "export", "1")
    assert exported.startswith("# What is the capital of France?")
    assert "harbour office" in exported
    assert "speedup" in history(home, "stats")
    history(home, "history", "delete", "2", "--yes")
    assert len(json.loads(history(home, "history", "list", "--json"))) == 1

    again = Session(model_path, home, "-c")
    again.say("/list", r"\* +1 ")
    again.leave()


def test_kill_9_in_an_answer_loses_that_turn_and_no_other(model_path, home, store):
    chat = Session(model_path, home)
    chat.say("What is the capital of France?", "tokens/s")
    chat.child.send("/set max_tokens 400\r")
    chat.prompt()
    chat.child.send("Write a long story about a fox.\r")
    chat.child.expect(ANSWERING)
    chat.child.kill(signal.SIGKILL)
    chat.child.wait()
    again = Session(model_path, home, "--continue")
    again.say("And of Italy?", "tokens/s")
    again.leave()
    with Store.open(store) as kept:
        asked = [m.content for m in kept.conversations.messages(kept.conversations.get(1))][::2]
    assert asked == ["What is the capital of France?", "And of Italy?"]


def test_ctrl_c_keeps_what_was_said_and_marks_it(model_path, home, store):
    chat = Session(model_path, home, "--max-tokens", "400")
    chat.child.send("Write a long story about a fox.\r")
    chat.child.expect(ANSWERING)
    chat.child.sendintr()
    chat.child.expect("stopped")
    chat.prompt()
    chat.leave()
    with Store.open(store) as kept:
        _question, answer = kept.conversations.messages(kept.conversations.get(1))
    assert answer.cut == "stopped"
    assert answer.content


def test_a_paste_of_many_lines_is_one_message(model_path, home, store):
    chat = Session(model_path, home)
    chat.child.send("\x1b[200~one\ntwo\nthree\x1b[201~")
    chat.say("", "tokens/s")
    chat.leave()
    with Store.open(store) as kept:
        assert (
            kept.conversations.messages(kept.conversations.get(1))[0].content == "one\ntwo\nthree"
        )


def test_what_is_private_leaves_nothing(model_path, home, store):
    chat = Session(model_path, home, "--no-log")
    chat.say("What is the capital of France?", "tokens/s")
    chat.leave()
    assert not store.exists()
