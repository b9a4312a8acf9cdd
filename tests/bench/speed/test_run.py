"""The speed benchmark on the real model, small: its figures must be those of its answers."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from aded_edge.bench.dialogs import Dialog
from aded_edge.bench.speed import run as speed
from aded_edge.bench.speed.decoders import LOCAL, PLAIN, Local, RunSettings
from aded_edge.cli.main import cli, guarded
from aded_edge.errors import BenchError


@pytest.fixture
def prompts(tmp_path):
    rows = [
        {"question_id": 1, "category": "qa", "turns": ["Name three colours.", "Again."]},
        {"question_id": 2, "category": "rag", "turns": ["Say it in French: good morning."]},
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_command_measures_prints_and_writes(model_path, prompts, tmp_path, few):
    out = tmp_path / "out" / "result.json"
    arguments = [str(model_path), "--prompts", str(prompts), "--max-tokens", "12"]
    arguments += ["--ctx", "512", "--threads", "1", "--json", str(out), "--peer-dialogs", "1"]
    result = CliRunner().invoke(cli, ["bench", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert "visit 2, warm store" in result.stdout
    assert "Overhead" in result.stdout
    written = json.loads(out.read_text(encoding="utf-8"))
    answers = written["answers"]
    assert {a["decoder"] for a in answers} == {*LOCAL} - {"off"}
    assert len(answers) == 2 * (2 * 5 + 2)  # visits; two turns by all, one by two
    assert {a["decoder"] for a in answers if a["dialog"] == 1} == {PLAIN, "auto"}
    assert all(1 <= len(a["tokens"]) <= 12 for a in answers)
    assert {row["visit"] for row in written["summary"]} == {1, 2}
    assert written["conditions"]["bytes"] == model_path.stat().st_size
    assert written["conditions"]["description"].endswith("Q4_1")
    assert written["stores"] == {"visit 1": "cold", "visit 2": "warm"}
    assert written["cost_curves"]["visit 1"]["1"] > 0
    assert written["finished"]
    assert not list(out.parent.glob("*.part"))


def test_decoders_take_turns_in_another_order_each_time(small, few, monkeypatch):
    order = []
    answer = Local.answer
    monkeypatch.setattr(
        Local, "answer", lambda self, *args: (order.append(self), answer(self, *args))[1]
    )
    dialogs = [Dialog(str(n), "qa", (f"Say {n}.",)) for n in range(8)]
    settings = {**vars(small), "decoders": (PLAIN, "off"), "max_tokens": 2, "visits": 1}
    speed.run(RunSettings(**settings), dialogs)
    first = order[::2]
    assert len(order) == 16
    assert len(set(map(id, first))) == 2


def test_turns_that_are_too_long_are_left_out_and_counted(small, few):
    dialogs = [Dialog("1", "qa", ("Hello.", "word " * 600, "Never."))]
    counts = []
    settings = {**vars(small), "decoders": (PLAIN,), "max_tokens": 4}
    result = speed.run(RunSettings(**settings), dialogs, counts.append)
    assert result["turns_left_out"] == 2
    assert len(result["answers"]) == 2  # visits
    assert sum(counts) == 2 * 3


def test_a_run_that_is_cut_short_leaves_what_it_had(small, few):
    kept = []

    def keep(result):
        kept.append(json.loads(json.dumps(result)))
        raise KeyboardInterrupt

    dialogs = [Dialog(str(n), "qa", (f"Say {n}.",)) for n in range(3)]
    settings = {**vars(small), "decoders": (PLAIN,), "max_tokens": 2}
    with pytest.raises(KeyboardInterrupt):
        speed.run(RunSettings(**settings), dialogs, keep=keep)
    (result,) = kept
    assert not result["finished"]
    assert len(result["answers"]) == 1
    assert result["summary"][0]["decoder"] == PLAIN


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_that_is_told_to_end_leaves_nothing_behind(model_path, prompts, tmp_path):
    folder, out = tmp_path / "tmp", tmp_path / "result.json"
    folder.mkdir()
    command = [sys.executable, "-m", "aded_edge", "bench", str(model_path), "--prompts"]
    command += [str(prompts), "--ctx", "512", "--threads", "1", "--decoders", PLAIN]
    command += ["--max-tokens", "12", "--visits", "1000", "--json", str(out)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        while not out.exists() and process.poll() is None:
            time.sleep(0.05)
        assert list(folder.iterdir())
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []
    assert b"Traceback" not in said
    assert not json.loads(out.read_text(encoding="utf-8"))["finished"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--decoders", "auto,magic"], "magic"),
        (["--decoders", "ngram-mod"], "--llama-server"),
        (["--png", "/nowhere/at/all.png"], "/nowhere/at"),
    ],
)
def test_a_wrong_option_is_one_line(model_path, prompts, options, words, capfd):
    pytest.importorskip("matplotlib")
    assert guarded(cli, ["bench", str(model_path), "--prompts", str(prompts), *options]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert words in said.err


def test_a_result_is_replaced_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "r.json"
    speed.save({"a": 1}, path)
    with pytest.raises(TypeError):
        speed.save({"a": np.float32}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(BenchError, match="r.json"):
        speed.save({}, path / "r.json")
