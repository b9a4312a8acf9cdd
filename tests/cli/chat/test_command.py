"""The chat in a pipe and with options, as its users run it."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from aded_edge.store import Store

FRANCE = "What is the capital of France?"
STORY = "Write a long story about a fox."
PATIENCE = 240
"""Seconds after which a chat that says nothing has hung."""


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


@pytest.mark.parametrize("drafting", ["auto", "off", "paper"])
def test_a_prompt_is_answered(chat, expected, drafting):
    done = chat("--prompt", FRANCE, "--drafting", drafting, "--store", "none", *BRIEF)
    assert_answered(done, expected(FRANCE))
    assert ('(plain: drafting="off")' in done.stderr) == (drafting == "off")


def test_piped_text_is_a_prompt(chat, expected):
    assert_answered(chat(*BRIEF, text=f"\n{FRANCE}\n\n"), expected(FRANCE))


def test_a_prompt_comes_before_piped_text(chat, expected):
    assert_answered(chat("--prompt", FRANCE, *BRIEF, text="something else"), expected(FRANCE))


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_prompt_is_refused(chat, prompt):
    assert_refused(chat("--prompt", prompt), "--prompt is empty")


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
    assert stats["plain_because"] is None or "exact" in stats["plain_because"]


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
    "options", [["--temperature", "warm"], ["--ctx", "0"], ["--threads", "0"], ["--nonsense"]]
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
