"""The baseline's process: its answers, its errors, and its end."""

import json
import os
import subprocess
import sys
import time

import pytest

from aded_edge.bench.speed import baseline
from aded_edge.bench.speed.decoders import RunSettings, Turn, llama_options
from aded_edge.bench.speed.plain import PlainDecoder
from aded_edge.errors import BenchError
from aded_edge.llamacpp import offloading
from tests.bench.speed.fake_server import runs

needs_scripts = pytest.mark.skipif(
    sys.platform == "win32", reason="a script is no executable there"
)
MESSAGES = [{"role": "user", "content": "Name the colours of the rainbow."}]


@pytest.fixture
def start(tmp_path):
    """Starts the process, and stops it after the test."""
    started = []

    def start(settings):
        started.append(PlainDecoder(settings, tmp_path / "log"))
        return started[-1]

    yield start
    for one in started:
        one.close()


def interpreter(folder, body):
    """Makes an executable that stands in for Python."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_it_answers_as_llama_cpp_does_here(small, plain, start):
    decoder = start(small)
    prompt = decoder.prompt(MESSAGES)
    assert prompt == baseline.prompt_tokens(plain, MESSAGES)
    said = plain.create_chat_completion(MESSAGES, max_tokens=12, temperature=0.0, seed=0)
    first = decoder.answer(Turn(MESSAGES, prompt, []))
    assert first.text == said["choices"][0]["message"]["content"]
    assert first.tokens == 12
    assert 0 < first.seconds_first < first.seconds_last
    assert (first.steps, first.accepted) == (11, 0)
    assert decoder.history[: len(prompt)] == prompt
    assert len(decoder.history) == len(prompt) + 11  # the last token is not evaluated
    assert decoder.about["interpreter"] == sys.executable
    assert "CPU" in decoder.about["system"]
    assert decoder.about["devices"] == []

    longer = [
        *MESSAGES,
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "Go on."},
    ]
    again = decoder.answer(Turn(longer, decoder.prompt(longer), decoder.history))
    assert again.tokens > 0
    fresh = decoder.answer(Turn(MESSAGES, prompt, []))
    assert fresh.text == first.text
    decoder.close()
    assert not runs(decoder._process.pid)
    decoder.close()  # twice is no harm


def test_messages_that_the_template_refuses_are_told_and_it_goes_on(small, start):
    decoder = start(small)
    with pytest.raises(ValueError, match="content"):
        decoder.prompt([{"role": "user"}])
    assert decoder.prompt(MESSAGES)


def test_what_is_printed_does_not_disturb_the_replies(small):
    """The process of the script prints to stdout by all ways that a library has."""
    noisy = (
        "import os, runpy, llama_cpp\n"
        "real = llama_cpp.Llama\n"
        "def noisy(**k):\n"
        "    print('python'); os.write(1, b'native\\n'); os.system('echo c'); return real(**k)\n"
        "llama_cpp.Llama = noisy\n"
        f"runpy.run_path({baseline.__file__!r}, run_name='__main__')"
    )
    settings = json.dumps(
        {"llama": llama_options(small), "answer": {}, "devices": offloading.__file__}
    )
    done = subprocess.run(
        [sys.executable, "-c", noisy], input=settings + "\n", capture_output=True, text=True
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["llama_cpp_python"]
    assert "native" in done.stderr
    assert done.returncode == 0  # stdin ended, so it ended


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_it_ends_when_the_parent_is_killed(small):
    parent = (
        "import sys, time; from pathlib import Path\n"
        "from aded_edge.bench.speed.decoders import RunSettings\n"
        "from aded_edge.bench.speed.plain import PlainDecoder\n"
        f"decoder = PlainDecoder(RunSettings({small.model!r}, ()), Path({os.devnull!r}))\n"
        "print(decoder._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        assert runs(child)
        process.kill()
    deadline = time.monotonic() + 60
    while runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(child)


def test_an_interpreter_that_is_missing_is_told(small, start, tmp_path):
    settings = RunSettings(small.model, (), baseline=str(tmp_path / "gone"))
    with pytest.raises(BenchError, match="--baseline") as told:
        start(settings)
    assert str(tmp_path / "gone") in str(told.value)


@needs_scripts
def test_an_interpreter_without_llama_cpp_is_told_with_the_remedy(small, start, tmp_path):
    bare = interpreter(tmp_path, "raise SystemExit(\"No module named 'llama_cpp'\")")
    with pytest.raises(BenchError, match="-m pip install llama-cpp-python") as told:
        start(RunSettings(small.model, (), baseline=bare))
    assert bare in str(told.value)
    assert "\n" not in str(told.value)


@needs_scripts
@pytest.mark.parametrize(
    "body",
    [
        "print('hello there')",
        "print('[1]')",
        "import os; os.write(1, bytes([255, 254, 10]))",
        "import sys; sys.stdin.readline()",
    ],
)
def test_one_that_is_no_baseline_is_told(small, start, tmp_path, body):
    other = interpreter(tmp_path, body)
    with pytest.raises(BenchError, match="no baseline|ended"):
        start(RunSettings(small.model, (), baseline=other))


def test_a_process_that_dies_is_told_with_its_last_words(small, start, tmp_path):
    decoder = start(small)
    with (tmp_path / "log").open("a", encoding="utf-8") as log:
        log.write("first line\nit ran out of memory\n")
    decoder._process.kill()
    with pytest.raises(BenchError, match="it ran out of memory") as told:
        decoder.prompt(MESSAGES)
    assert "\n" not in str(told.value)


def test_a_model_that_cannot_be_loaded_is_told(start, tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"nothing of the kind")
    with pytest.raises(BenchError, match="Failed to load model"):
        start(RunSettings(str(tmp_path / "bad.gguf"), ()))
