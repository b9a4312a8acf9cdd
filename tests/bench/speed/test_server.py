"""Servers: started, asked and stopped; here a script in Python speaks for llama.cpp's binary."""

import http.client
import json
import os
import socket
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aded_edge.bench.speed import server
from aded_edge.bench.speed.decoders import PLAIN, RunSettings
from aded_edge.bench.speed.server import SERVERS, Server
from aded_edge.cli.main import cli, guarded
from aded_edge.errors import BenchError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script is no executable there")

FAKE = """#!{python}
# Says so many tokens from 5 on, after a second of its own clock.
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MODE = {mode!r}
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
record = Path(__file__).with_suffix(".record")
with record.open("a") as file:
    file.write(json.dumps({{"pid": os.getpid(), "options": options,
                            "port": os.environ.get("LLAMA_ARG_PORT")}}) + "\\n")
if MODE == "ends" or MODE == "no-" + options.get("--spec-type", ""):
    print("loading ...")
    print("error: it cannot be, because of this")
    print("bye")
    sys.exit(3)
started = time.monotonic()

class Handler(BaseHTTPRequestHandler):
    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/health":
            late = time.monotonic() - started < 0.3 or MODE == "never"
            return self.reply(503 if late else 200, {{}})
        self.reply(200, {{"build_info": "b1-fake"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with record.open("a") as file:
            file.write(json.dumps({{"path": self.path, "body": body}}) + "\\n")
        if self.path.startswith("/slots"):
            there = (Path(options["--slot-save-path"]) / body["filename"]).is_file()
            return self.reply(200 if there and MODE != "old" else 400, {{}})
        if MODE == "breaks":
            os._exit(5)
        if MODE == "refuses":
            return self.reply(400, {{"error": {{"message": "no room for that"}}}})
        n = body["n_predict"]
        timings = {{"predicted_n": n, "predicted_ms": 1000.0}}
        if "--spec-type" in options:
            timings |= {{"draft_n": n, "draft_n_accepted": n // 2}}
        self.reply(200, {{"tokens": list(range(5, 5 + n)), "timings": timings}})

    def log_message(self, *_):
        pass

HTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def fake(tmp_path):
    """Makes a binary that behaves as it is told."""

    def make(mode="well"):
        path = tmp_path / "llama-server"
        path.write_text(FAKE.format(python=sys.executable, mode=mode), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


@pytest.fixture
def start(tmp_path):
    """Starts servers, and stops those that a test leaves."""
    started = []

    def start(binary, name="server", **changes):
        conditions = {"max_tokens": 9, "n_ctx": 512, "threads": 3, **changes}
        settings = RunSettings("m.gguf", "p", llama_server=str(binary), **conditions)
        started.append(Server(name, settings, tmp_path, tmp_path / "log"))
        return started[-1]

    yield start
    for one in started:
        one.close()


def recorded(binary):
    path = Path(binary).with_suffix(".record")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_started_as_the_run_says_and_timed_by_itself(fake, start, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_ARG_PORT", "1")  # of the user's own server
    binary = fake()
    decoder = start(binary, "ngram-mod", temperature=0.5, seed=7, flash_attn=True)
    assert decoder.build == "b1-fake"
    (tmp_path / "a.kv").touch()
    answer = decoder.answer([1, 2, 3], tmp_path / "a.kv")
    assert answer.tokens == list(range(5, 14))
    assert answer.seconds == 1.0
    assert (answer.accepted, answer.steps) == (4, 4)

    begun, restored, completion = recorded(binary)
    options = begun["options"]
    assert begun["port"] is None
    assert options["--model"] == "m.gguf"
    assert (options["--ctx-size"], options["--parallel"]) == ("512", "1")
    assert (options["--threads"], options["--threads-batch"]) == ("3", "3")
    assert options["--host"] == "127.0.0.1"
    assert options["--flash-attn"] == "on"
    assert options["--spec-type"] == "ngram-mod"
    assert restored["body"] == {"filename": "a.kv"}
    asked = completion["body"]
    assert asked["prompt"] == [1, 2, 3]
    assert (asked["n_predict"], asked["temperature"], asked["seed"]) == (9, 0.5, 7)
    assert asked["return_tokens"]
    assert asked["cache_prompt"]

    decoder.close()
    assert not runs(begun["pid"])
    decoder.close()  # twice is no harm


def test_the_server_alone_drafts_nothing(fake, start, tmp_path):
    binary = fake()
    answer = start(binary).answer([1], tmp_path / "gone.kv")
    assert "--spec-type" not in recorded(binary)[0]["options"]
    assert (answer.accepted, answer.steps) == (0, 8)


def test_one_that_does_not_know_the_files_evaluates_prompts_itself(fake, start, tmp_path):
    binary = fake("old")
    decoder = start(binary)
    (tmp_path / "a.kv").touch()
    for _ in range(2):
        assert decoder.answer([1, 2], tmp_path / "a.kv").tokens
    paths = [line["path"] for line in recorded(binary)[1:]]
    assert paths == ["/slots/0?action=restore", "/completion", "/completion"]


@pytest.mark.parametrize(
    ("mode", "name", "says"),
    [("ends", "server", "status 3"), ("no-ngram-mod", "ngram-mod", "because of this")],
)
def test_one_that_ends_at_once_is_told_with_its_last_error(fake, start, mode, name, says):
    with pytest.raises(BenchError, match=says) as told:
        start(fake(mode), name)
    assert "error: it cannot be, because of this" in str(told.value)
    assert name in str(told.value)
    assert "\n" not in str(told.value)


def test_one_that_is_never_ready_is_stopped(fake, start, monkeypatch):
    monkeypatch.setattr(server, "START_SECONDS", 1.0)
    binary = fake("never")
    with pytest.raises(BenchError, match="not ready after 1 s"):
        start(binary)
    assert not runs(recorded(binary)[0]["pid"])


def test_an_interruption_while_it_loads_stops_it(fake, start, monkeypatch):
    def interrupted(seconds):
        if record.exists() and record.read_text(encoding="utf-8").endswith("\n"):
            raise KeyboardInterrupt

    binary = fake("never")
    record = binary.with_suffix(".record")
    monkeypatch.setattr(server.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(binary)
    assert not runs(recorded(binary)[0]["pid"])


@pytest.mark.parametrize(("mode", "says"), [("breaks", "server"), ("refuses", "no room for that")])
def test_one_that_fails_in_the_midst_is_told(fake, start, tmp_path, mode, says):
    decoder = start(fake(mode))
    with pytest.raises(BenchError, match=says) as told:
        decoder.answer([1], tmp_path / "gone.kv")
    assert "\n" not in str(told.value)


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


def test_a_run_takes_all_servers_along_and_stops_them(model_path, fake, tmp_path, monkeypatch):
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.0)
    binary, out = fake(), tmp_path / "out.json"
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
    assert by["server"]["seconds"] == 1.0
    assert not by["server"]["identical"]
    begun = [line["pid"] for line in recorded(binary) if "pid" in line]
    assert len(begun) == len(SERVERS)  # once for both visits
    assert not any(map(runs, begun))
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect(("127.0.0.1", int(recorded(binary)[0]["options"]["--port"])))


def test_a_reply_that_is_no_json_is_told(fake, start, monkeypatch):
    decoder = start(fake())
    monkeypatch.setattr(http.client.HTTPResponse, "read", lambda self: b"<html>")
    with pytest.raises(BenchError, match="did not answer"):
        decoder.answer([1], Path("gone.kv"))
