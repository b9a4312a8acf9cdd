"""Escape sequences in what is kept reach no terminal, and stay in JSON, exports and files."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from aded_edge.store import Conversation, Message, Store
from tests.cli.chat.screen import Chat
from tests.gguf_files import write_tiny

EVIL = "evil \x1b]0;x\x07 \x1b[2J \x9b2J \x1b]52;c;eA==\x07 \u202ereversed words"
SHOWN = r"\u001b]0;x\u0007"

RUN = """
import json, sys
from aded_edge.cli.main import cli, guarded
for arguments in json.loads(sys.argv[1]):
    guarded(cli, arguments)
"""
COLOURS = re.compile(r"\x1b\[[\d;]*m")
OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def store(folder):
    path = folder / "store.db"
    with Store.open(path) as kept:
        said = [
            Message("user", EVIL),
            Message("assistant", EVIL, model=EVIL, sources=(EVIL,), tokens=3),
        ]
        kept.conversations.add(Conversation(0, "0" * 32, EVIL, EVIL, system=EVIL), said)
        kept.memories.add(EVIL)
        kept.model("f", EVIL)
    return path


@pytest.fixture(scope="module")
def note(folder):
    path = folder / "no\x1b]0;x\x07te\x1b[2J.md"
    path.write_text(EVIL)
    return path


def on_a_terminal(*commands):
    """What the commands write on a terminal."""
    master, slave = pty.openpty()
    words = [[str(word) for word in command] for command in commands]
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(words)],
        stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "400", "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    os.close(slave)
    read = []
    while True:
        try:
            read.append(os.read(master, 1 << 16))
        except OSError:  # how Linux says that the other side has gone
            break
    child.wait(60)
    os.close(master)
    return b"".join(read).decode()


def in_a_pipe(*command):
    return subprocess.run(
        [sys.executable, "-m", "aded_edge", *map(str, command)], capture_output=True, check=True
    ).stdout.decode()


def test_no_command_sends_what_is_kept_to_the_terminal(store, note, folder):
    at = ("--store", store)
    exported = folder / "exported.json"
    text = on_a_terminal(
        ("history", "list", *at), ("history", "list", "--json", *at), ("history", "show", 1, *at),
        ("history", "show", 1, "--json", *at), ("history", "search", "evil", *at),
        ("history", "export", *at), ("history", "export", "--json", *at),
        ("history", "export", "--out", exported, *at),
        ("history", "import", exported, "--store", folder / "other.db"),
        ("notes", "add", note, *at), ("notes", "list", *at), ("notes", "search", "evil", *at),
        ("notes", "remove", f"{note}.gone", *at), ("notes", "add", f"{note}.gone", *at),
        ("stats", *at), ("stats", "--json", *at), ("history", "show", EVIL, *at), (EVIL,),
        ("history", "list", "--store", note), ("chat", f"{note}.gguf"), ("learn", note, note, *at),
        ("history", "delete", 1, "--yes", "--store", folder / "other.db"),
    )  # fmt: skip
    assert OBEYED.findall(COLOURS.sub("", text)) == []
    assert "Traceback" not in text
    assert text.count(SHOWN) > 20


def test_programs_and_files_get_it_unchanged(store, folder):
    at = ("--store", store)
    listed = json.loads(in_a_pipe("history", "list", "--json", *at))
    assert listed[0]["title"] == EVIL
    shown = json.loads(in_a_pipe("history", "show", "1", "--json", *at))
    (one,) = shown["conversations"]
    assert [message["content"] for message in one["messages"]] == [EVIL, EVIL]
    assert EVIL in in_a_pipe("history", "export", *at)
    in_a_pipe("history", "export", "--out", folder / "kept.md", *at)
    assert EVIL in (folder / "kept.md").read_text()
    other = ("--store", folder / "imported.db")
    in_a_pipe("history", "import", folder / "kept.md", *other)
    assert json.loads(in_a_pipe("history", "list", "--json", *other))[0]["title"] == EVIL


def test_a_chat_shows_it_harmlessly(store, folder):
    """The screen fails at any sequence that is not the program's own."""
    model = folder / "tiny.gguf"
    write_tiny(model, name=EVIL)
    here = Chat(folder, model, [EVIL, "\n\n```py\n", EVIL, "\n```\n"], height=40, width=200,
                options=("--store", str(store)))  # fmt: skip
    try:
        here.until(lambda screen: "context 0 of" in screen.text(), "ready")
        for number, (typed, seen) in enumerate(
            [("/list", "1 "), ("/memories", "given with"), ("/search evil", "user:"),
             ("/resume 1", "(2 messages)"), ("/stats", "last answer"), ("show", "tokens, ")]
        ):  # fmt: skip
            before = here.screen.text().count(seen)
            here.type(typed + "\r")
            here.until(
                lambda screen, seen=seen, before=before: screen.text().count(seen) > before,
                f"answered {number}: {typed}",
            )
            here.settle()
        assert here.screen.text().count(SHOWN) >= 6
        assert b"\x1b]0;x" not in here.raw
        assert b"\xc2\x9b" not in here.raw
    finally:
        here.close()
