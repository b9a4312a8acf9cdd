"""The table of commands, as far as no model is needed."""

from pathlib import Path

import pytest

from aded_edge.cli.chat.commands import COMMANDS, run
from aded_edge.errors import ConfigError

ASKED = [
    "help",
    "new",
    "resume",
    "list",
    "search",
    "regen",
    "edit",
    "undo",
    "system",
    "set",
    "file",
    "copy",
    "remember",
    "memories",
    "forget",
    "stats",
    "save",
    "exit",
]


class Nobody:
    """An assistant that was never asked anything."""

    messages = ()
    sampling = {"temperature": 0.2}  # noqa: RUF012
    search = forget = None


class Talk:
    assistant = Nobody()
    leaving = False


def test_there_is_every_command():
    assert sorted(COMMANDS) == sorted(ASKED)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"/{name}" in readme, f"the README does not name /{name}"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("/nonsense", "no command /nonsense; /help lists them"),
        ("/serch x", "did you mean /search?"),
        ("/mem", "did you mean /memories?"),
        ("/search", "/search WORDS"),
        ("/forget x", "'x' is no number"),
        ("/set temprature 1", "did you mean temperature?"),
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
    talk.assistant.sampling = {"temperature": 0.2}
    run(talk, "/set top_k 7")
    assert talk.assistant.sampling["top_k"] == 7
    run(talk, "/set")
    assert "temperature = 0.2" in capsys.readouterr().err


def test_leaving():
    talk = Talk()
    run(talk, "/exit")
    assert talk.leaving is True
