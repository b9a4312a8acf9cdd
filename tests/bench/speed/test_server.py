"""Servers: started, asked and stopped; here a script in Python speaks for llama.cpp's binary."""

import functools
import sys

import pytest

from aded_edge.bench.speed import server
from aded_edge.bench.speed.decoders import RunSettings, Turn
from aded_edge.bench.speed.server import ServerDecoder
from aded_edge.errors import BenchError
from tests.bench.speed.fake_server import fake_server, recorded, runs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script is no executable there")


@pytest.fixture
def fake(tmp_path):
    """Makes a binary that behaves as it is told."""
    return functools.partial(fake_server, tmp_path)


@pytest.fixture
def start(tmp_path):
    """Starts servers, and stops those that a test leaves."""
    started = []

    def start(binary, name="server", **changes):
        conditions = {"max_tokens": 9, "n_ctx": 512, "threads": 3, **changes}
        settings = RunSettings("m.gguf", ("p",), llama_server=str(binary), **conditions)
        started.append(ServerDecoder(name, settings, tmp_path, tmp_path / "log"))
        return started[-1]

    yield start
    for one in started:
        one.close()


def asked(*prompt, known=()):
    return Turn([{"role": "user", "content": "?"}], list(prompt), list(known))


def test_it_is_started_as_the_run_says_and_timed_from_here(fake, start, monkeypatch):
    monkeypatch.setenv("LLAMA_ARG_PORT", "1")  # of the user's own server
    binary = fake()
    decoder = start(binary, "ngram-mod", temperature=0.5, seed=7, flash_attn=True)
    assert decoder.build == "b1-fake"
    answer = decoder.answer(asked(1, 2, 3))
    assert answer.text == "".join(f" w{n}" for n in range(9))
    assert answer.tokens == 9
    assert 0 < answer.seconds_first < answer.seconds_last < 1  # its own clock says one second
    assert (answer.accepted, answer.steps) == (4, 4)

    begun, erased, completion = recorded(binary)
    options = begun["options"]
    assert begun["port"] is None
    assert options["--model"] == "m.gguf"
    assert (options["--ctx-size"], options["--parallel"]) == ("512", "1")
    assert (options["--threads"], options["--threads-batch"]) == ("3", "3")
    assert options["--host"] == "127.0.0.1"
    assert options["--flash-attn"] == "on"
    assert options["--spec-type"] == "ngram-mod"
    assert erased["path"] == "/slots/0?action=erase"
    request = completion["body"]
    assert request["prompt"] == [1, 2, 3]
    assert (request["n_predict"], request["temperature"], request["seed"]) == (9, 0.5, 7)
    assert request["stream"]
    assert request["cache_prompt"]

    decoder.close()
    assert not runs(begun["pid"])
    decoder.close()  # twice is no harm


def test_the_server_alone_drafts_nothing(fake, start):
    binary = fake()
    answer = start(binary).answer(asked(1))
    assert "--spec-type" not in recorded(binary)[0]["options"]
    assert (answer.accepted, answer.steps) == (0, 8)


def test_its_slot_is_erased_where_a_dialog_begins(fake, start):
    binary = fake()
    decoder = start(binary)
    for known in ((), (1, 2), ()):
        decoder.answer(asked(1, 2, 3, known=known))
    paths = [line["path"] for line in recorded(binary)[1:]]
    erase, complete = "/slots/0?action=erase", "/completion"
    assert paths == [erase, complete, complete, erase, complete]


def test_one_that_cannot_erase_is_not_asked_again(fake, start):
    binary = fake("old")
    decoder = start(binary)
    for _ in range(2):
        assert decoder.answer(asked(1, 2)).tokens
    paths = [line["path"] for line in recorded(binary)[1:]]
    assert paths == ["/slots/0?action=erase", "/completion", "/completion"]


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


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("breaks", "ended during the run"),
        ("refuses", "no room for that"),
        ("ends early", "stream ended"),
        ("no json", "did not answer"),
    ],
)
def test_one_that_fails_in_the_midst_is_told(fake, start, mode, says):
    decoder = start(fake(mode))
    with pytest.raises(BenchError, match=says) as told:
        decoder.answer(asked(1))
    assert "\n" not in str(told.value)
