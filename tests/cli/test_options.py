"""What all commands share: the store, the model and the config file."""

import json

import pytest

from aded_edge.assistant.settings import settings_path
from aded_edge.cli.main import cli, guarded
from aded_edge.store import Store, default_store_path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A user's folders, and a folder to work in."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def config():
    """(text) -> the user's config file holds it."""

    def write(text):
        settings_path().parent.mkdir(parents=True, exist_ok=True)
        settings_path().write_text(text, encoding="utf-8")

    return write


def run(capsys, *arguments):
    """Exit status, stdout and stderr of a command."""
    status = guarded(cli, [str(argument) for argument in arguments])
    return (status, *capsys.readouterr())


NEEDS_A_STORE = [
    ["history", "list"],
    ["history", "show", "1"],
    ["history", "search", "x"],
    ["history", "export"],
    ["history", "import", "x.json"],
    ["history", "delete", "1", "--yes"],
    ["notes", "add", "."],
    ["notes", "list"],
    ["notes", "refresh"],
    ["notes", "search", "x"],
    ["notes", "remove", "."],
    ["stats"],
    ["learn", "model.gguf", "."],
    ["prime", "model.gguf", "--minutes", "1"],
]


@pytest.mark.parametrize("arguments", NEEDS_A_STORE, ids=" ".join)
def test_no_store_is_never_a_file_called_none(arguments, here, capsys):
    status, _, errors = run(capsys, *arguments, "--store", "none")
    assert status == 1
    assert "--store none keeps nothing" in errors
    assert len(errors.splitlines()) == 1
    assert list(here.iterdir()) == []


def test_no_store_in_the_config_file_means_the_same(config, here, capsys):
    config('[defaults]\nstore = "none"\n')
    status, _, errors = run(capsys, "history", "list")
    assert status == 1
    assert "give a path, or --store default" in errors
    assert "does not exist yet" in run(capsys, "history", "list", "--store", "default")[2]
    assert list(here.iterdir()) == []


def test_a_store_of_this_name_has_a_path(here, capsys):
    Store.open(here / "none").close()
    assert run(capsys, "history", "list", "--json", "--store", "./none") == (0, "[]\n", "")


def test_the_default_store_can_be_named(capsys):
    status, _, errors = run(capsys, "history", "list", "--store", "default")
    assert status == 1
    assert str(default_store_path()) in errors


@pytest.mark.parametrize("command", [["history", "list"], ["notes", "list"], ["stats"]])
def test_the_config_file_names_the_store_of_every_command(command, config, here, capsys):
    Store.open(here / "mine.db").close()
    config('[defaults]\nstore = "mine.db"\n')
    assert run(capsys, *command)[0] == 0
    status, _, errors = run(capsys, *command, "--store", "other.db")  # the command line wins
    assert status == 1
    assert "other.db does not exist yet" in errors


TAKES_A_MODEL = [
    ["bench", "--prompts", "prompts.jsonl", "--decoders", "llama_cpp"],
    ["bench", "quarter"],
    ["bench", "record", "--prompts", "prompts.jsonl", "--out", "x.npz"],
    ["chat", "--prompt", "x"],
    ["doctor"],
    ["learn", "text.md"],
    ["prime", "--minutes", "1"],
]
"""Without a model; `learn` has its own order."""


@pytest.fixture
def texts(here):
    """What the commands above read."""
    dialog = {"question_id": 1, "category": "x", "turns": ["Why?"]}
    (here / "prompts.jsonl").write_text(json.dumps(dialog))
    (here / "text.md").write_text("some text")


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize("command", TAKES_A_MODEL, ids=lambda command: command[0])
def test_the_config_file_names_the_model_of_every_command(command, config, capsys):
    config('[defaults]\nmodel = "no-such-model"\n')
    status, _, errors = run(capsys, *command)
    assert status == 1
    assert "no model 'no-such-model'" in errors


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize("command", TAKES_A_MODEL, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no-such-model", "no model 'no-such-model'"),
        ("/nowhere/model.gguf", "/nowhere/model.gguf does not exist"),
        ("hf:nonsense", "'hf:nonsense' names no repo"),
    ],
)
def test_every_command_takes_a_path_a_name_and_a_repo(command, model, words, capsys):
    at = 2 if command[1:2] in (["quarter"], ["record"]) else 1
    status, _, errors = run(capsys, *command[:at], model, *command[at:])
    assert status == 1
    assert words in errors


@pytest.mark.usefixtures("texts")
def test_learn_takes_what_is_no_model_for_a_text(config, capsys):
    status, _, errors = run(capsys, "learn", "no-such-model", "text.md")
    assert "no model 'no-such-model'" in errors
    config('[defaults]\nmodel = "mine"\n')
    status, _, errors = run(capsys, "learn", "text.md", ".")
    assert status == 1
    assert "no model 'mine'" in errors
    status, _, errors = run(capsys, "learn", "other", "text.md")
    assert "no model 'other'" in errors
    status, _, errors = run(capsys, "learn", "other")
    assert status == 2
    assert "'other' is taken for the model" in errors


def test_without_a_model_a_command_asks_for_one(capsys):
    status, _, errors = run(capsys, "doctor")
    assert status == 2
    assert "Missing argument 'MODEL'" in errors


@pytest.mark.parametrize("command", [["stats"], ["chat", "--prompt", "x"]])
def test_a_config_file_that_is_wrong_is_one_line_and_help_needs_none(command, config, capsys):
    config("[defaults]\nstor = 1\n")
    status, _, errors = run(capsys, *command)
    assert status == 1
    assert len(errors.splitlines()) == 1
    assert "did you mean 'store'?" in errors
    assert run(capsys, *command, "--help")[0] == 0
    assert run(capsys, "models", "list", "--json")[0] == 0  # takes nothing from it


def test_a_value_that_an_option_refuses_is_said_to_be_the_config_files(config, capsys):
    config("[defaults]\ntemperature = -1.0\n")
    status, _, errors = run(capsys, "chat", "--prompt", "x")
    assert status == 1
    assert errors.startswith("aded-edge: config file: temperature = -1.0: ")


def test_the_chat_goes_by_persona_and_config_in_any_order(here, config, capsys):
    config("not read")
    (here / "other.toml").write_text('[personas.a]\nmodel = "of-a"\n[defaults]\nmodel = "of-all"\n')
    for options in (["--persona", "a", "--config"], ["--config"]):
        status, _, errors = run(capsys, "chat", "--prompt", "x", *options, "other.toml")
        assert status == 1
        assert ("no model 'of-a'" if len(options) > 1 else "no model 'of-all'") in errors
    status, _, errors = run(capsys, "chat", "--config", "other.toml", "--persona", "b")
    assert status == 1
    assert "no persona 'b' (known: a)" in errors
