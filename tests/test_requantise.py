"""scripts/requantise.py, run as users run it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import llama_cpp
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "requantise.py"


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def description(path):
    llama = llama_cpp.Llama(str(path), n_ctx=64, verbose=False)
    try:
        return llama._model.desc()
    finally:
        llama.close()


def test_the_real_model_becomes_q4_0(model_path, tmp_path):
    out = tmp_path / "q[4]_0.gguf"
    result = run(model_path, out, "--threads", 1)
    assert result.returncode == 0, result.stderr
    assert str(out) in result.stdout
    assert description(out).endswith("Q4_0")
    assert list(tmp_path.iterdir()) == [out]


def test_the_type_is_chosen_in_any_case(tiny_path, tmp_path):
    assert run(tiny_path, tmp_path / "out.gguf", "--type", "q8_0").returncode == 0
    assert description(tmp_path / "out.gguf").endswith("Q8_0")


def test_nothing_is_overwritten(tiny_path, tmp_path):
    out = tmp_path / "out.gguf"
    out.write_text("mine")
    result = run(tiny_path, out)
    assert result.returncode == 1
    assert "exists already" in result.stderr
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("/nowhere/m.gguf", [], "cannot be read"),
        (__file__, [], "no GGUF"),
        (None, ["--type", "Q9_9"], "no quantisation 'Q9_9'"),
    ],
)
def test_a_user_s_error_is_one_line(tiny_path, tmp_path, model, options, words):
    result = run(model or tiny_path, tmp_path / "out.gguf", *options)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("aded-edge: ")
    assert words in last
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_llama_cpp_s_own_refusal_is_told(model_path, tmp_path):
    result = run(model_path, tmp_path / "out.gguf", "--type", "IQ1_S")
    assert result.returncode == 1
    assert "imatrix" in result.stderr.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_leaves_nothing(tiny_path, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_path.read_bytes()[:5000])
    result = run(cut, tmp_path / "out.gguf")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [cut]


def test_a_folder_that_is_missing_is_told(tiny_path, tmp_path):
    result = run(tiny_path, tmp_path / "no" / "out.gguf")
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_ctrl_c_leaves_nothing(model_path, tmp_path):
    command = [sys.executable, str(SCRIPT), str(model_path), str(tmp_path / "out.gguf")]
    with subprocess.Popen([*command, "--threads", "1"], stderr=subprocess.PIPE) as process:
        while not list(tmp_path.glob("*.partial/*")):
            assert process.poll() is None, "it ended before it wrote anything"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert list(tmp_path.iterdir()) == []
