"""`prime`: a model that talks to itself, what is kept of it, and what is said."""

import contextlib
import itertools
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from aded_edge import Llama
from aded_edge.cli.main import cli
from aded_edge.errors import ConfigError, ModelError, PromptError, StoreError
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.store import Store
from aded_edge.teach.prime import load_openings


def prime(model, **options):
    """Runs the command; its errors are raised."""
    arguments = ["prime", str(model)]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return cli.main(arguments, standalone_mode=False)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Each evaluation of a run in this process takes 10 ms, however busy the machine is."""
    ticks = itertools.count(0.0, 0.01)
    monkeypatch.setattr("aded_edge.teach.prime.time", SimpleNamespace(perf_counter=ticks.__next__))


@pytest.fixture
def options(store):
    """Arguments of a short run."""
    return {
        "minutes": 0.01,
        "sequences": 3,
        "temperature": 0.8,
        "max_tokens": 12,
        "seed": 1,
        "store": store,
        "ctx": 1024,
        "threads": 1,
        "gpu_layers": 0,
    }


# --- what a user gets -----------------------------------------------------------------------


def test_a_chat_knows_how_the_model_talks(model_path, store, options, capsys):
    prime(model_path, **{**options, "minutes": 0.04})
    out = capsys.readouterr().out
    assert "tokens/s" in out
    assert "times one sequence" in out
    assert f"the store, {store}" in out
    with Llama(model_path, store=store, n_ctx=256, n_threads=1, verbose=False) as llama:
        assert len(llama._loop.drafter.matrix) > 20
        with Store.open(store) as opened:
            assert opened.model(model_fingerprint(llama), "x").load()[1]


def test_openings_of_the_user_take_the_place_of_ours(tiny_path, tmp_path, options, store):
    path = tmp_path / "openings.txt"
    path.write_text("\nzebra\n\n", encoding="utf-8-sig")
    assert load_openings(path) == ["zebra"]
    prime(tiny_path, **{**options, "openings": path})
    with Store.open(store) as opened, opened._file.reading() as conn:
        ((fingerprint,),) = conn.execute("SELECT fingerprint FROM models").fetchall()
    with Store.open(store) as opened:
        parts, _ = opened.model(fingerprint, "tiny").load()
    text = bytes(t - 3 for t in np.concatenate([p.tokens for p in parts]).tolist() if t >= 3)
    assert b"zebra\n\n" in text


# --- mistakes and interruptions -------------------------------------------------------------


def test_mistakes_are_said(tiny_path, tmp_path, options):
    with pytest.raises(ConfigError, match="cannot read openings"):
        prime(tiny_path, **{**options, "openings": tmp_path / "gone"})
    (tmp_path / "bare").write_text("\n \n")
    with pytest.raises(ConfigError, match="no openings"):
        prime(tiny_path, **{**options, "openings": tmp_path / "bare"})
    (tmp_path / "long").write_text("short\n" + "long " * 200)
    with pytest.raises(PromptError, match="'long long .* fewer --sequences"):
        prime(tiny_path, **{**options, "openings": tmp_path / "long"})
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        prime(tmp_path / "gone.gguf", **options)
    with pytest.raises(StoreError):
        prime(tiny_path, **{**options, "store": tmp_path})
    with pytest.raises(ConfigError, match="keeps nothing"):
        prime(tiny_path, **{**options, "store": "none"})


def test_a_model_that_never_drafts_is_refused(tiny_path, options, monkeypatch):
    monkeypatch.setattr("aded_edge.teach.lessons.why_plain", lambda llama: "it is recurrent")
    with pytest.raises(ModelError, match="cannot use a matrix: it is recurrent"):
        prime(tiny_path, **options)


WORKER = """
import sys
from aded_edge.cli import main
from aded_edge.teach import lessons, prime
prime.SAVE_SECONDS = 0.2
real = lessons.Lessons.add
def add(*arguments):
    kept = real(*arguments)
    print("kept", flush=True)
    return kept
lessons.Lessons.add = add
sys.exit(main.guarded(main.cli, ["prime", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_what_was_said_is_kept_though_the_process_ends_early(tiny_path, store, signal_):
    arguments = ["--minutes", "10", "--max-tokens", "20", "--threads", "1", "--sequences", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tiny_path), "--store", str(store), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with contextlib.closing(process.stdout):
        assert process.stdout.readline() == "kept\n"
        process.send_signal(signal_)
        rest = process.stdout.read()
    assert process.wait(60) == (130 if signal_ == signal.SIGINT else -signal.SIGKILL)
    if signal_ == signal.SIGINT:
        assert "tokens/s" in rest
    with Store.open(store) as opened, opened._file.reading() as conn:
        (tokens,) = conn.execute("SELECT sum(tokens) FROM parts").fetchone()
    assert tokens > 20


def test_saving_does_not_stop_the_talk(tiny_path, options, store, monkeypatch):
    monkeypatch.setattr("aded_edge.teach.prime.SAVE_SECONDS", 0.0)
    prime(tiny_path, **{**options, "minutes": 0.004})
    with Store.open(store) as opened, opened._file.reading() as conn:
        (parts,) = conn.execute("SELECT max(id) FROM parts").fetchone()
    assert parts > 2
