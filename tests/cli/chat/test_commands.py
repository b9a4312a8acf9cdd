"""The table of commands, as far as no model is needed."""

import re
from pathlib import Path

import pytest

from aded_edge.cli.chat.commands import COMMANDS, is_command, lines_about, run
from aded_edge.decode.stats import Stats
from aded_edge.errors import ConfigError

README = Path(__file__).parents[3] / "README.md"


class Nobody:
    """An assistant that was never asked anything."""

    messages = ()
    search = forget = None

    def __init__(self):
        self.sampling = {"temperature": 0.2}


class Talk:
    """What a command needs of a repl."""

    def __init__(self):
        self.assistant = Nobody()
        self.leaving = False


def test_the_readme_names_every_command_and_no_other():
    table = README.read_text(encoding="utf-8").split("| in the chat |")[1].split("\n\n")[0]
    named = re.findall(r"`/(\w+)", table)
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("/nonsense", "no command /nonsense; /help lists them"),
        ("/serch x", "did you mean '/search'?"),
        ("/mem", "did you mean '/memories'?"),
        ("/search", "/search WORDS"),
        ("/forget x", "'x' is not a number"),
        ("/set temprature 1", "did you mean 'temperature'?"),
        ("/set temperature warm", "/set temperature VALUE"),
        ("/set temperature -1", "-1"),
        ("/memories all", "budget N"),
        ("/copy", "no answer yet"),
        ("/edit", "nothing was asked"),
    ],
)
def test_mistakes_are_answered_with_the_remedy(typed, words):
    with pytest.raises(ConfigError) as error:
        run(Talk(), typed)
    assert words in str(error.value)


def test_settings_are_set(capsys):
    talk = Talk()
    run(talk, "/set top_k 7")
    assert talk.assistant.sampling["top_k"] == 7
    run(talk, "/set")
    assert "temperature = 0.2" in capsys.readouterr().err


def test_leaving():
    talk = Talk()
    run(talk, "/exit")
    assert talk.leaving is True


def test_lines_about_a_session():
    stats = Stats(tokens=11, steps=5, accepted=5, seconds=1.0, cumulative=Stats(tokens=99))
    last, session = lines_about(stats)
    assert last.startswith("last answer: 11 tokens, 10.0 tokens/s, MAT 2.00")
    assert session.startswith("this session: 99 tokens")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/help", True),
        ("/hlep", True),
        ("/hlep me", True),
        ("/nonsense words", True),
        ("/tmp is full, why?", False),
        ("/quit", True),
        ("/", True),
        ("/etc/hosts is what?", False),
        ("/usr/bin/env python", False),
        ("/tmp", False),
        ("//comment", False),
        ("//help", False),
        ("/* a comment */", False),
    ],
)
def test_a_line_is_a_command_only_if_it_looks_like_one(text, command):
    assert is_command(text) is command
