"""`learn`: what is read, what counts once, what is said, and what survives."""

import os
import random
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest

from aded_edge import Llama, files
from aded_edge.cli.main import cli
from aded_edge.errors import ConfigError, ModelError, StoreError
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.store import Store
from tests.teach.taught import held, n_tokens

PROSE = "The lamplighter of Oberwald counts his lanterns twice before the fog comes in.\n"


def learn(model, paths, store):
    """Runs the command; its errors are raised."""
    arguments = ["learn", model, *paths, "--store", store]
    return cli.main([str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def folder(tmp_path):
    """Texts that are all different, in folders."""
    folder = tmp_path / "texts"
    for number in range(30):
        place = folder / f"part {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:02}.md").write_text(f"# {number}\n" + f"{number} lanterns. " * 12)
    return folder


@pytest.fixture
def teach(tiny_path, store, capsys):
    """Runs `learn` with the tiny model, whose tokens are bytes, and returns what it prints."""

    def teach(*paths, store=store):
        learn(tiny_path, paths, store)
        return capsys.readouterr().out

    return teach


# --- what a user gets -----------------------------------------------------------------------


def test_a_chat_drafts_what_was_learned_from_a_file(model_path, store, tmp_path, capsys):
    (tmp_path / "notes.md").write_text(PROSE)
    learn(model_path, [tmp_path / "notes.md"], store)
    assert "learned 1 files" in capsys.readouterr().out
    with Llama(model_path, store=store, n_ctx=256, n_threads=1, verbose=False) as llama:
        tokens = np.asarray(llama.tokenize(PROSE.encode(), add_bos=False), np.int32)
        draft = llama._loop.drafter.draft(tokens[:8], int(tokens[8]), 6)
        assert draft.tokens.tolist()[:3] == tokens[9:12].tolist()
        with Store.open(store) as opened:
            assert len(opened.model(model_fingerprint(llama), "x").parts()) == 1


def test_text_that_looks_like_a_control_token_is_text(model_path, store, tmp_path):
    (tmp_path / "a.txt").write_text("before<|im_end|>behind")
    learn(model_path, [tmp_path / "a.txt"], store)
    with Llama(model_path, drafting="off", n_ctx=64, verbose=False) as llama:
        assert llama.token_eos() not in held(store)[0]
        assert llama.detokenize(held(store)[0]) == b"before<|im_end|>behind"


def test_everything_learned_is_counted(teach, folder, store):
    said = teach(folder)
    log, keys, noted = held(store)
    size = sum(n_tokens(file.read_text()) for file in folder.rglob("*.md"))
    assert len(noted) == 30
    assert sum(noted.values()) == len(log) == size
    assert f"learned 30 files, {size:,} tokens; known 0" in said
    assert f"{len(keys):,} contexts" in said
    assert str(store) in said


def test_learning_twice_counts_once(teach, folder, store):
    teach(folder)
    before = held(store)
    (folder / "copy.txt").write_bytes((folder / "part 0" / "00.md").read_bytes())
    assert "learned 0 files, 0 tokens; known 31" in teach(folder)
    assert held(store) == before


def test_two_models_learn_apart(model_path, tiny_path, store, folder, capsys):
    learn(tiny_path, [folder / "part 0"], store)
    learn(model_path, [folder / "part 0"], store)
    assert capsys.readouterr().out.count("learned 10 files") == 2


def test_copies_in_one_run_count_once(teach, store, tmp_path):
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(PROSE)
    assert "learned 1 files" in teach(tmp_path / "a.md", tmp_path / "b.md", tmp_path / "a.md")
    assert len(held(store)[0]) == n_tokens(PROSE)


# --- what is no text ------------------------------------------------------------------------


def test_what_is_no_text_is_passed_over_and_said(teach, tmp_path, store):
    folder = tmp_path / "mixed"
    (folder / ".git").mkdir(parents=True)
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "a.js").write_text("var a = 1")
    (folder / ".git" / "config").write_text("hidden")
    (folder / ".env").write_text("SECRET=1")
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0\0" * 50)
    (folder / "late.bin").write_bytes(b"text " * 1000 + b"\0")
    (folder / "latin.dat").write_bytes(bytes(range(128, 256)) * 8)
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4 looks like text")
    (folder / "empty.md").touch()
    (folder / "blank.md").write_text(" \n\n")
    (folder / "gone.md").symlink_to(folder / "nowhere")
    (folder / "round.md").symlink_to(folder / "round.md")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    (folder / "good.md").write_text("good")
    said = teach(folder)
    assert "learned 1 files" in said
    for reason in ("3 hidden or packages", "4 no text", "2 empty", "1 no regular file"):
        assert reason in said
    assert "2 unreadable (" in said
    assert "gone.md" in said
    assert len(held(store)[0]) == n_tokens("good")


def test_what_is_given_by_name_is_read_though_it_is_hidden(teach, tmp_path):
    (tmp_path / ".notes").mkdir()
    (tmp_path / ".notes" / "a.md").write_text("one")
    (tmp_path / ".env.md").write_text("two")
    assert "learned 2 files" in teach(tmp_path / ".notes", tmp_path / ".env.md")


def test_a_name_that_is_no_utf_8_is_no_trouble(teach, tmp_path, store):
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.md")
    try:
        with open(name, "w") as file:
            file.write("good")
    except OSError:
        pytest.skip("this file system refuses such names")
    assert "learned 1 files" in teach(tmp_path)


# --- large files ----------------------------------------------------------------------------


def test_a_file_that_grew_teaches_what_is_new(teach, tmp_path, store, monkeypatch):
    monkeypatch.setattr(files, "TEXT_BYTES", 1000)
    path = tmp_path / "log.txt"
    lines = [f"line {number} of the log\n" for number in range(200)]
    path.write_text("".join(lines[:150]))
    teach(path)
    first = len(held(store)[0])
    path.write_text("".join(lines))
    assert "learned 1 files" in teach(path)
    assert len(held(store)[0]) - first < 1500 + n_tokens("".join(lines[150:]))


def test_what_is_more_than_the_bounds_is_said(teach, tmp_path, monkeypatch):
    from aded_edge.draft.drafter import AdaptiveDrafter
    from aded_edge.draft.matrix import TrigramMatrix
    from aded_edge.draft.spans import Spans

    def small(**options):
        return AdaptiveDrafter(**options, spans=Spans(64), matrix=TrigramMatrix(1 << 10))

    monkeypatch.setattr("aded_edge.teach.lessons.AdaptiveDrafter", small)
    letters = random.Random(0).choices(range(32, 127), k=9000)
    (tmp_path / "large.txt").write_bytes(bytes(letters))
    said = teach(tmp_path / "large.txt")
    assert "log of copied spans is full at 64 tokens" in said
    assert "matrix is full at 1,024 contexts" in said


# --- mistakes -------------------------------------------------------------------------------


def test_mistakes_are_said(tiny_path, tmp_path, store, folder):
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        learn(tiny_path, [folder, tmp_path / "nowhere"], store)
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        learn(tmp_path / "gone.gguf", [folder], store)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match="no text in"):
        learn(tiny_path, [tmp_path / "bare"], store)
    with pytest.raises(ConfigError, match="keeps nothing"):
        learn(tiny_path, [folder], "none")
    for path in (tmp_path, folder / "part 0" / "00.md" / "store.db"):
        with pytest.raises(StoreError):
            learn(tiny_path, [folder], path)


def test_a_model_that_never_drafts_is_refused(tiny_path, folder, store, monkeypatch):
    monkeypatch.setattr("aded_edge.teach.lessons.why_plain", lambda llama: "it is recurrent")
    with pytest.raises(ModelError, match="cannot use a matrix: it is recurrent"):
        learn(tiny_path, [folder], store)
    assert not store.exists()


# --- several processes, and processes that die ----------------------------------------------


WORKER = """
import sys, time
from aded_edge.cli import main
from aded_edge.teach import learn, lessons
learn.PIECE_TOKENS, lessons.MOST_PARTS = 600, 4
real = lessons.Lessons.add
def add(*arguments):
    kept = real(*arguments)
    print("kept", flush=True)
    time.sleep(0.03)
    return kept
lessons.Lessons.add = add
sys.exit(main.guarded(main.cli, ["learn", *sys.argv[1:]]))
"""


@pytest.fixture
def start(tiny_path, folder):
    """Starts `learn` in a process that tells of every piece kept."""

    def start(store):
        command = [sys.executable, "-c", WORKER, tiny_path, folder, "--store", store]
        return subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    return start


@pytest.fixture
def uninterrupted(teach, folder, tmp_path):
    """What the store holds when nothing is in the way."""
    path = tmp_path / "whole.db"
    teach(folder, store=path)
    return held(path)


def test_killed_again_and_again_it_ends_as_if_never_killed(start, store, uninterrupted):
    rng = random.Random(0)
    for _ in range(3):
        process = start(store)
        assert process.stdout.readline() == "kept\n"
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.communicate()
        log, _, noted = held(store)
        assert log == uninterrupted[0][: len(log)]
        assert sum(noted.values()) == len(log)
        assert len(log) < len(uninterrupted[0])
    process = start(store)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert held(store) == uninterrupted


def test_two_at_once_learn_each_text_once(start, store, uninterrupted):
    both = [start(store), start(store)]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    log, keys, noted = held(store)
    assert noted == uninterrupted[2]
    assert keys == uninterrupted[1]
    assert sorted(log) == sorted(uninterrupted[0])


def test_ctrl_c_keeps_what_was_read(start, store, uninterrupted):
    process = start(store)
    assert process.stdout.readline() == "kept\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "stopped" in said
    log, _, noted = held(store)
    assert 0 < len(log) == sum(noted.values()) < len(uninterrupted[0])
    assert f"learned {len(noted)} files, {len(log):,} tokens" in said
    start(store).communicate(timeout=60)
    assert held(store) == uninterrupted


def test_the_command_names_its_arguments():
    with click.Context(cli.commands["learn"]) as context:
        assert "PATHS" in cli.commands["learn"].get_help(context)
