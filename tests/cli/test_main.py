"""The command line: help, and errors in one line."""

import subprocess
import sys

import click
import pytest

from aded_edge.cli.main import COMMANDS, cli, guarded
from aded_edge.errors import AdedError


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "aded_edge", *arguments], capture_output=True, text=True, check=False
    )


def one_line(text):
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


def test_every_command_is_in_the_readme():
    from pathlib import Path

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert len(COMMANDS) > 8
    for name in COMMANDS:
        assert f"aded_edge {name}" in readme


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_found_by_its_name(name, capsys):
    assert guarded(cli, [name, "--help"]) == 0
    assert f"{name} [OPTIONS]" in capsys.readouterr().out


def test_a_command_does_not_wait_for_the_others():
    code = "import sys; from aded_edge.cli.start import main\ntry: main(['history', '--help'])\n"
    code += "except SystemExit: print(sorted(name for name in sys.modules if '.cli.' in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "aded_edge.cli.history" in done.stdout
    for other in ("bench", "chat", "doctor", "learn", "prime"):
        assert f"aded_edge.cli.{other}" not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "/nowhere/model.gguf", "--prompts", "/nowhere/p.jsonl"],
        ["bench", __file__, "--prompts", "/nowhere/p.jsonl"],
        ["bench", __file__, "--prompts", __file__, "--decoders", "auto,magic"],
    ],
)
def test_a_user_s_error_is_one_line(arguments):
    result = run(*arguments)
    assert result.returncode == 1
    assert one_line(result.stderr)
    assert result.stdout == ""


def test_an_unknown_command_is_refused():
    result = run("bunch")
    assert result.returncode == 2
    assert "bunch" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interruption_has_the_shell_s_own_status(capsys):
    @click.command()
    def interrupted():
        raise KeyboardInterrupt

    @click.command()
    def failing():
        raise AdedError("7 is too many; give fewer")

    assert guarded(interrupted, []) == 130
    assert guarded(failing, []) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "aded-edge: 7 is too many; give fewer"
