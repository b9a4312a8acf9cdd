"""`bench speed`: measured, printed, written and ended in order."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from aded_edge.bench.dialogs import Dialog
from aded_edge.bench.speed.decoders import LOCAL, PLAIN, RunSettings
from aded_edge.bench.speed.server import SERVERS
from aded_edge.cli.bench import speed
from aded_edge.cli.main import cli, guarded
from tests.bench.speed.fake_server import fake_server, recorded, runs

needs_scripts = pytest.mark.skipif(
    sys.platform == "win32", reason="a script is no executable there"
)


def children_of(pid):
    """Processes that a process has started; none where the system does not list them."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


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
    assert "worst category" in result.stdout
    assert f"baseline {sys.executable}" in " ".join(result.stdout.split())
    assert all(len(line) <= 100 for line in result.stdout.splitlines())
    written = json.loads(out.read_text(encoding="utf-8"))
    answers = written["answers"]
    assert {a["decoder"] for a in answers} == {PLAIN, *LOCAL} - {"off", "exact"}
    assert len(answers) == 2 * (2 * 5 + 2)  # visits; two turns by all, one by two
    assert {a["decoder"] for a in answers if a["dialog"] == 1} == {PLAIN, "auto"}
    assert all(1 <= a["tokens"] <= 12 for a in answers)
    assert {row["visit"] for row in written["summary"]} == {1, 2}
    assert written["conditions"]["bytes"] == model_path.stat().st_size
    assert written["conditions"]["description"].endswith("Q4_1")
    assert written["stores"] == {"visit 1": "cold", "visit 2": "warm"}
    assert written["cost_curves"]["visit 1"]["1"] > 0
    assert written["finished"]
    assert not list(out.parent.glob("*.part"))


@pytest.mark.parametrize("runs", [1, 3])
def test_the_bar_ends_where_the_run_does(runs):
    settings = RunSettings("m.gguf", (), decoders=(PLAIN, "auto"), visits=2, runs=runs)
    dialogs = [Dialog("a", "qa", ("One.", "Two.")), Dialog("b", "qa", ("Three.",))]
    assert speed._planned(settings, dialogs) == runs * 2 * (2 + 1) * 2


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
        children = children_of(process.pid)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []
    assert not any(map(runs, children))
    assert b"Traceback" not in said
    assert not json.loads(out.read_text(encoding="utf-8"))["finished"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--decoders", "auto,magic"], "magic"),
        (["--decoders", "ngram-mod"], "--llama-server"),
        (["--png", "/nowhere/at/all.png"], "/nowhere/at"),
        (["--baseline", "/nowhere/python"], "/nowhere/python"),
    ],
)
def test_a_wrong_option_is_one_line(model_path, prompts, options, words, capfd):
    pytest.importorskip("matplotlib")
    assert guarded(cli, ["bench", str(model_path), "--prompts", str(prompts), *options]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    told = [line for line in said.err.splitlines() if line.startswith("aded-edge:")]
    assert len(told) == 1
    assert words in told[0]


def test_agent_runs_get_a_context_that_they_fit_into(model_path, prompts, tmp_path):
    runs_file, out = tmp_path / "runs.jsonl", tmp_path / "result.json"
    texts = ["List the files.", "ls", "one two three " * 3000]
    roles = ("user", "assistant", "user")
    row = {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]}
    runs_file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    arguments = ["bench", str(model_path), "--prompts", str(prompts), "--prompts", str(runs_file)]
    arguments += ["--max-tokens", "2", "--visits", "1", "--decoders", PLAIN, "--threads", "1"]
    arguments += ["--long-tokens", "2100", "--json", str(out)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["settings"]["n_ctx"] == 2304
    assert written["turns_left_out"] == 0
    (agent,) = (a for a in written["answers"] if a["category"] == "agent")
    assert 2000 <= agent["prompt_tokens"] <= 2100
    assert {row["category"] for row in written["summary"]} == {
        "all", "qa", "rag", "agent", "long prompts",
    }  # fmt: skip


# --- servers --------------------------------------------------------------------------------


@needs_scripts
@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_a_binary_that_cannot_be_started_is_one_line(model_path, tmp_path, kind, capfd):
    binary = tmp_path / "llama-server"
    if kind == "folder":
        binary.mkdir()
    elif kind == "not executable":
        binary.touch(0o644)
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"turns": ["a"]}\n', encoding="utf-8")
    arguments = ["bench", str(model_path), "--prompts", str(prompts)]
    assert guarded(cli, [*arguments, "--llama-server", str(binary)]) == 1
    lines = capfd.readouterr().err.replace("\r", "\n").strip().splitlines()
    told = [line for line in lines if line.startswith("aded-edge:")]
    assert len(told) == 1
    assert str(binary) in told[0]
    assert "--llama-server" in told[0]


@needs_scripts
def test_a_run_takes_all_servers_along_and_stops_them(model_path, tmp_path, few):
    binary, out = fake_server(tmp_path), tmp_path / "out.json"
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"turns": ["Hello."], "category": "qa"}\n', encoding="utf-8")
    arguments = ["bench", str(model_path), "--prompts", str(prompts), "--ctx", "256"]
    arguments += ["--max-tokens", "4", "--llama-server", str(binary), "--json", str(out)]
    arguments += ["--threads", "1"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["conditions"]["llama_server"] == "b1-fake"
    by = {answer["decoder"]: answer for answer in written["answers"]}
    assert set(by) == {PLAIN, "auto", "paper", "lookup-10", "lookup-2", *SERVERS}
    assert by["server"]["text"] == " w0 w1 w2 w3"
    assert by["server"]["differs"] is not None
    begun = [line["pid"] for line in recorded(binary) if "pid" in line]
    assert len(begun) == len(SERVERS)  # once for both visits
    assert not any(map(runs, begun))
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect(("127.0.0.1", int(recorded(binary)[0]["options"]["--port"])))
