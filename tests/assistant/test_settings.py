"""The config file: its options, and the error messages for mistakes in it."""

import pytest

from aded_edge.assistant.settings import load_settings
from aded_edge.errors import ConfigError

FULL = """
[defaults]
model = "qwen"
temperature = 1

[personas.editor]
system = "You improve texts."
temperature = 0.0
max_tokens = 100
"""


def write(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_defaults_and_personas(tmp_path):
    settings = load_settings(write(tmp_path, FULL))
    assert settings.defaults == {"model": "qwen", "temperature": 1}
    editor = settings.persona("editor")
    assert editor.system == "You improve texts."
    assert editor.sampling == {"temperature": 0.0, "max_tokens": 100}


def test_no_file_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "aded_edge.assistant.settings.settings_path", lambda: tmp_path / "none.toml"
    )
    assert load_settings().defaults == {}
    with pytest.raises(ConfigError, match="none.toml"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("temperature = 1", ["temperature", "known: defaults, personas"]),
        ("[defaults]\ntemprature = 1", ["temprature", "did you mean 'temperature'?"]),
        ("[defaults]\ntemperature = 'warm'", ["temperature", "'warm'", "a number"]),
        ("[defaults]\nctx = true", ["ctx", "whole number"]),
        ("[defaults]\nctx = 1.5", ["ctx", "whole number"]),
        ("[defaults]\nctx = nan", ["nan", "whole number"]),
        ("[defaults]\ntemperature = inf", ["inf", "a number"]),
        ("[defaults]\nmodel = 'a'\nmodel = 'b'", ["not valid TOML"]),
        ("[personas]\ned = 3", ["personas.ed", "table"]),
        ("x = " + "[" * 5000, ["not valid TOML"]),
        ("personas = 3", ["personas", "table"]),
        ("[personas.x]\nmodle = 'a'", ["personas.x", "did you mean 'model'?"]),
        ("[defaults", ["not valid TOML"]),
    ],
)
def test_a_mistake_is_named(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_settings(path)
    for word in [str(path), *words]:
        assert word in str(error.value)


def test_an_unknown_persona_is_named_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"'cook' \(known: editor\)"):
        load_settings(write(tmp_path, FULL)).persona("cook")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_files_of_any_editor_are_read(tmp_path, encoding, ending):
    path = tmp_path / "config.toml"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    path.write_bytes((mark + FULL).replace("\n", ending).encode(encoding))
    assert load_settings(path).persona("editor").system == "You improve texts."
