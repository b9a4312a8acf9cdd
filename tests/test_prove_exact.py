"""scripts/prove_exact.py: short answers, none at all, and prompts that do not fit."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "prove_exact.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("prove_exact", SCRIPT)
    module = sys.modules["prove_exact"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["prove_exact"]


def test_there_is_no_speed_without_a_second_token(script):
    long = script.Tally(answers=1, tokens=30, seconds=2.0)
    assert script._over_plain(long, script.Tally(tokens=30, seconds=3.0)) == 1.5
    assert script._over_plain(long, script.Tally(answers=1)) is None
    assert script._over_plain(script.Tally(answers=1), long) is None


class Says:
    """A model whose answer is given."""

    def __init__(self, tokens):
        self._tokens = tokens

    def reset(self):
        pass

    def set_seed(self, seed):
        pass

    def generate(self, prompt, **sampling):
        yield from self._tokens


def test_an_answer_of_no_token_took_no_time(script, monkeypatch):
    monkeypatch.setattr(script, "ends_answer", lambda llama, token: False)
    assert script._answer(Says([]), [1], {}, 0, 10) == ([], 0.0)
    assert script._answer(Says([5]), [1], {}, 0, 10) == ([5], 0.0)
    answer, seconds = script._answer(Says([5, 6]), [1], {}, 0, 10)
    assert answer == [5, 6]
    assert 0.0 < seconds < 60.0


def test_prompts_that_do_not_fit_are_one_line(tiny_path, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"turns": ["Hello."], "category": "qa"}\n', encoding="utf-8")
    command = [sys.executable, SCRIPT, tiny_path, "--prompts", prompts, "--ctx", "64"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert str(prompts) in line
    assert "raise --ctx" in line
