"""The chat as its users run it: in a pipe, with options, and on a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from aded_edge.store import Store

FRANCE = "What is the capital of France?"
STORY = "Write a long story about a fox."
PATIENCE = 240
"""Seconds after which a chat that says nothing has hung."""


@pytest.fixture(scope="module")
def command(model_path, tmp_path_factory):
    """(options) -> a command line that always says the same."""
    # One store, so that costs are measured once.
    store = tmp_path_factory.mktemp("store") / "store.db"
    fixed = ["--threads", "1", "--gpu-layers", "0", "--ctx", "512", "--temperature", "0"]
    # What is recalled of earlier conversations would change the answers.
    fixed += ["--store", str(store), "--memory-tokens", "0"]

    def command(*options, model=model_path):
        return [sys.executable, "-m", "aded_edge.chat", str(model), *fixed, *options]

    return command


@pytest.fixture(scope="module")
def chat(command):
    """Runs a chat without a terminal."""

    def chat(*options, text=None, environment=None, **changes):
        return subprocess.run(
            command(*options, **changes),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            timeout=PATIENCE,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )

    return chat


@pytest.fixture(scope="module")
def expected(plain):
    """(messages, max_tokens) -> the answer of llama_cpp."""

    def expected(*messages, max_tokens=24):
        roles = ("user", "assistant")
        output = plain.create_chat_completion(
            [{"role": roles[i % 2], "content": text} for i, text in enumerate(messages)],
            temperature=0.0,
            max_tokens=max_tokens,
        )
        return output["choices"][0]["message"]["content"]

    return expected


BRIEF = ("--max-tokens", "24")


def assert_answered(done, answer):
    assert done.returncode == 0, done.stderr
    assert done.stdout == answer + "\n"
    assert re.search(r"^\d+ tokens, [\d.]+ tokens/s, MAT \d", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def assert_refused(done, *words):
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


# --- without a terminal ---------------------------------------------------------------------


@pytest.mark.parametrize("drafting", ["auto", "off", "paper"])
def test_a_prompt_is_answered(chat, expected, drafting):
    done = chat("--prompt", FRANCE, "--drafting", drafting, "--store", "none", *BRIEF)
    assert_answered(done, expected(FRANCE))
    assert ('(plain: drafting="off")' in done.stderr) == (drafting == "off")


def test_piped_text_is_a_prompt(chat, expected):
    assert_answered(chat(*BRIEF, text=f"\n{FRANCE}\n\n"), expected(FRANCE))


def test_a_prompt_comes_before_piped_text(chat, expected):
    assert_answered(chat("--prompt", FRANCE, *BRIEF, text="something else"), expected(FRANCE))


def test_json_is_one_line_with_the_figures(chat, expected):
    done = chat("--prompt", FRANCE, "--json", *BRIEF)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["answer"] == expected(FRANCE)
    assert result["interrupted"] is False
    stats = result["stats"]
    assert stats["tokens"] <= 24
    assert stats["mat"] == 1 + stats["accepted"] / stats["steps"]
    assert stats["plain_because"] is None


def test_a_seed_gives_the_same_answer_again(chat):
    options = ("--temperature", "0.9", "--seed", "7", "--prompt", "Name three animals.", *BRIEF)
    first, second = chat(*options), chat(*options)
    assert first.stdout == second.stdout != ""


def test_a_system_message_is_heard(chat, plain):
    messages = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": FRANCE},
    ]
    answer = plain.create_chat_completion(messages, temperature=0.0, max_tokens=24)
    done = chat("--system", "Answer in French.", "--prompt", FRANCE, *BRIEF)
    assert_answered(done, answer["choices"][0]["message"]["content"])


def test_what_was_said_is_kept_and_drafted_the_next_time(chat, tmp_path):
    options = ("--prompt", FRANCE, "--json", "--store", str(tmp_path / "store.db"))
    options = (*options, "--max-tokens", "24", "--drafting", "paper")
    first, second = (json.loads(chat(*options).stdout) for _ in range(2))
    assert second["stats"]["mat"] > first["stats"]["mat"]
    with Store.open(tmp_path / "store.db") as store:
        assert store.warnings == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--drafting", "nonsense"], ["nonsense", "'auto'", "'off'", "'paper'"]),
        (["--drafting", ""], ["'auto'"]),
    ],
)
def test_nonsense_is_refused_in_one_line(chat, options, words):
    assert_refused(chat("--prompt", FRANCE, *options, *BRIEF), "aded-edge:", *words)


@pytest.mark.parametrize(
    "options", [["--temperature", "warm"], ["--ctx", "1"], ["--threads", "0"], ["--nonsense"]]
)
def test_a_wrong_option_is_no_traceback(chat, options):
    done = chat("--prompt", FRANCE, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert options[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_model_is_told_in_one_line(chat, tmp_path):
    missing = tmp_path / "nothing.gguf"
    assert_refused(chat("--prompt", FRANCE, model=missing), "aded-edge:", str(missing))


def test_a_folder_and_a_text_are_no_models(chat, tmp_path):
    assert_refused(chat("--prompt", FRANCE, model=tmp_path), "folder", str(tmp_path))
    text = tmp_path / "model.gguf"
    text.write_text("no model")
    assert_refused(chat("--prompt", FRANCE, model=text), "no GGUF file", str(text))


@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_an_empty_pipe_is_refused(chat, text):
    assert_refused(chat(text=text), "aded-edge:", "empty", "--prompt")


def test_a_prompt_that_does_not_fit_is_refused(chat):
    done = chat(*BRIEF, text="word " * 2000)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "does not fit into the context of 512 tokens" in done.stderr


def test_bytes_that_are_no_utf8_are_no_traceback(command):
    done = subprocess.run(
        command(*BRIEF), input=b"Say \xff\xfe hello.", capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode()


def test_an_output_that_is_no_utf8_is_no_traceback(chat):
    """A terminal in Latin-1 shows something else for what it cannot show."""
    prompt = "Repeat exactly: 🦊🌙😀 你好"
    done = chat("--prompt", prompt, *BRIEF, environment={"PYTHONIOENCODING": "latin-1"})
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "prompt",
    ["Repeat exactly: 🦊🌙😀🚀🎉 🦊🌙😀🚀🎉", "用中文写一首关于月亮的短诗。", "Répète: éàüß œuvre"],
)
def test_every_piece_that_is_printed_is_whole_characters(command, prompt):
    process = subprocess.Popen(
        command("--prompt", prompt, "--max-tokens", "40"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        pieces = list(iter(lambda: os.read(process.stdout.fileno(), 1 << 16), b""))
    assert process.returncode == 0
    assert len(pieces) > 5, "the answer is not streamed"
    text = "".join(piece.decode("utf-8") for piece in pieces)
    assert "\ufffd" not in text
    assert any(ord(character) > 127 for character in text)


def test_a_reader_that_goes_away_is_no_traceback(command):
    process = subprocess.Popen(
        command("--prompt", STORY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout.read(5)
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


@pytest.mark.parametrize("when", ["measuring", "answering"])
def test_ctrl_c_ends_a_prompt_with_status_130(command, when):
    process = subprocess.Popen(
        command("--prompt", STORY, "--store", "none"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        if when == "measuring":
            while b"measuring" not in process.stderr.readline():
                pass
        else:
            assert process.stdout.read(5)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read().decode()
        process.stdout.read()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert ("stopped" in errors) == (when == "answering")


def test_help_comes_without_loading_a_model():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "aded_edge.chat", "--help"],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    for option in ("--drafting", "--store", "--prompt", "--json", "--system", "--seed"):
        assert option in done.stdout
    assert "prompt_toolkit" not in done.stderr  # half a second that a pipe need not wait
    assert "huggingface_hub" not in done.stderr


# --- on a terminal --------------------------------------------------------------------------

LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
os.execv(sys.executable, sys.argv[1:])
"""


class TerminalChat:
    """A chat on a pseudo-terminal, typed at and read from."""

    def __init__(self, arguments):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 9999, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
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
