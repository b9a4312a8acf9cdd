"""The README's table of what is kept names every file that a real session makes."""

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aded_edge.cli.main import COMMANDS

README = Path(__file__).parents[2] / "README.md"
HEADING = "### What is kept, where, who can read it, how to delete it"


@pytest.fixture(scope="module")
def rows():
    """The rows of the table, each a list of cells."""
    text = README.read_text(encoding="utf-8").partition(HEADING)[2]
    lines = text.strip().split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture
def run(tmp_path, model_path):
    """Runs a command of a user whose folders lie in `tmp_path`."""
    folders = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("DATA", "CACHE", "STATE")}
    folders |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    small = ["--threads", "1", "--gpu-layers", "0", "--ctx", "512", "--max-tokens", "4"]

    def run(*arguments, chat=False):
        options = ["chat", str(model_path), *small] if chat else []
        command = [sys.executable, "-m", "aded_edge", *options, *arguments]
        return subprocess.run(
            command, env={**os.environ, **folders}, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", timeout=240,
        )  # fmt: skip

    return run


def test_every_file_of_a_session_is_in_the_table(rows, run, tmp_path):
    assert run("--prompt", "Hello", chat=True).returncode == 0
    notes = tmp_path / "notes.md"
    notes.write_text("The locker is behind the door.")
    assert run("notes", "add", str(notes)).returncode == 0
    assert run("-c", "--prompt", "Where is the locker?", chat=True).returncode == 0
    places = [place for row in rows for place in re.findall(r"`([^`]+)`", row[0])]
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - {notes}
    assert {path.suffix for path in made} >= {".db", ".kv"}
    for path in made:
        named = [place for place in places if fnmatch.fnmatch(str(path), f"*/{place}")]
        assert named, f"{path} is not in the README's table"


def test_what_is_said_to_delete_is_a_command(rows):
    commands = [one for row in rows for one in re.findall(r"`([a-z ]+)`", row[3])]
    assert len(commands) > 3
    assert {command.split()[0] for command in commands} <= set(COMMANDS)


def test_forget_deletes_what_was_learned(run):
    assert run("--prompt", "Hello", chat=True).returncode == 0
    refused = run("forget", "unknown")
    assert refused.returncode != 0
    assert "nothing was learned about 'unknown'; known:" in refused.stderr
    assert run("forget").returncode != 0, "without an answer to its question nothing is deleted"
    done = run("forget", "--yes")
    assert done.returncode == 0
    assert done.stdout.startswith("deleted what was learned about ")
    assert "Hello" in run("history", "list").stdout, "conversations stay"
    again = run("forget", "--yes")
    assert again.stdout == ""
