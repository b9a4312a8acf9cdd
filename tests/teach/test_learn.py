"""Teaching a matrix the texts of files: what is read, what counts once, and what survives."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest

from aded_edge import Llama
from aded_edge import files as texts_module
from aded_edge.errors import ConfigError, ModelError, StoreError
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.store import Store
from aded_edge.teach import learn as learn_module
from aded_edge.teach.learn import TextLearner, learn
from aded_edge.teach.lessons import Lessons

PROSE = "The lamplighter of Oberwald counts his lanterns twice before the fog comes in.\n"


def n_tokens(text):
    """Tokens of the tiny model: bytes, and a space is three; it puts one before every text."""
    return len((" " + text).replace(" ", "\u2581").encode())


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
        learn(tiny_path, paths, str(store))
        return capsys.readouterr().out

    return teach


def held(path):
    """(log of tokens, keys of contexts, {digest: tokens} of the texts) of the one model."""
    with Store.open(path) as store:
        with store._file.reading() as conn:
            ((fingerprint,),) = conn.execute("SELECT fingerprint FROM models").fetchall()
            noted = dict(conn.execute("SELECT sha256, tokens FROM learned_texts").fetchall())
        parts, _ = store.model(fingerprint, "tiny").load()
    log = np.concatenate([part.tokens for part in parts])
    keys = {int(key) for part in parts for key in part.contexts}
    return log[log >= 0].tolist(), keys, noted


# --- what a user gets -----------------------------------------------------------------------


def test_a_chat_drafts_what_was_learned_from_a_file(model_path, store, tmp_path, capsys):
    (tmp_path / "notes.md").write_text(PROSE)
    learn(model_path, [tmp_path / "notes.md"], str(store))
    assert "learned 1 files" in capsys.readouterr().out
    with Llama(model_path, store=store, n_ctx=256, n_threads=1, verbose=False) as llama:
        tokens = np.asarray(llama.tokenize(PROSE.encode(), add_bos=False), np.int32)
        draft = llama._loop.drafter.draft(tokens[:8], int(tokens[8]), 6)
        assert draft.tokens.tolist()[:3] == tokens[9:12].tolist()
        with Store.open(store) as opened:
            assert len(opened.model(model_fingerprint(llama), "x").load()[1]) == 1


def test_text_that_looks_like_a_control_token_is_text(model_path, store, tmp_path):
    (tmp_path / "a.txt").write_text("before<|im_end|>behind")
    learn(model_path, [tmp_path / "a.txt"], str(store))
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
    learn(tiny_path, [folder / "part 0"], str(store))
    learn(model_path, [folder / "part 0"], str(store))
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
    with contextlib.suppress(OSError):  # some systems refuse such names
        with open(name, "w") as file:
            file.write("good")
        assert "learned 1 files" in teach(tmp_path)


# --- large files ----------------------------------------------------------------------------


def test_a_file_that_grew_teaches_what_is_new(teach, tmp_path, store, monkeypatch):
    monkeypatch.setattr(texts_module, "TEXT_BYTES", 1000)
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
        learn(tiny_path, [folder, tmp_path / "nowhere"], str(store))
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        learn(tmp_path / "gone.gguf", [folder], str(store))
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match="no text in"):
        learn(tiny_path, [tmp_path / "bare"], str(store))
    with pytest.raises(ConfigError, match="keeps nothing"):
        learn(tiny_path, [folder], "none")
    for path in (tmp_path, folder / "part 0" / "00.md" / "store.db"):
        with pytest.raises(StoreError):
            learn(tiny_path, [folder], str(path))


def test_a_model_that_never_drafts_is_refused(tiny_path, folder, store, monkeypatch):
    monkeypatch.setattr(learn_module, "why_plain", lambda llama: "it is recurrent")
    with pytest.raises(ModelError, match="no use for a matrix: it is recurrent"):
        learn(tiny_path, [folder], str(store))
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


def test_a_piece_is_made_anew_without_what_another_process_learned(load_tiny, store):
    llama = load_tiny(drafting="off")
    with (
        contextlib.closing(Lessons(store, "f", "tiny")) as one,
        contextlib.closing(Lessons(store, "f", "tiny")) as other,
    ):
        slow, quick = TextLearner(llama, one), TextLearner(llama, other)
        for name in ("a", "b", "c"):
            slow.read(Path(name), name.encode() * 9, name * 9)
        quick.read(Path("b"), b"b" * 9, "b" * 9)
        quick.save()
        slow.save()
        assert {path.name for path in slow.learned} == {"a", "c"}
        assert {path.name for path in slow.known} == {"b"}
        assert slow.tokens == 2 * n_tokens(9 * "a")
    log, _, noted = held(store)
    assert len(noted) == 3
    assert len(log) == 3 * n_tokens(9 * "a")


def test_a_second_ctrl_c_stops_at_once():
    with learn_module.until_interrupted() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_command_names_its_arguments():
    from aded_edge.cli.main import cli

    with click.Context(cli.commands["learn"]) as context:
        assert "PATHS" in cli.commands["learn"].get_help(context)
