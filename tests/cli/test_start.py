"""A process whose streams, folders, numbers or model are not as they should be: no traceback."""

import os
import subprocess
import sys

import pytest

from aded_edge.store import Store
from tests.gguf_files import write_tiny

PATIENCE = 240

CLOSED = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-"}

TEMPLATES = {
    "syntax": "{% for message in messages %}{{ message['content'] }",
    "undefined": "{{ nothing.of.this.name }}",
    "raised": "{{ raise_exception('roles must\nalternate') }}",
    "endless": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "sandbox": "{{ ''.__class__.__mro__ }}",
    "number": "{{ 1 // 0 }}",
}


@pytest.fixture
def home(tmp_path):
    """The environment of a user with a store that is empty."""
    names = {"XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config"}
    Store.open(tmp_path / "data" / "aded-edge" / "store.db").close()
    return {**os.environ, **{name: str(tmp_path / folder) for name, folder in names.items()}}


def run(environment, *arguments, streams=""):
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", "aded_edge", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
    )


def chat(environment, model, *options, streams=""):
    fixed = ("--drafting", "off", "--max-tokens", "4", "--threads", "1")
    arguments = ("chat", str(model), "--prompt", "hello", *fixed, *options)
    return run(environment, *arguments, streams=streams)


def one_line(done, *words):
    """It was refused in one line, which has these words."""
    assert done.returncode in (1, 2), done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in line


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("command", ["chat", "history", "models"])
def test_a_stream_that_is_closed(closed, command, home, tiny_path, tmp_path):
    if command == "chat":
        done = chat(home, tiny_path, streams=CLOSED[closed])
        with Store.open(tmp_path / "data" / "aded-edge" / "store.db") as store:
            assert store.conversations.get(1).title == "hello"
    else:
        done = run(home, command, "list", streams=CLOSED[closed])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if closed != "stdout":
        assert done.stdout.strip() or command == "history"  # an empty history has no lines


@pytest.mark.parametrize("folder", ["XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"])
@pytest.mark.parametrize("command", ["chat", "history", "models"])
def test_a_file_in_the_place_of_a_folder(folder, command, home, tiny_path, tmp_path):
    file = tmp_path / "file"
    file.touch()
    home[folder] = str(file)
    done = chat(home, tiny_path) if command == "chat" else run(home, command, "list")
    assert "Traceback" not in done.stderr
    if done.returncode:
        one_line(done, "aded-edge: ", str(file))
        assert folder != "XDG_CACHE_HOME"  # nothing depends on it


def test_a_user_without_a_home_is_told_in_one_line(home):
    code = "import pwd; pwd.getpwuid = {}.__getitem__\n"  # no entry in the list of users either
    code += "from aded_edge.cli.start import main; main(['history', 'list'])"
    without = {k: v for k, v in home.items() if k != "HOME" and not k.startswith("XDG_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=without, capture_output=True, text=True, check=False
    )
    one_line(done, "aded-edge: ", "HOME")


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_chat_template_that_fails_is_one_line(kind, home, tmp_path):
    model = tmp_path / "bad.gguf"
    write_tiny(model, context=4096, template=TEMPLATES[kind])
    one_line(chat(home, model), "aded-edge: ")


@pytest.mark.parametrize("ctx", ["1000000000", "-5", "1e3", "99999999999999999999"])
def test_an_absurd_context_is_one_line(ctx, home, tiny_path, tmp_path):
    config = tmp_path / "config" / "aded-edge" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f"[defaults]\nctx = {ctx}\n", encoding="utf-8")
    one_line(chat(home, tiny_path), "ctx", ctx if ctx != "1e3" else "1000.0")
    config.unlink()
    done = chat(home, tiny_path, "--ctx", ctx)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert ctx in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("option", "value"), [("--temperature", "nan"), ("--top-p", "inf"), ("--max-tokens", "1e9")]
)
def test_a_number_that_is_none_is_refused(option, value, home, tiny_path):
    done = chat(home, tiny_path, option, value)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert value in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("minutes", ["inf", "nan", "1e300"])
def test_an_endless_time_is_refused(minutes, home, tiny_path):
    done = run(home, "prime", str(tiny_path), "--minutes", minutes)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "--minutes" in done.stderr.splitlines()[-1]


def test_more_tokens_than_there_are_numbers_is_no_traceback(home, tiny_path):
    done = chat(home, tiny_path, "--max-tokens", "9" * 30, "--ctx", "64")
    assert "Traceback" not in done.stderr
