"""What a real chat leaves on the disk: every file of its user is searched, byte by byte."""

import json
import os
import subprocess
import sys

import pytest

from tests.cli.chat.test_session import Session
from tests.cli.chat.traces import Traces

SAID = {
    "quisquilian": "My locker opens with the word quisquilian brouhaha at noon.",
    "zanzibarine": "Always answer in the zanzibarine flummoxed manner of pirates.",
    "wainscotted": "The treasure lies under the wainscotted gallimaufry of uncle Bob.",
}
"""A rare word, and the sentence that has it: a question, a system message and a file."""


@pytest.fixture
def root(tmp_path):
    """Everything that a user has on the disk, except for the attached file."""
    (tmp_path / "root" / "tmp").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def home(root):
    folders = {"XDG_" + name + "_HOME": str(root / name) for name in _FOLDERS}
    own = {**folders, "HOME": str(root), "TMPDIR": str(root / "tmp")}
    return {**os.environ, **own, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}


_FOLDERS = ("DATA", "CACHE", "CONFIG", "STATE")


@pytest.fixture
def found(model_path, root):
    """() -> all kinds of traces of each sentence, by its word."""
    traces = Traces(model_path, root)
    return lambda: {word: traces.of(word, sentence) for word, sentence in SAID.items()}


@pytest.fixture
def attached(tmp_path):
    path = tmp_path / "attached.txt"
    path.write_text(SAID["wainscotted"])
    return path


NOTHING = {word: set() for word in SAID}


def say_all(chat, attached):
    chat.say(f"/system {SAID['zanzibarine']}")
    chat.say(f"/file {attached}")
    chat.say(SAID["quisquilian"], "tokens/s")


def run(home, *arguments):
    command = [sys.executable, "-m", "aded_edge", *arguments]
    done = subprocess.run(command, env=home, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_what_is_kept_is_found_and_after_its_deletion_is_not(model_path, home, attached, found):
    chat = Session(model_path, home)
    say_all(chat, attached)
    chat.leave()
    everything = {"word", "ids", "kv", "learned"}
    assert found() == dict.fromkeys(SAID, everything), "so the search finds what there is"
    run(home, "history", "delete", "1", "--yes")
    assert found() == NOTHING


@pytest.mark.parametrize("option", [("--no-log",), ("--store", "none")])
def test_what_is_not_to_be_kept_leaves_no_trace(model_path, home, attached, found, option):
    first = Session(model_path, home)  # so that there is a store
    first.say("Hello", "tokens/s")
    first.leave()
    chat = Session(model_path, home, *option)
    say_all(chat, attached)
    chat.say("/undo")
    say_all(chat, attached)
    chat.leave()
    assert found() == NOTHING


def test_what_is_undone_leaves_no_trace(model_path, home, attached, found):
    chat = Session(model_path, home)
    chat.say("Hello", "tokens/s")
    chat.leave()
    chat = Session(model_path, home, "-c")
    say_all(chat, attached)
    chat.say("/undo")
    chat.say("/system Answer in a few words.")
    chat.leave()
    assert found() == NOTHING


def test_what_is_edited_leaves_no_trace(model_path, home, found):
    chat = Session(model_path, home)
    chat.say(SAID["quisquilian"], "tokens/s")
    chat.say("/edit What is the capital of France?", "tokens/s")
    assert found()["quisquilian"] == set(), "at once, not only at the end"
    chat.leave()
    assert found()["quisquilian"] == set()
    assert "What is the capital of France?" in run(home, "history", "list", "--json")


def test_what_another_conversation_recalled_is_deleted_there_too(model_path, home, root, found):
    first = Session(model_path, home)
    first.say(SAID["quisquilian"], "tokens/s")
    first.leave()
    second = Session(model_path, home, "--max-tokens", "1")  # an answer could repeat the word
    second.say("Which word opens my locker at noon?", "tokens/s")
    second.leave()
    (kept,) = json.loads(run(home, "history", "show", "2", "--json"))["conversations"]
    assert "quisquilian" in kept["messages"][0]["given"], "so that there is something to delete"
    told = run(home, "history", "delete", "1", "--yes")
    assert found()["quisquilian"] == set()
    assert "texts of it were given in 2" in told
    assert "aded-edge history show or delete 2" in told
